"""Trains the shipped model: from items to weights.

Minutes on one core buy few examples, so every token is made to teach: besides the answer, the trainer predicts the
prompt (a little), the tone of single words (from the state after half the layers) and the items' hints (after the layer
before the last). The heads for these are dropped afterwards. Short items come first.
"""

import random
import time
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.language import HINTS, NEGATIVE, POSITIVE, REPLY, SENTIMENT, Item
from models.network import Network, Shape
from models.tokenizer import ASSISTANT, BEGIN, DONE, END, USER, Tokenizer

PREFIX, SUFFIX, STOP = [BEGIN, USER], [DONE, ASSISTANT], [DONE, END]
BATCH_TOKENS = 1536
COPY_STEPS = 150
SHORT = 24  # tokens
PEAK_RATE = 4e-3
PROMPT_LOSS, WORD_LOSS, HINT_LOSS = 0.02, 0.3, 0.5  # against 1 for the answer
IGNORED = -100

TONE_OF = {
    word.lower(): tone
    for tone, lists in ((1, POSITIVE), (2, NEGATIVE))
    for word in (*lists.adj, *lists.liked, *lists.like, *lists.feeling)
}


@dataclass(frozen=True)
class Example:
    """An item as tokens.

    ids: the whole exchange. answer_at: index of the answer's first token.
    tones: token index -> 0 neutral, 1 good, 2 bad, for the last token of each word of a review.
    hints: token index -> index in HINTS.
    """

    ids: list[int]
    answer_at: int
    tones: dict[int, int]
    hints: dict[int, int]


def example(item: Item, tokenizer: Tokenizer) -> Example:
    prompt = tokenizer.encode(item.prompt)
    ends: dict[int, int] = {}  # characters so far -> token index; prompts are ASCII, so bytes are characters
    at = 0
    for i, token in enumerate(prompt):
        at += len(tokenizer.vocabulary[token])
        ends[at] = len(PREFIX) + i
    tones = {}
    if item.task in (SENTIMENT, REPLY):
        at = 0
        for word in item.prompt.split(" "):
            at += len(word) + 1
            stripped = word.strip(".,;:!?\"\n")
            end = at - 1 - (len(word) - len(word.rstrip(".,;:!?\"\n")))
            if end in ends:
                tones[ends[end]] = TONE_OF.get(stripped.lower(), 0)
    hints = {ends[at]: hint for at, hint in item.hints if at in ends}
    head = [*PREFIX, *prompt, *SUFFIX]
    return Example([*head, *tokenizer.encode(item.answer), DONE, END], len(head), tones, hints)


def batches(examples: list[Example], rng: random.Random) -> list[list[Example]]:
    """Examples in random order, grouped with others of their length, at most BATCH_TOKENS a batch with padding."""
    rng.shuffle(examples)
    groups = []
    for start in range(0, len(examples), 4096):
        group: list[Example] = []
        for one in sorted(examples[start : start + 4096], key=lambda e: len(e.ids)):
            if (len(group) + 1) * len(one.ids) > BATCH_TOKENS and group:
                groups.append(group)
                group = []
            group.append(one)
        groups.append(group)
    rng.shuffle(groups)
    return groups


def curriculum(examples: list[Example], rng: random.Random) -> list[list[Example]]:
    """Half of the short examples, then all others."""
    short = [e for e in examples if len(e.ids) <= SHORT]
    first, later = short[::2], short[1::2]
    return [*batches(first, rng), *batches([*later, *(e for e in examples if len(e.ids) > SHORT)], rng)]


