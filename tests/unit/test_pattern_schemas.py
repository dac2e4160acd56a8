"""JSON schemas as patterns: what contracts read, and every keyword else by its name."""

import json
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.client.patterns import forms
from oracle.client.patterns.patterned import Patterned, pattern
from oracle.errors import BadType

ROOT = bytes(range(32))
MIXED = {
    "type": "object",
    "properties": {
        "label": {"enum": ["spam", "ham"]},
        "score": {"type": "integer", "minimum": -100, "maximum": 100},
        "why": {"type": "string", "maxLength": 8},
    },
    "required": ["label", "score", "why"],
    "additionalProperties": False,
}


def schema(found) -> Patterned:
    return pattern(forms.schema(found), ROOT)


def with_property(found) -> dict:
    return {"type": "object", "properties": {"a": found}, "required": ["a"]}


def test_schema__three_fields__is_the_object_as_contracts_read_it():
    made = schema(MIXED)
    right = b'{"label":"ham","score":-3,"why":"it is"}'
    assert made.read(right) == {"label": "ham", "score": -3, "why": "it is"}
    wrong = [
        b'{"score":-3,"label":"ham","why":"it is"}',
        b'{"label": "ham","score":-3,"why":"it is"}',
        b'{"label":"ham","score":-3}',
        b'{"label":"jam","score":-3,"why":""}',
        b'{"label":"ham","score":-3,"why":"far too long"}',
        b'{"label":"ham","score":-3,"why":"\\n"}',
        b'{"label":"ham","score":-3,"why":"\xff"}',
        b'{"label":"ham","score":-0,"why":""}',
        right[:-1],
        right + b"}",
    ]
    assert not any(map(made.matches, wrong))
    assert made.matches(
        json.dumps({"label": "ham", "score": 9, "why": "né林🍎"}, separators=(",", ":"), ensure_ascii=False).encode()
    )


@pytest.mark.parametrize(
    ("found", "answers"),
    [
        ({"const": "yes"}, ['"yes"']),
        ({"const": None}, ["null"]),
        ({"enum": [1, True, "1", None, -5]}, ["1", "true", '"1"', "null", "-5"]),
        ({"type": "boolean"}, ["true", "false"]),
        ({"type": "null"}, ["null"]),
        ({"type": "string", "maxLength": 0}, ['""']),
        ({"type": "integer", "exclusiveMinimum": 1, "exclusiveMaximum": 4}, ["2", "3"]),
        ({"type": "string", "format": "date"}, ['"2024-02-29"']),
        ({"$ref": "#/$defs/A", "$defs": {"A": {"const": 1}}}, ["1"]),
        ({**with_property({"$ref": "#/$defs/A"}), "$defs": {"A": {"enum": ["x", "y"]}}}, ['{"a":"x"}', '{"a":"y"}']),
        ({"type": "object", "properties": {"né 林": {"const": 1}}, "required": ["né 林"]}, ['{"né 林":1}']),
        ({"type": "boolean", "title": "t", "description": "d", "$schema": "s"}, ["true"]),
    ],
)
def test_schema__what_contracts_read__matches_as_json_writes_it(found, answers):
    made = schema(found)
    for answer in answers:
        assert made.matches(answer.encode())
        assert made.read(answer.encode()) == json.loads(answer)


