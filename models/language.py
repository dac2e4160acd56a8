"""The language of the shipped model: reviews and facts, drawn from frames and word lists by a seeded generator.

`Writer(seed)` writes what the model is trained on. `Writer(seed, held)` writes what it is measured on, where `held` says
what is new to it: "words" (every open slot holds a reserved word), "frames" (a sentence frame marked `*`), or "pairs"
(known words in a combination that was reserved: a sentiment word after a negation, a subject with a value). The
training writer throws away whatever contains something reserved, so the two never meet; `Item.traits` shows it.

Items also carry hints for the trainer, at the places in a prompt where something can be known already: the tone of a
clause that has just ended, or whether a word of the question repeats the fact. The model never sees them.

The world is closed: what the facts of a prompt do not state is answered with "no".
"""

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from models import words
from models.facts import FAMILIES, Family

SENTIMENT, YES_NO, EXTRACT, REPLY = TASKS = ("sentiment", "yes/no", "extract", "reply")
HELD = ("words", "frames", "pairs")
SHARES = (0.34, 0.42, 0.14, 0.10)

HINTS = GOOD_SO_FAR, BAD_SO_FAR, REPEATED, EXCHANGED = "\ue000\ue001\ue002\ue003"  # private-use letters, taken out at the end
_HINT = re.compile(f"[{HINTS}]")
_SLOT = re.compile(r"\{(\w+)")
_A_BEFORE_VOWEL = re.compile(r"\b[aA](?= ((?!use|uni|one|euro)[aeiou]))", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z]+")


@dataclass(frozen=True)
class Item:
    """A prompt with its one right answer.

    traits: what it was built from: `frame:f`, `pair:a b`.
    hints: (number of characters before it, index in HINTS), in order.
    """

    task: str
    prompt: str
    answer: str
    traits: frozenset[str]
    hints: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Verb:
    past: str
    base: str


class Tone:
    """The word lists of one sentiment."""

    def __init__(self, answer: str, good: bool) -> None:
        pick = (lambda a, b: a) if good else (lambda a, b: b)
        self.answer = answer
        self.adj = pick(words.GOOD, words.BAD)
        self.act = pick(words.GOOD_ACTS, words.BAD_ACTS)
        self.remark = pick(words.GOOD_REMARKS, words.BAD_REMARKS)
        self.feeling = pick(words.GOOD_FEELING, words.BAD_FEELING)
        self.liked = pick(words.LIKED, words.DISLIKED)
        self.like = pick(words.LIKE, words.DISLIKE)


POSITIVE, NEGATIVE = Tone("positive", True), Tone("negative", False)

