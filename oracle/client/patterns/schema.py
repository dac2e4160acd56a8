"""JSON schemas, as far as `Answers.sol` reads what they allow: every keyword is followed, or refused by its name.

One value: an enum, a const, a bounded integer, a bounded string without escapes, true, false or null; or an object of
such values, all of its properties in their order, with no space between anything. js/src/schema.ts is the same.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from oracle.client.patterns.expressions import (
    MOST_CODE,
    Either,
    Expression,
    Range,
    Repeat,
    Row,
    characters,
    integers,
    literal,
)
from oracle.errors import BadType, printable

SAYS_NOTHING = frozenset({"$schema", "$id", "$comment", "$defs", "title", "description", "examples", "deprecated"})
"""Keywords by which no value becomes right or wrong."""
PLAIN: tuple[Range, ...] = ((0x20, 0x21), (0x23, 0x5B), (0x5D, MOST_CODE))
"""Characters that stand for themselves in a JSON string."""
WORDS: dict[str, Expression] = {"boolean": Either((literal(b"true"), literal(b"false"))), "null": literal(b"null")}
KEYWORDS = {
    "integer": frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}),
    "string": frozenset({"minLength", "maxLength", "format"}),
    "object": frozenset({"properties", "required", "additionalProperties"}),
    "boolean": frozenset[str](),
    "null": frozenset[str](),
}
MOST_LENGTH, MOST_VALUES, MOST_REFERENCES = 8_192, 4_096, 16
LIMIT = 1 << 255


def read(path: Path) -> Any:
    """A file's schema. Raises BadType."""
    try:
        return json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_once)
    except (OSError, ValueError, RecursionError) as error:
        raise BadType(f"{printable(str(path))} is no JSON schema: {printable(str(error))}") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} is there twice")
    return found


def expression_of(schema: Any, day: Expression) -> Expression:
    """day: what a string with the format of a date says between its quotation marks. Raises BadType."""
    return _Reader(schema, day).value(schema, "the schema", inside=False)


class _Reader:
    def __init__(self, root: Any, day: Expression) -> None:
        self._definitions = root.get("$defs", {}) if isinstance(root, Mapping) else {}
        self._day = day

    def value(self, schema: Any, where: str, *, inside: bool, followed: int = 0) -> Expression:
        """inside: an object."""
        if not isinstance(schema, Mapping):
            raise BadType(f"{where} is no schema: {_shown(schema)}")
        if "$ref" in schema:
            return self._referred(schema, where, inside=inside, followed=followed)
        said = set(schema) - SAYS_NOTHING
        kind = schema.get("type")
        if "type" in schema and (not isinstance(kind, str) or kind not in KEYWORDS):
            known = ", ".join(sorted(KEYWORDS))
            raise BadType(f"{where} has type {_shown(kind)}: a pattern has {known}")
        for keyword in ("enum", "const"):
            if keyword in schema:
                _only(said, {"type", keyword}, where)
                return _one_of(schema["enum"] if keyword == "enum" else [schema["const"]], kind, where)
        _only(said, {"type", *KEYWORDS.get(kind or "", ())}, where)
        if kind is None:
            raise BadType(f"{where} does not say its type: nothing in it bounds an answer")
        if kind in WORDS:
            return WORDS[kind]
        if kind == "integer":
            return _integer(schema, where)
        if kind == "string":
            return self._string(schema, where)
        if inside:
            raise BadType(f"{where} is an object within an object, which contracts do not read: make it flat")
        return self._object(schema, where)

    def _referred(self, schema: Mapping[str, Any], where: str, *, inside: bool, followed: int) -> Expression:
        _only(set(schema) - SAYS_NOTHING, {"$ref"}, where)
        name = schema["$ref"]
        start = "#/$defs/"
        found = isinstance(name, str) and name.startswith(start) and isinstance(self._definitions, Mapping)
        if not found or name.removeprefix(start) not in self._definitions:
            raise BadType(f"{where} refers to {_shown(name)}: only a name in the schema's own $defs can be followed")
        if followed == MOST_REFERENCES:
            raise BadType(f"{where} refers to itself")
        return self.value(self._definitions[name.removeprefix(start)], where, inside=inside, followed=followed + 1)

    def _object(self, schema: Mapping[str, Any], where: str) -> Expression:
        properties, required = schema.get("properties"), schema.get("required")
        if not isinstance(properties, Mapping) or not properties:
            raise BadType(f"{where} is an object without properties")
        if not isinstance(required, Sequence) or isinstance(required, str):
            raise BadType(f"{where}: required must name every property, as answers have them all")
        if schema.get("additionalProperties", False) is not False:
            raise BadType(f"{where}: additionalProperties must be false, as answers have no others")
        names = [name if isinstance(name, str) else _shown(name) for name in required]
        odd = [name for name in properties if name not in names] + [name for name in names if name not in properties]
        if odd or len(set(names)) < len(names):
            raise BadType(
                f"{where}: required must name every property once, and nothing else: {_shown((odd or names)[0])}"
            )
        parts = list[Expression]()
        for name, each in properties.items():
            parts.append(literal(b"," if parts else b"{"))
            parts.append(literal(_quoted(name, f"the name {_shown(name)}") + b":"))
            parts.append(self.value(each, f"property {_shown(name)}", inside=True))
        return Row((*parts, literal(b"}")))

    def _string(self, schema: Mapping[str, Any], where: str) -> Expression:
        quote = literal(b'"')
        if "format" in schema:
            if schema["format"] != "date" or {"minLength", "maxLength"} & set(schema):
                raise BadType(f"{where}: format {_shown(schema['format'])} is not read, only date, and that alone")
            return Row((quote, self._day, quote))
        if "maxLength" not in schema:
            raise BadType(f"{where} is a string without maxLength")
        least, most = (_whole(schema.get(name, 0), f"{where}: {name}") for name in ("minLength", "maxLength"))
        if not 0 <= least <= most <= MOST_LENGTH:
            raise BadType(f"{where}: minLength {least} and maxLength {most} must be rising, from 0 to {MOST_LENGTH:,}")
        return Row((quote, Repeat(characters(PLAIN), least, most), quote))


