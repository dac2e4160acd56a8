"""A pattern for one vocabulary: what a prompt names, what a request needs, and what an answer says.

temperature = patterned.pattern(forms.integer(-90, 60), root, spelled)
prompt = temperature.asking(client.prompt(service, b"How cold is it in Oslo, in degrees?"))
temperature.read(output)  # -3
"""

from collections.abc import Set
from dataclasses import dataclass
from typing import Generic, TypeVar

from oracle.client.patterns.automaton import ANY_BYTE, automaton
from oracle.client.patterns.expressions import bytes_of
from oracle.client.patterns.forms import Form
from oracle.client.patterns.table import table
from oracle.engines.answer_types import MOST_TEXT, Pattern, is_typed, pattern_type, typed_prompt
from oracle.errors import BadType, NotOfType, printable

T = TypeVar("T")
MOST_SHOWN = 40


@dataclass(frozen=True)
class Patterned(Generic[T]):
    """What may be answered."""

    form: Form[T]
    type_bytes: bytes
    """The type, as prompts and contracts have it after the prompt's kind."""
    table: bytes
    shortest: int
    """Bytes of an answer."""
    longest: int | None
    """The same; None where no answer is the longest."""
    dropped: bytes
    """Bytes that answers could have, but that no token of the model spells alone."""

    @property
    def states(self) -> int:
        """How many the table has."""
        return int.from_bytes(self.table[:2], "big")

    @property
    def least_tokens(self) -> int:
        """`maxTokens` of a request must be at least this."""
        return self.shortest + 1

    @property
    def most_tokens(self) -> int | None:
        """No answer needs more; None where there is no such number."""
        return None if self.longest is None else self.longest + 1

    def asking(self, prompt: bytes) -> bytes:
        """The prompt that asks the same of this type. prompt: of words, ids or parts. Raises BadType for another."""
        if is_typed(prompt):
            raise BadType("the prompt names a type already: give the one that it asks behind it")
        return typed_prompt(self.type_bytes, prompt)

    def matches(self, output: bytes) -> bool:
        """Whether an answer is whole."""
        made = Pattern(self.table, 0, frozenset(), 0)
        state = made.walk(output) if len(output) <= MOST_TEXT else None
        return state is not None and made.need(state) == 0

    def read(self, output: bytes) -> T:
        """What an answer says. Raises NotOfType."""
        shown = printable(repr(output[:MOST_SHOWN]))
        if not self.matches(output):
            raise NotOfType(f"{shown} is no answer of the type that was asked for")
        try:
            return self.form.read(output)
        except ValueError as error:
            raise NotOfType(f"{shown} is of the form that was asked for, and means nothing: {error}") from None


def pattern(form: Form[T], root: bytes, spelled: Set[int] = ANY_BYTE) -> Patterned[T]:
    """root: of the model's vocabulary. spelled: the bytes of its tokens of one byte. Raises BadType."""
    missing = bytes(sorted(bytes_of(form.expression) - spelled))
    try:
        made = automaton(form.expression, spelled)
    except BadType as error:
        without = f", without bytes that no token of the model spells alone: {missing.hex(' ')}"
        raise BadType(f"{error}{without if missing else ''}") from None
    shortest = made.needs[0]
    if made.longest == 0:
        raise BadType("the only answer is an empty one")
    if shortest > MOST_TEXT:
        raise BadType(f"the shortest answer has {shortest:,} bytes, and answers have {MOST_TEXT:,} at most")
    found = table(made)
    return Patterned(form, pattern_type(found, root), found, shortest, made.longest, missing)
