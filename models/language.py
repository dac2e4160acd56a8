"""The text that the shipped model learns from and is measured on: written from templates, nothing downloaded.

Four tasks: the sentiment of a short review, yes/no questions about stated facts, the value or subject such a question
asks for, and one line of reply to a review. One sentence in `HELD_OUT_ONE_IN` is kept from training; which, its
checksum says.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from zlib import crc32

from models.words import (
    BAD,
    CITIES,
    CLOSING_BAD,
    CLOSING_GOOD,
    COLOURS,
    DAYS,
    FOODS,
    GAMES,
    GOOD,
    HATE,
    HATED,
    LIKE,
    LIKED,
    NAMES,
    SPOTS,
    TEAMS,
    THINGS,
    TOPICS,
)  # fmt: skip

SENTIMENT, YES_NO, EXTRACT, REPLY = TASKS = ("sentiment", "yes/no", "extract", "reply")
HELD_OUT_ONE_IN = 16
MOST_FACTS = 3
QUESTIONS = 5  # on the same facts
ADVERBS = ("", "", "", "very ", "really ", "so ", "quite ", "extremely ", "just ", "simply ", "always ", "absolutely ")
VERBS = ("was", "was", "is", "seemed", "felt", "looked", "turned out")


@dataclass(frozen=True)
class Item:
    """What is asked and the one right answer."""

    task: str
    prompt: str
    answer: str


@dataclass(frozen=True)
class Relation:
    """Facts of one kind. `{a}` stands for the subject, `{b}` for the value; each question asks for what it lacks."""

    subjects: tuple[str, ...]
    values: tuple[str, ...]
    states: str
    asks: str
    asks_value: str
    asks_subject: str = ""


RELATIONS = (
    Relation(NAMES, CITIES, "{a} lives in {b}.", "Does {a} live in {b}?", "Where does {a} live?", "Who lives in {b}?"),
    Relation(NAMES, FOODS, "{a} likes {b}.", "Does {a} like {b}?", "What does {a} like?", "Who likes {b}?"),
    Relation(NAMES, GAMES, "{a} won the {b}.", "Did {a} win the {b}?", "What did {a} win?", "Who won the {b}?"),
    Relation(NAMES, CITIES, "{a} went to {b}.", "Did {a} go to {b}?", "Where did {a} go?", "Who went to {b}?"),
    Relation(NAMES, THINGS, "{a} bought the {b}.", "Did {a} buy the {b}?", "What did {a} buy?", "Who bought the {b}?"),
    Relation(
        NAMES, DAYS, "{a} arrived on {b}.", "Did {a} arrive on {b}?", "When did {a} arrive?", "Who arrived on {b}?"
    ),
    Relation(THINGS, SPOTS, "The {a} is in the {b}.", "Is the {a} in the {b}?", "Where is the {a}?"),
    Relation(THINGS, COLOURS, "The {a} is {b}.", "Is the {a} {b}?", "What colour is the {a}?"),
    Relation(
        THINGS, DAYS, "The {a} was delivered on {b}.", "Was the {a} delivered on {b}?", "When was the {a} delivered?"
    ),
    Relation(
        TEAMS,
        TEAMS,
        "The {a} beat the {b}.",
        "Did the {a} beat the {b}?",
        "Whom did the {a} beat?",
        "Who beat the {b}?",
    ),
)  # fmt: skip


def held_out(prompt: str) -> bool:
    """Whether a prompt is kept from training."""
    return crc32(prompt.encode()) % HELD_OUT_ONE_IN == 0


class Writer:
    """Writes items without end, the same ones for the same seed."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)

    def talks(self) -> Iterator[list[Item]]:
        """Conversations for training: one review, or several questions on the same facts. Nothing held out."""
        while True:
            talk = self._questions(QUESTIONS) if self._rng.random() < 0.75 else [self._review()]
            if not held_out(talk[0].prompt):
                yield talk

    def held_out_items(self, task: str, facts: tuple[int, int] = (1, 1)) -> Iterator[Item]:
        """Single items of one task, all held out. facts: fewest and most that a question's prompt states."""
        while True:
            item = self._review(task) if task in (SENTIMENT, REPLY) else self._questions(1, task, facts)[0]
            if held_out(item.prompt):
                yield item

    def _pick(self, words: tuple[str, ...]) -> str:
        return words[int(self._rng.random() * len(words))]

    def _review(self, task: str = "") -> Item:
        good = self._rng.random() < 0.5
        topics = self._rng.sample(TOPICS, 3)
        clauses = [self._clause(topic, good) for topic in topics[: self._rng.choice((1, 1, 2, 2, 3))]]
        joint = self._pick((". ", ". ", " and ", ", "))
        text = joint.join(clause if i == 0 or joint == ". " else _lowered(clause) for i, clause in enumerate(clauses))
        if self._rng.random() < 0.3:
            text += ". " + self._pick(CLOSING_GOOD if good else CLOSING_BAD)
        text += self._pick((".", ".", ".", "!", ""))
        if (task or self._pick((SENTIMENT, SENTIMENT, REPLY))) == SENTIMENT:
            return Item(SENTIMENT, text, "positive" if good else "negative")
        thanks = f"Thank you, we are glad about the {topics[0]}." if good else f"We are sorry about the {topics[0]}."
        return Item(REPLY, f"Reply: {text}", thanks)

    def _clause(self, topic: str, good: bool) -> str:
        """One statement about `topic`, good or bad; one in five says so by denying the contrary."""
        denied = self._rng.random() < 0.2
        adjective = self._pick(GOOD if good != denied else BAD)
        if self._rng.random() < 0.3:
            who = self._pick(("I", "We", "My wife", "My friends"))
            if denied:
                return f"{who} did not {self._pick(LIKE if not good else HATE)} the {topic}"
            return (
                f"{who} {self._pick(('', '', 'really ', 'truly '))}{self._pick(LIKED if good else HATED)} the {topic}"
            )
        start = f"{self._pick(('The', 'The', 'The', 'This', 'Our', 'My'))} {topic} {self._pick(VERBS)}"
        return f"{start} not {adjective}" if denied else f"{start} {self._pick(ADVERBS)}{adjective}"

    def _questions(self, count: int, task: str = "", few_most: tuple[int, int] = (1, MOST_FACTS)) -> list[Item]:
        """`count` questions about the same few facts, which the first prompt states."""
        kinds = self._rng.sample(RELATIONS, self._rng.choice((1, 1, 2)))
        facts: list[tuple[Relation, str, str]] = []
        for _ in range(self._rng.randint(*few_most)):
            kind = self._rng.choice(kinds)
            a, b = self._pick(kind.subjects), self._pick(kind.values)
            used = {word for k, x, y in facts if k is kind or TEAMS in (k.values, kind.values) for word in (x, y)}
            if a != b and a not in used and b not in used:
                facts.append((kind, a, b))
        if len(facts) < few_most[0]:
            return self._questions(count, task, few_most)
        stated = " ".join(kind.states.format(a=a, b=b) for kind, a, b in facts)
        items = [self._question(facts, task) for _ in range(count)]
        first = items[0]
        return [Item(first.task, f"{stated} {first.prompt}", first.answer), *items[1:]]

    def _question(self, facts: list[tuple[Relation, str, str]], task: str) -> Item:
        kind, a, b = self._rng.choice(facts)
        if (task or self._pick((YES_NO, YES_NO, EXTRACT))) == EXTRACT:
            if kind.asks_subject and self._rng.random() < 0.4:
                return Item(EXTRACT, kind.asks_subject.format(b=b), f"It is {a}.")
            return Item(EXTRACT, kind.asks_value.format(a=a), f"It is {b}.")
        if self._rng.random() < 0.5:
            return Item(YES_NO, kind.asks.format(a=a, b=b), "yes")
        x, y = self._almost(facts, kind, a, b)
        return Item(YES_NO, kind.asks.format(a=x, b=y), "no")

    def _almost(self, facts: list[tuple[Relation, str, str]], kind: Relation, a: str, b: str) -> tuple[str, str]:
        """A subject and a value of `kind` that no fact joins: of another fact, swapped, or any."""
        others = [(x, y) for k, x, y in facts if k is kind and x != a]
        while True:
            way = self._rng.randrange(5)
            x, y = a, b
            if way == 0 and others:
                y = self._rng.choice(others)[1]
            elif way == 1 and others:
                x = self._rng.choice(others)[0]
            elif way == 2 and kind.values is kind.subjects:
                x, y = b, a
            elif way == 3:
                x = self._pick(kind.subjects)
            else:
                y = self._pick(kind.values)
            if x != y and (kind, x, y) not in facts:
                return x, y


def _lowered(clause: str) -> str:
    """As it stands within a sentence."""
    return clause if clause.startswith("I ") else clause[0].lower() + clause[1:]