CLAUSES = (
    "The {topic} was {very}{adj}", "The {topic} is {very}{adj}", "This {topic} is {very}{adj}", "My {topic} is {adj}",
    "{very}{adj} {topic}", "What a {adj} {topic}", "I found the {topic} {very}{adj}", "A {very}{adj} {topic}",
    "The {topic} was {adj} and {adj2}", "The {topic} {act}", "I {liked} the {topic}", "I {like} this {topic}", "{adj}",
    "{adj} {topic} and {adj2} {topic2}", "I am {very}{feeling} with the {topic}", "{remark}", "{remark}", "It was {very}{adj}",
    "The {adj} {topic} {act}", "This is the most {adj} {topic} I have seen", "I think the {topic} is {adj}",
    "{name} {liked} the {topic}", "Their {topic} was {very}{adj} and the {topic2} {adj2}", "The {topic} {act} and {act2}",
    "We were {very}{feeling}", "{very}{adj}, {adj2} and {adj3}", "The {topic} looks {adj}", "The {topic} felt {adj}",
    "not only {adj} but also {adj2}", "The {topic} was not just {adj} but {adj2}", "{adj} in every way", "such a {adj} {topic}",
    "The {topic} is {adj} as always", "I really {like} the {topic}", "We {liked} it", "They were {adj}", "It {act}",
    "{adj} {topic}", "So {adj}", "I never had such a {adj} {topic}", "the {topic} made me {feeling}", "I have never been so {feeling}",
    "*The {topic} turned out to be {adj}", "*Everyone thought the {topic} was {adj}", "*How {adj} the {topic} is",
    "*I must say that the {topic} seemed {very}{adj}", "*You can expect a {adj} {topic}",
)  # fmt: skip
# `no...` slots hold words of the other sentiment.
NEGATIONS = (
    "The {topic} was not {noadj}", "The {topic} was not {very}{noadj}", "The {topic} wasn't {noadj}", "The {topic} is not {noadj} at all",
    "It isn't {noadj}", "It is not {noadj}", "It was not {very}{noadj}", "I did not {nolike} the {topic}", "I don't {nolike} the {topic}",
    "not {noadj}", "not {very}{noadj}", "The {topic} was never {noadj}", "hardly {noadj}", "The {topic} is far from {noadj}",
    "The {topic} was anything but {noadj}", "There was nothing {noadj} about the {topic}", "not a {noadj} {topic}", "no {noadj} {topic}",
    "I am not {nofeeling} with the {topic}", "We were not {nofeeling}", "I cannot say the {topic} was {noadj}", "They aren't {noadj}",
    "I didn't {nolike} it", "We do not {nolike} this {topic}", "Nobody {noliked} the {topic}", "The {topic} isn't {very}{noadj}",
    "I didn't think the {topic} was {noadj}", "neither {noadj} nor {noadj2}", "I don't think it is {noadj}", "without being {noadj}",
    "*The {topic} was by no means {noadj}", "*I would not call the {topic} {noadj}", "*Nothing here is {noadj}",
    "*The {topic} did not feel {noadj}",
)  # fmt: skip
# The main clause decides.
CONTRASTS = (
    "The {topic} was {noadj}, but {clause}", "Although the {topic} was {noadj}, {clause}", "Despite the {noadj} {topic}, {clause}",
    "{noclause}, but {clause}", "{noclause} but {clause}", "{clause}, although the {topic} was {noadj}", "{noclause}. However, {clause}",
    "While the {topic} was {noadj}, {clause}", "{noclause}, yet {clause}", "{noclause}. Still, {clause}",
    "*Even though the {topic} was {noadj}, {clause}", "*{noclause}; all the same, {clause}",
)  # fmt: skip
VERDICTS = (
    "Overall, {clause}", "All in all, {clause}", "In short, {clause}", "In the end, {clause}", "To sum up, {clause}",
    "*My verdict: {clause}",
)  # fmt: skip
VERY = (
    "very ", "really ", "so ", "quite ", "extremely ", "absolutely ", "truly ", "incredibly ", "pretty ", "rather ", "totally ",
    "simply ", "just ", "completely ", "surprisingly ", "a bit ", "particularly ",
)  # fmt: skip
REVIEW_ASKS = (
    "Review: {review}", "Is this review positive or negative? {review}", "{review} Positive or negative?", "Sentiment: {review}",
    "Positive or negative: {review}", "Classify this review: {review}", "{review}\nIs this review positive or negative?",
    '"{review}"',
)  # fmt: skip
REPLY_ASKS = ("Reply: {review}", "Reply to this review: {review}", "Answer this customer: {review}", "Write a reply: {review}")
FACT_ASKS = (
    "{facts} {question}", "{facts} {question}", "{facts} {question}", "{facts} {question}", "{facts} {question}", "{facts}\n{question}",
    "Fact: {facts} Question: {question}", "Facts: {facts}\nQuestion: {question}", "{facts} Question: {question}",
    "{question} {facts}", "Given: {facts} Answer: {question}", "{facts} Q: {question}", "Context: {facts} {question}",
)  # fmt: skip
SYLLABLES = [a + b for a in "b d f g k l m n p r s t v z br st th ch sh tr".split() for b in "a e i o u an er il on ar".split()]
VERB_LISTS = {"move": words.MOVES, "deal": words.DEALS, "act": words.ACTIONS, "rain": ["rained rain", "snowed snow", "hailed hail",
              "froze freeze"]}  # fmt: skip
OPEN_SLOTS = {
    "topic": words.TOPICS, "topic2": words.TOPICS, "name": words.NAMES, "friend": words.NAMES, "city": words.CITIES,
    "home": words.CITIES, "item": words.ITEMS, "team": words.TEAMS, "rival": words.TEAMS, "good": words.GOODS, "job": words.JOBS,
    "food": words.FOODS, "event": words.EVENTS,
}  # fmt: skip
CLOSED_SLOTS = {"done": words.DONE, "color": words.COLORS, "coin": words.COINS}