A = with_property({"const": 1})


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (True, "is no schema"),
        ([], "is no schema"),
        ({}, "does not say its type"),
        ({"title": "x"}, "does not say its type"),
        ({"type": "array", "items": {}}, "type 'array'"),
        ({"type": "number"}, "type 'number'"),
        ({"type": ["string", "null"]}, r"type \['string', 'null'\]"),
        ({"type": None}, "type None"),
        ({"$ref": "#/$defs/A"}, "refers to '#/\\$defs/A'"),
        ({"$ref": "https://example.org/x"}, "refers to 'https"),
        ({"$ref": 7}, "refers to 7"),
        ({"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}}, "refers to itself"),
        ({"$ref": "#/$defs/A", "minimum": 1, "$defs": {"A": {"const": 1}}}, "keyword 'minimum'"),
        ({"$defs": [], "$ref": "#/$defs/A"}, "refers to"),
        ({"oneOf": [{"const": 1}]}, "keyword 'oneOf'"),
        ({"anyOf": [{"const": 1}]}, "keyword 'anyOf'"),
        ({"type": "boolean", "not": {"const": True}}, "keyword 'not'"),
        ({"type": "boolean", "default": True}, "keyword 'default'"),
        ({**A, "patternProperties": {}}, "keyword 'patternProperties'"),
        ({**A, "minProperties": 1}, "keyword 'minProperties'"),
        ({**A, "additionalProperties": True}, "additionalProperties must be false"),
        ({**A, "additionalProperties": {}}, "additionalProperties must be false"),
        ({**A, "required": []}, "required must name every property once, and nothing else: 'a'"),
        ({**A, "required": ["a", "b"]}, "nothing else: 'b'"),
        ({**A, "required": ["a", "a"]}, "every property once"),
        ({**A, "required": ["a", 7]}, "nothing else: '7'"),
        ({**A, "required": "a"}, "required must name every property"),
        ({"type": "object", "properties": {"a": {"const": 1}}}, "required must name every property"),
        ({"type": "object", "properties": {}, "required": []}, "without properties"),
        ({"type": "object", "properties": [], "required": []}, "without properties"),
        (with_property(A), "an object within an object"),
        (with_property(True), "property 'a' is no schema"),
        ({"type": "object", "properties": {'a"': {"const": 1}}, "required": ['a"']}, "name .* quotation mark"),
        ({"type": "object", "properties": {"a\\": {"const": 1}}, "required": ["a\\"]}, "name .* quotation mark"),
        ({"type": "object", "properties": {"\ud800": {"const": 1}}, "required": ["\ud800"]}, "UTF-8 cannot say it"),
        ({"type": "string"}, "a string without maxLength"),
        ({"type": "string", "maxLength": -1}, "must be rising"),
        ({"type": "string", "maxLength": 2, "minLength": 3}, "must be rising"),
        ({"type": "string", "maxLength": 8193}, "must be rising, from 0 to 8,192"),
        ({"type": "string", "maxLength": 5.0}, "a whole number, .* not 5.0"),
        ({"type": "string", "maxLength": True}, "a whole number"),
        ({"type": "string", "maxLength": 5, "pattern": "a"}, "keyword 'pattern'"),
        ({"type": "string", "maxLength": 5, "format": "date"}, "format 'date' is not read"),
        ({"type": "string", "format": "email"}, "format 'email' is not read"),
        ({"type": "integer"}, "must have minimum or exclusiveMinimum"),
        ({"type": "integer", "minimum": 1}, "must have maximum"),
        ({"type": "integer", "minimum": 1, "exclusiveMinimum": 1, "maximum": 3}, "must have minimum or"),
        ({"type": "integer", "minimum": 1e5, "maximum": 1e6}, "without a point or an exponent, not 100000.0"),
        ({"type": "integer", "minimum": 1, "maximum": float("nan")}, "not nan"),
        ({"type": "integer", "minimum": "1", "maximum": 2}, "not '1'"),
        ({"type": "integer", "minimum": 3, "maximum": 2}, "no integer is at least 3"),
        ({"type": "integer", "minimum": 0, "maximum": 1 << 255}, "within int256"),
        ({"type": "integer", "minimum": 0, "maximum": 9, "multipleOf": 3}, "keyword 'multipleOf'"),
        ({"enum": []}, "list of 1 to 4,096"),
        ({"enum": "yes"}, "list of 1 to 4,096"),
        ({"enum": ["a", "b", "a"]}, "'a' is there twice"),
        ({"enum": [1.5]}, "1.5 is no string"),
        ({"enum": [[1]]}, r"\[1\] is no string"),
        ({"enum": [1 << 255]}, "within int256"),
        ({"enum": ['say "hi"']}, "quotation mark"),
        ({"enum": ["a\nb"]}, "control character"),
        ({"enum": ["\udc00"]}, "UTF-8 cannot say it"),
        ({"type": "string", "enum": ["a", 1]}, "1 is no string"),
        ({"type": "integer", "enum": [True]}, "True is no integer"),
        ({"enum": ["a"], "const": "a"}, "keyword 'const'"),
        ({"type": "string", "enum": ["a"], "maxLength": 1}, "keyword 'maxLength'"),
        ({"type": "string", "maxLength": 600}, "more than 4,096 states"),
        ({"enum": [chr(97 + n) + "x" * n for n in range(20)]}, "more than 16 ranges"),
    ],
)
def test_schema__what_contracts_do_not_read__is_refused_by_its_keyword(found, why):
    with pytest.raises(BadType, match=why) as caught:
        schema(found)
    assert str(caught.value).isprintable()


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**6), 10**6),
    st.text(st.characters(exclude_characters='"\\', exclude_categories=["Cc", "Cs"]), max_size=6),
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(
        st.tuples(st.text("abcé", min_size=1, max_size=3), VALUES), min_size=1, max_size=4, unique_by=lambda p: p[0]
    )
)
def test_schema__objects_of_any_values__match_what_json_writes(pairs):
    found = dict(pairs)
    kinds = {
        type(None): lambda value: {"type": "null"},
        bool: lambda value: {"type": "boolean"},
        int: lambda value: {"type": "integer", "minimum": min(value, 0), "maximum": max(value, 7)},
        str: lambda value: {"type": "string", "maxLength": max(1, len(value))},
    }
    properties = {name: kinds[type(value)](value) for name, value in found.items()}
    made = schema({"type": "object", "properties": properties, "required": list(found)})
    text = json.dumps(found, separators=(",", ":"), ensure_ascii=False).encode()
    assert made.matches(text)
    at = Random(len(text)).randrange(len(text))
    spoiled = text[:at] + b" " + text[at:]
    assert made.read(text) == found
    assert not made.matches(spoiled) or json.loads(spoiled) != found
