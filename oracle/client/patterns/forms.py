"""Forms that `Answers.sol` reads, from integers to what a schema says; and what an answer of a form is in Python."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Generic, TypeVar

from eth_utils.address import to_checksum_address
from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core.core_schema import DateSchema, StringSchema

from oracle.client.patterns import regex as regular
from oracle.client.patterns.expressions import Bytes, Either, Expression, Repeat, Row, integers, literal, numbers_of
from oracle.client.patterns.schema import expression_of
from oracle.errors import BadType

T = TypeVar("T")
LEAST_INT, MOST_INT = -(1 << 255), (1 << 255) - 1
"""Of int256."""
FIRST_DAY, LAST_DAY = date(1970, 1, 1), date.max
HEX_DIGIT = Bytes(((0x30, 0x39), (0x61, 0x66)))


@dataclass(frozen=True)
class Form(Generic[T]):
    """What may be answered, and what an answer is here."""

    expression: Expression
    read: Callable[[bytes], T]
    """Of an answer that matches. Raises ValueError where it is none nevertheless."""


def integer(low: int, high: int) -> Form[int]:
    """As `Answers.integer` reads. Raises BadType."""
    if low > high:
        raise BadType(f"no integer is at least {low} and at most {high}")
    if low < LEAST_INT or high > MOST_INT:
        raise BadType("an integer lies within int256, from -2^255 to 2^255 - 1")
    return Form(integers(low, high), int)


def dates(first: date = FIRST_DAY, last: date = LAST_DAY) -> Form[date]:
    """YYYY-MM-DD, as `Answers.date` reads: days that there are, both of these included. Raises BadType."""
    if first < FIRST_DAY:
        raise BadType(f"{first} is before {FIRST_DAY}, the first day that contracts read")
    if first > last:
        raise BadType(f"no day is from {first} to {last}")
    return Form(days(first, last), lambda text: date.fromisoformat(text.decode()))


def address() -> Form[str]:
    """An address in lower case, as `Answers.account` reads; with its checksum here."""
    return Form(Row((literal(b"0x"), Repeat(HEX_DIGIT, 40, 40))), lambda text: to_checksum_address(text.decode()))


def regex(text: str) -> Form[str]:
    """Raises BadType."""
    return Form(regular.regex(text), bytes.decode)


def schema(found: Any) -> Form[Any]:
    """found: a JSON schema, read from JSON. Raises BadType."""
    return Form(expression_of(found, days(FIRST_DAY, LAST_DAY)), json.loads)


def of(kind: Any) -> Form[Any]:
    """A type of Python's or pydantic's: `date` as itself, any other as its JSON schema says. Raises BadType."""
    if kind is date:
        return dates()
    try:
        adapter = TypeAdapter[Any](kind)
        found = adapter.json_schema(schema_generator=_Outspoken)
    except (PydanticUserError, TypeError, ValueError, NameError) as error:
        raise BadType(f"no JSON schema can be made of {kind!r}: {error}") from None
    return Form(schema(found).expression, lambda text: _validated(adapter, text))


class _Outspoken(GenerateJsonSchema):
    """Says what JSON schema has no keyword for by pydantic's own name, so that it is refused and not dropped."""

    def date_schema(self, schema: DateSchema) -> JsonSchemaValue:
        said: Mapping[str, object] = schema
        bounds = {name: str(said[name]) for name in ("ge", "gt", "le", "lt", "now_op") if name in said}
        return super().date_schema(schema) | bounds

    def str_schema(self, schema: StringSchema) -> JsonSchemaValue:
        """A string is counted after spaces are cut off, so one that is long enough may be too short."""
        found = super().str_schema(schema)
        is_cut = schema.get("strip_whitespace", self._config.str_strip_whitespace)
        return found | ({"strip_whitespace": True} if is_cut and found.get("minLength") else {})


def _validated(adapter: TypeAdapter[Any], text: bytes) -> Any:
    try:
        return adapter.validate_json(text)
    except ValidationError as error:
        raise ValueError(error.errors(include_url=False)[0]["msg"]) from None


def days(first: date, last: date) -> Expression:
    """Real days of the calendar, both of these included."""
    parts, whole = list[Expression](), range(first.year + 1, last.year)
    if first.year == last.year:
        return _part_of_year(first, last)
    parts.append(_part_of_year(first, date(first.year, 12, 31)))
    parts.append(_part_of_year(date(last.year, 1, 1), last))
    alike: dict[tuple[frozenset[int], frozenset[int]], list[int]] = {}  # centuries, by their common and leap years
    for century in range(100):
        years = [year for year in range(100) if 100 * century + year in whole]
        leap = frozenset(year for year in years if _is_leap(100 * century + year))
        if years:
            alike.setdefault((frozenset(years) - leap, leap), []).append(century)
    tails = [_days_of(date(year, 1, 1), date(year, 12, 31)) for year in (2001, 2000)]
    for kinds, centuries in alike.items():
        years_with = [Row((numbers_of(years, 2), tail)) for years, tail in zip(kinds, tails, strict=True) if years]
        parts.append(Row((numbers_of(centuries, 2), Either(tuple(years_with)))))
    return Either(tuple(parts))


def _is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def _part_of_year(first: date, last: date) -> Expression:
    return Row((literal(f"{first.year:04}".encode()), _days_of(first, last)))


def _days_of(first: date, last: date) -> Expression:
    """-MM-DD, of days of one year."""
    months: dict[int, list[int]] = {}
    for number in range((last - first).days + 1):
        day = first + timedelta(number)
        months.setdefault(day.month, []).append(day.day)
    alike: dict[tuple[int, ...], list[int]] = {}
    for month, found in months.items():
        alike.setdefault(tuple(found), []).append(month)
    dash = literal(b"-")
    rows = [Row((dash, numbers_of(which, 2), dash, numbers_of(found, 2))) for found, which in alike.items()]
    return Either(tuple(rows))