def _fixed_words() -> frozenset[str]:
    """Words that occur outside the open slots; they cannot be reserved."""
    texts: list[str] = [*CLAUSES, *NEGATIONS, *CONTRASTS, *VERDICTS, *VERY, *REVIEW_ASKS, *REPLY_ASKS, *FACT_ASKS]
    for family in FAMILIES:
        texts += [*family.statements, *family.questions, *family.yes, *family.no, *family.denials]
        texts += [text for ask in family.asks for text in ask]
    for tone in (POSITIVE, NEGATIVE):
        texts += [*tone.adj, *tone.act, *tone.remark, *tone.feeling, *tone.liked, *tone.like]
    for verbs in VERB_LISTS.values():
        texts += verbs
    texts += [*words.DONE, *words.OPPOSITES, *words.FILLERS, *words.NEUTRAL, *words.DAYS, *words.MONTHS, *words.MOMENTS]
    texts += [*words.COLORS, *words.COINS]
    return frozenset(word.lower() for text in texts for word in _WORD.findall(_SLOT.sub(" ", text)))


_FIXED = _fixed_words()


def _reservable(word: str) -> bool:
    return words.held_out(word) and not any(part.lower() in _FIXED for part in _WORD.findall(word))


KNOWN = {slot: [w for w in all_words if not _reservable(w)] for slot, all_words in OPEN_SLOTS.items()}
RESERVED = {slot: [w for w in all_words if _reservable(w)] for slot, all_words in OPEN_SLOTS.items()}
RESERVED_WORDS = frozenset(part.lower() for held in RESERVED.values() for w in held for part in w.split())