def _integer(schema: Mapping[str, Any], where: str) -> Expression:
    low = _bound(schema, "minimum", "exclusiveMinimum", 1, where)
    high = _bound(schema, "maximum", "exclusiveMaximum", -1, where)
    if low > high:
        raise BadType(f"{where}: no integer is at least {low} and at most {high}")
    if low < -LIMIT or high >= LIMIT:
        raise BadType(f"{where}: an integer lies within int256, from -2^255 to 2^255 - 1")
    return integers(low, high)


def _bound(schema: Mapping[str, Any], name: str, exclusive: str, step: int, where: str) -> int:
    if (name in schema) == (exclusive in schema):
        raise BadType(f"{where} is an integer that must have {name} or {exclusive}")
    if name in schema:
        return _whole(schema[name], f"{where}: {name}")
    return _whole(schema[exclusive], f"{where}: {exclusive}") + step


def _whole(value: Any, where: str) -> int:
    if type(value) is not int:
        raise BadType(f"{where} must be a whole number, without a point or an exponent, not {_shown(value)}")
    return value


def _one_of(values: Any, kind: str | None, where: str) -> Expression:
    if not isinstance(values, list) or not values or len(values) > MOST_VALUES:
        raise BadType(f"{where}: an enum is a list of 1 to {MOST_VALUES:,} values")
    written = [_written(value, kind, where) for value in values]
    for value, text in zip(values, written, strict=True):
        if written.count(text) > 1:
            raise BadType(f"{where}: {_shown(value)} is there twice")
    return Either(tuple(map(literal, written)))


def _written(value: Any, kind: str | None, where: str) -> bytes:
    """A value in JSON."""
    if value is None:
        found, text = "null", b"null"
    elif isinstance(value, bool):
        found, text = "boolean", b"true" if value else b"false"
    elif isinstance(value, int):
        if not -LIMIT <= value < LIMIT:
            raise BadType(f"{where}: {value} does not lie within int256")
        found, text = "integer", str(value).encode()
    elif isinstance(value, str):
        found, text = "string", _quoted(value, f"{where}: {_shown(value)}")
    else:
        raise BadType(f"{where}: {_shown(value)} is no string, integer, true, false or null")
    if kind not in (None, found):
        raise BadType(f"{where}: {_shown(value)} is no {kind}")
    return text


def _quoted(text: str, where: str) -> bytes:
    """Raises BadType for what needs an escape in JSON."""
    if any(letter in '"\\' or letter < " " for letter in text):
        raise BadType(f"{where} has a quotation mark, a backslash or a control character, which contracts do not read")
    try:
        return b'"' + text.encode() + b'"'
    except UnicodeEncodeError:
        raise BadType(f"{where} is no text: UTF-8 cannot say it") from None


def _only(said: set[str], known: set[str], where: str) -> None:
    """Raises BadType for other keywords."""
    if said - known:
        raise BadType(f"{where}: the keyword {_shown(min(said - known))} is not followed here, so it cannot be there")


def _shown(value: Any) -> str:
    text = repr(value)
    return printable(text if len(text) <= 80 else text[:80] + "...")