class Trainer:
    def __init__(self, shape: Shape) -> None:
        self.network = Network(shape)
        self.tone_head = nn.Linear(shape.width, 3)
        self.hint_head = nn.Linear(shape.width, len(HINTS))
        matrices = [p for p in self.network.blk.parameters() if p.ndim == 2]
        chosen = {id(p) for p in matrices}
        parts: list[nn.Module] = [self.network, self.tone_head, self.hint_head]
        others = [p for part in parts for p in part.parameters() if id(p) not in chosen]
        self.optimizers = (
            torch.optim.Muon(matrices, lr=PEAK_RATE, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(others, lr=PEAK_RATE, weight_decay=0.0, betas=(0.9, 0.98)),
        )
        self.first_right = 0.0  # running share of answers whose first token is right

    def step(self, loss: Tensor, rate: float) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad()
            optimizer.param_groups[0]["lr"] = rate
        loss.backward()
        for optimizer in self.optimizers:
            optimizer.step()

    def copy_loss(self) -> Tensor:
        """Loss of repeating a random text: what a model must do before it can compare."""
        length = int(torch.randint(4, 24, ()))
        text = torch.randint(END + 1, self.network.shape.vocabulary, (BATCH_TOKENS // (2 * length), length))
        ids = torch.cat((text, text), dim=1)
        logits = self.network.logits(self.network(ids[:, :-1])[-1][:, length:])  # (B, length - 1, vocabulary)
        return functional.cross_entropy(logits.flatten(0, 1), text[:, 1:].flatten())

    def loss(self, group: list[Example]) -> Tensor:
        length = max(len(e.ids) for e in group)
        ids = torch.full((len(group), length), END)
        weight = torch.zeros(len(group), length - 1)
        tones = torch.full((len(group), length - 1), IGNORED)
        hints = torch.full((len(group), length - 1), IGNORED)
        for row, e in enumerate(group):
            ids[row, : len(e.ids)] = torch.tensor(e.ids)
            weight[row, 1 : e.answer_at - 1] = PROMPT_LOSS
            weight[row, e.answer_at - 1 : len(e.ids) - 1] = (len(e.ids) - e.answer_at) ** -0.5
            for at, tone in e.tones.items():
                tones[row, at] = tone
            for at, hint in e.hints.items():
                hints[row, at] = hint
        states = self.network(ids[:, :-1])
        counted = weight > 0
        logits = self.network.logits(states[-1][counted])  # (counted, vocabulary)
        wanted = ids[:, 1:][counted]
        total = (functional.cross_entropy(logits, wanted, reduction="none") * weight[counted]).sum() / len(group)
        right = torch.zeros(weight.shape, dtype=torch.bool)
        right[counted] = logits.argmax(-1) == wanted
        first = sum(bool(right[row, e.answer_at - 1]) for row, e in enumerate(group)) / len(group)
        self.first_right = 0.98 * self.first_right + 0.02 * first
        middle = len(states) // 2 - 1
        for head, state, target, share in ((self.tone_head, states[middle], tones, WORD_LOSS),
                                           (self.hint_head, states[-2], hints, HINT_LOSS)):  # fmt: skip
            known = target != IGNORED
            if known.any():
                guess = head(functional.rms_norm(state[known], state.shape[-1:]))
                total = total + share * functional.cross_entropy(guess, target[known])
        return total


def train(items: Iterable[Item], tokenizer: Tokenizer, seed: int) -> Network:
    torch.manual_seed(seed)
    rng = random.Random(seed)
    trainer = Trainer(Shape(vocabulary=len(tokenizer.vocabulary)))
    examples = [example(item, tokenizer) for item in items]
    examples = [e for e in examples if len(e.ids) <= trainer.network.shape.context]
    groups = curriculum(examples, rng)
    print(
        f"{sum(p.numel() for p in trainer.network.parameters()):,} parameters, {len(examples):,} examples, "
        f"{sum(len(e.ids) for e in examples):,} tokens, {len(groups)} steps",
        flush=True,
    )
    started = time.monotonic()
    for step in range(COPY_STEPS):
        loss = trainer.copy_loss()
        trainer.step(loss, PEAK_RATE * min(1, (step + 1) / 30))
    print(f"copying: loss {loss.item():.2f}, {time.monotonic() - started:.0f} s", flush=True)
    for step, group in enumerate(groups):
        rate = PEAK_RATE * min((step + 1) / 30, max(0.01, 1.1 * (1 - step / len(groups))), 1)
        trainer.step(trainer.loss(group), rate)
        if step % 100 == 99 or step + 1 == len(groups):
            print(f"step {step + 1}, answers begun right {trainer.first_right:.3f}, {time.monotonic() - started:.0f} s", flush=True)
    return trainer.network