class Writer:
    """Writes items; equal arguments give equal items in equal order."""

    def __init__(self, seed: int, held: str = "") -> None:
        self.random = random.Random(f"{seed} {held}")
        self.held = held
        self.traits: set[str] = set()

    def items(self, task: str = "") -> Iterator[Item]:
        """Endless items, of one task or of all in their shares."""
        while True:
            kind = task or self.random.choices(TASKS, SHARES)[0]
            self.traits = set()
            if kind == SENTIMENT:
                prompt, answer = self._sentiment()
            elif kind == REPLY:
                prompt, answer = self._reply()
            else:
                prompt, answer = self._about_facts(kind)
            if self._admitted(prompt):
                prompt, hints = _without_hints(_articles(prompt))
                yield Item(kind, prompt, _articles(answer), frozenset(self.traits), hints)

    def _admitted(self, prompt: str) -> bool:
        """Whether the item holds exactly the kind of new thing that this writer is for."""
        found = {
            "words": any(w.lower() in RESERVED_WORDS for w in _WORD.findall(prompt)),
            "frames": any(t.startswith("frame:*") for t in self.traits),
            "pairs": any(t.startswith("pair:") and words.held_out(t) for t in self.traits),
        }
        return all(present == (kind == self.held) for kind, present in found.items())

    # Choices

    def chance(self, p: float) -> bool:
        return self.random.random() < p

    def frame(self, frames: tuple[str, ...]) -> str:
        """A sentence frame; the reserved ones only when frames are what is measured."""
        marked = [f for f in frames if f.startswith("*")]
        if self.held == "frames" and marked and self.chance(0.8):
            choice = self.random.choice(marked)
        else:
            choice = self.random.choice([f for f in frames if not f.startswith("*")])
        self.traits.add(f"frame:{choice}")
        return choice.removeprefix("*")

    def open_word(self, slot: str) -> str:
        if self.held == "words" and self.chance(0.75):
            return self.random.choice(RESERVED[slot])
        if not self.held and self.chance(0.15):
            invented = "".join(self.random.choices(SYLLABLES, k=self.random.choice((2, 2, 3))))
            return invented if slot in {"topic", "topic2", "item", "good"} else invented.capitalize()
        return self.random.choice(KNOWN[slot])

    def number(self) -> int:
        return self.random.randint(2, 10 ** self.random.choice((1, 2, 2, 3)) - 1)

    def when(self) -> str:
        choice = self.random.random()
        if choice < 0.55:
            return "on " + self.random.choice(words.DAYS)
        if choice < 0.75:
            return "in " + self.random.choice(words.MONTHS)
        if choice < 0.85:
            return f"on {self.random.randint(1, 31)} {self.random.choice(words.MONTHS)}"
        return self.random.choice(words.MOMENTS)

    def value(self, slot: str) -> object:
        """A value for `slot`: what `str.format` is given."""
        if slot in OPEN_SLOTS:
            return self.open_word(slot)
        if slot in CLOSED_SLOTS:
            return self.random.choice(CLOSED_SLOTS[slot])
        if slot in VERB_LISTS:
            return Verb(*self.random.choice(VERB_LISTS[slot]).split())
        makers: dict[str, Callable[[], object]] = {"n": self.number, "when": self.when, "hour": lambda: self.random.randint(1, 12),
                                                   "day": lambda: self.random.choice(words.DAYS),
                                                   "month": lambda: self.random.choice(words.MONTHS)}  # fmt: skip
        return makers[slot]()

    # Reviews

    def clause(self, tone: Tone, negation: float = 0.3) -> str:
        other = NEGATIVE if tone is POSITIVE else POSITIVE
        negated = self.chance(0.95 if self.held == "pairs" else negation)
        frame = self.frame(NEGATIONS if negated else CLAUSES)
        values: dict[str, object] = {}
        for slot in _SLOT.findall(frame):
            source = other if slot.startswith("no") else tone
            name = slot.removeprefix("no").rstrip("23")
            if slot == "very":
                values[slot] = self.random.choice(VERY) if self.chance(0.5) else ""
            elif slot in OPEN_SLOTS:
                values[slot] = self.open_word(slot)
            else:
                values[slot] = self.random.choice(getattr(source, name))
                if source is other:
                    self.traits.add(f"pair:not {values[slot]}")
        return frame.format(**values) + (GOOD_SO_FAR if tone is POSITIVE else BAD_SO_FAR)

    def contrast(self, tone: Tone) -> str:
        other = NEGATIVE if tone is POSITIVE else POSITIVE
        frame = self.frame(CONTRASTS)
        return frame.format(topic=self.open_word("topic"), noadj=self.random.choice(other.adj), clause=_lower(self.clause(tone)),
                            noclause=self.clause(other, 0.15))  # fmt: skip

    def filler(self) -> str:
        frame = self.random.choice(words.FILLERS)
        return frame.format(**{slot: self.value(slot) for slot in _SLOT.findall(frame)})

    def soup(self, tone: Tone) -> str:
        """A clause among neutral words in no order: reviews written by people follow no frame either."""
        mixed = self.random.choices(words.NEUTRAL, k=self.random.randint(2, 12))
        if self.chance(0.3):
            mixed.insert(self.random.randrange(len(mixed)), self.open_word("topic"))
        mixed.insert(self.random.randint(0, len(mixed)), _lower(self.clause(tone)))
        return " ".join(mixed)

    def review(self, tone: Tone) -> str:
        kind = self.random.random()
        count = self.random.choices((1, 2, 3, 4, 12, 24), (55, 25, 9, 6, 3, 1))[0]
        if kind < 0.2:
            sentences = [self.contrast(tone)]
        elif kind < 0.32:
            sentences = [self.soup(tone)]
        elif kind < 0.4 and count > 2:  # one doubt among praise, or the other way round
            other = NEGATIVE if tone is POSITIVE else POSITIVE
            sentences = [self.clause(tone) for _ in range(count)]
            sentences.insert(self.random.randrange(count), self.clause(other, 0.1))
            sentences.append(self.frame(VERDICTS).format(clause=_lower(self.clause(tone))))
        else:
            sentences = [self.clause(tone) for _ in range(count)]
            if count > 1 and self.chance(0.15):
                sentences.append(self.frame(VERDICTS).format(clause=_lower(self.clause(tone))))
        for _ in range(self.random.choices((0, 1, 2, 6), (70, 20, 8, 2))[0]):
            sentences.insert(self.random.randint(0, len(sentences)), self.filler())
        return self.punctuated(sentences, upper=0.05)

    def punctuated(self, sentences: list[str], upper: float) -> str:
        """The sentences as a person types them: mostly tidy, sometimes not."""
        tidy = self.random.random()
        end = "!" if tidy < 0.12 else "." if tidy < 0.9 else ""
        joiner = self.random.choice((", ", "... ", "\n")) if self.chance(0.06) else f"{end or '.'} "
        text = joiner.join(_upper(s) for s in sentences) + (end if self.chance(0.85) else "")
        case = self.random.random()
        if case < 0.14:
            return text.lower()
        if case < 0.14 + upper:
            return text.upper()
        return text

    def _sentiment(self) -> tuple[str, str]:
        tone = self.random.choice((POSITIVE, NEGATIVE))
        review = self.review(tone)
        if self.chance(0.2):
            review = self.random.choice(REVIEW_ASKS).format(review=review)
        return review, tone.answer

    def _reply(self) -> tuple[str, str]:
        """A short review about one topic, and a line of thanks or regret that names it."""
        tone = self.random.choice((POSITIVE, NEGATIVE))
        topic = self.open_word("topic")
        clause = self.clause(tone, 0.2)
        frame = self.random.choice(("{liked} the {topic}. {clause}", "About the {topic}: {clause}", "The {topic} was {adj}. {clause}",
                                    "The {topic} was {adj}", "{adj} {topic}. {clause}", "I {liked} the {topic}"))  # fmt: skip
        about = frame.format(topic=topic, clause=_lower(clause), adj=self.random.choice(tone.adj), liked=self.random.choice(tone.liked))
        review = self.punctuated([about], upper=0)
        prompt = self.random.choice(REPLY_ASKS).format(review=review)
        thanks = f"Thank you! We are glad you liked the {topic}."
        return prompt, thanks if tone is POSITIVE else f"We are sorry to hear that the {topic} did not please you."

    # Facts

    def _about_facts(self, task: str) -> tuple[str, str]:
        count = self.random.choices((1, 2, 3, 5, 12), (58, 24, 11, 5, 2))[0]
        wanted = self.random.choice(("yes", "no"))
        while True:
            facts = self._draw_facts(count)
            if not facts:
                continue
            asked = self.random.randrange(len(facts))
            if task == EXTRACT:
                found = self._extract(facts, asked)
            else:
                found = self._yes_no(facts, asked, wanted)
            if found:
                break
        question, answer = found
        text = self._tidy_facts([fact.text for fact in facts])
        frame = self.random.choice(FACT_ASKS)
        if frame.startswith("{question}"):
            question = _HINT.sub("", question)
        prompt = frame.format(facts=text, question=question)
        if task == YES_NO and prompt.endswith("?") and self.chance(0.06):
            prompt += self.random.choice((" Answer yes or no.", " Yes or no?", " (yes/no)"))
        if self.chance(0.04):
            prompt = prompt.removesuffix("?")
        case = self.random.random()
        if case < 0.1:
            return prompt.lower(), answer.lower()
        if case < 0.12:
            return prompt.upper(), answer.upper() if task == EXTRACT else answer
        return prompt, answer

    def _draw_facts(self, count: int) -> list["Fact"]:
        same = self.random.choice(FAMILIES) if self.chance(0.5) else None
        facts: list[Fact] = []
        used: set[object] = set()
        for _ in range(3 * count):
            if len(facts) == count:
                break
            family = same or self.random.choice(FAMILIES)
            values: dict[str, object] = {}
            for slot in ("item", "name", "friend", "city", "home", "team", "rival", "good", "job", "food", "event", "done", "color", "coin",
                         "move", "deal", "act", "rain", "when", "hour", "n"):  # fmt: skip
                values[slot] = self.value(slot)
            if values["name"] == values["friend"] or values["city"] == values["home"] or values["team"] == values["rival"]:
                continue
            subjects = {values[slot] for slot in family.subjects}
            if subjects & used:
                continue
            used |= subjects
            pair = self.random.choice(words.OPPOSITES).split()
            values["state"], values["unstate"] = pair if self.chance(0.5) else pair[::-1]
            n = int(str(values["n"]))
            values["low"] = self.random.randrange(n)
            values["less"] = self.random.randint(max(0, n - 10), n - 1) if self.chance(0.4) else self.random.randrange(n)
            values["more"] = n + self.random.randint(1, 10) if self.chance(0.4) else n + self.random.randint(1, 2 * n)
            denied = bool(family.denials) and self.chance(0.2)
            frame = self.frame(family.denials if denied else family.statements)
            facts.append(Fact(family, frame, denied, values))
        return facts

    def _yes_no(self, facts: list["Fact"], asked: int, wanted: str) -> tuple[str, str] | None:
        fact = facts[asked]
        self._pair(fact)
        if fact.denied:
            frame = self.frame(fact.family.questions)
            return (fact.ask(frame, REPEATED), "no") if wanted == "no" and fact.covers(frame) else None
        always = fact.family.yes if wanted == "yes" else fact.family.no
        if always and (not fact.family.questions or self.chance(0.5)):
            frame = self.frame(always)
            return (fact.ask(frame), wanted) if fact.covers(frame) else None
        if not fact.family.questions:
            return None
        frame = self.frame(fact.family.questions)
        if not fact.covers(frame):
            return None
        if wanted == "yes":
            return fact.ask(frame, REPEATED), "yes"
        slot = self.random.choice(_SLOT.findall(frame))
        changed = self._exchange(fact, slot, frame, facts)
        if changed is None or any(f.agrees(changed, frame) for f in facts if f.family is fact.family):
            return None
        return changed.ask(frame, REPEATED, slot), "no"

    def _exchange(self, fact: "Fact", slot: str, frame: str, facts: list["Fact"]) -> "Fact | None":
        """`fact` with the value of `slot` exchanged for another of its kind that the question `frame` does not hold."""
        old = fact.values[slot]
        if slot == "state":
            new = fact.values["unstate"]
        elif slot in OPEN_SLOTS and self.chance(0.5):  # a word that stands elsewhere in the prompt is the harder lie
            kin = [other for other, known in OPEN_SLOTS.items() if known is OPEN_SLOTS[slot]]
            near = [f.values[s] for f in facts for s in f.slots if s in kin]
            new = self.random.choice(near)
        elif slot == "n":
            new = self.random.choice([fact.values["less"], fact.values["more"]])
        else:
            new = self.value(slot)
        if new == old or new in (fact.values[s] for s in _SLOT.findall(frame)):
            return None
        return replace(fact, values={**fact.values, slot: new})

    def _extract(self, facts: list["Fact"], asked: int) -> tuple[str, str] | None:
        fact = facts[asked]
        if fact.denied or not fact.family.asks:
            return None
        question, answer = self.random.choice(fact.family.asks)
        if not (fact.covers(question) and fact.covers(answer)):
            return None
        if any(f is not fact and f.family is fact.family and f.agrees(fact, question) for f in facts):
            return None
        self._pair(fact)
        return fact.ask(question), str(answer).format(**fact.values)

    def _pair(self, fact: "Fact") -> None:
        values = [str(getattr(fact.values[slot], "past", fact.values[slot])) for slot in fact.slots]
        if len(values) > 1:
            self.traits.add(f"pair:{values[0]} {values[1]}")

    def _tidy_facts(self, facts: list[str]) -> str:
        joiner = ".\n" if self.chance(0.05) else ". "
        return joiner.join(_upper(fact) for fact in facts) + "."


@dataclass(frozen=True)
class Fact:
    family: Family
    frame: str
    denied: bool
    values: dict[str, object]

    @property
    def text(self) -> str:
        return self.frame.format(**self.values)

    @property
    def slots(self) -> list[str]:
        return _SLOT.findall(self.frame)

    def covers(self, question: str) -> bool:
        """Whether the statement says everything that `question` mentions."""
        derived = {"less": "n", "more": "n", "unstate": "state"}
        stated = {derived.get(slot, slot) for slot in self.slots}
        return all(derived.get(slot, slot) in stated for slot in _SLOT.findall(question.removeprefix("*")))

    def agrees(self, other: "Fact", frame: str) -> bool:
        return all(self.values[slot] == other.values[slot] for slot in _SLOT.findall(frame))

    def ask(self, question: str, hint: str = "", exchanged: str = "") -> str:
        """`question` about this fact; with a `hint`, its slots say so that they repeat the fact, but for `exchanged`."""
        if not hint:
            return question.format(**self.values)
        hinted = {slot: _hinted(value, EXCHANGED if slot == exchanged else hint) for slot, value in self.values.items()}
        return question.format(**hinted)


def _articles(text: str) -> str:
    return _A_BEFORE_VOWEL.sub(lambda found: found[0] + ("N" if found[0] == "A" and found[1].isupper() else "n"), text)


def _hinted(value: object, hint: str) -> object:
    return Verb(value.past + hint, value.base + hint) if isinstance(value, Verb) else f"{value}{hint}"


def _without_hints(text: str) -> tuple[str, tuple[tuple[int, int], ...]]:
    found = [(hint.start() - i, HINTS.index(hint[0])) for i, hint in enumerate(_HINT.finditer(text))]
    return _HINT.sub("", text), tuple(found)


def _lower(text: str) -> str:
    return text if text.startswith("I ") else text[:1].lower() + text[1:]


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
