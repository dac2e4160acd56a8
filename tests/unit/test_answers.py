"""The contract that reads answers of patterns takes exactly what Python takes, and reads the same in it."""

import datetime
import json
import re
from random import Random

import pytest
from disputes.stand import harness, results_each
from eth_utils.address import is_checksum_address, to_checksum_address

SEED, TRIES, AT_ONCE = 15, 2_000, 500
LEAST, MOST = -(2**255), 2**255 - 1
NAMES = [b"label", b"score", b"note"]
NO_ONE = "0x" + "00" * 20


@pytest.fixture(scope="module")
def answers():
    with harness("AnswersHarness") as contract:
        yield contract


def compare(answers, name, arguments, python):
    """What the contract says of each equals what Python says, and there are both kinds."""
    read = 0
    for start in range(0, len(arguments), AT_ONCE):
        some = arguments[start : start + AT_ONCE]
        for each, result in zip(some, results_each(answers, name, some), strict=True):
            expected = python(*each)
            assert result == expected, each
            read += expected[0]
    assert 0 < read < len(arguments)


def spoilt(random, text):
    """The text with one byte changed, added or taken away, most often."""
    at, kind = random.randrange(len(text) + 1), random.randrange(5)
    byte = random.choice([*b'0123456789-+ ."\\{}:,aAfFxX\x00\x1f\xff\n', random.randrange(256)])
    return (
        text,
        text[:at] + bytes([byte]) + text[at:],
        text[:at] + text[at + 1 :],
        text[:at] + bytes([byte]) + text[at + 1 :],
        text[:at] + text[at : at + 3] * 2 + text[at:],
    )[kind]


# INTEGERS


def python_integer(text, low, high):
    if not re.fullmatch(rb"0|-?[1-9][0-9]*", text) or not low <= int(text) <= high:
        return (False, 0)
    return (True, int(text))


def test_integer__chosen_and_random_bytes__as_python(answers):
    random = Random(SEED)
    edges = [0, 1, -1, 9, 10, MOST, MOST + 1, LEAST, LEAST - 1, 2**256 - 1, 2**256, -(2**256)]
    edges += [10**77 - 1, 10**77, 10**90]
    texts = [b"", b"-", b"-0", b"00", b"+1", b" 1", b"1 ", b"1.0", b"1e3", b"0x1", "٣".encode()]
    texts += [b"%d" % number for number in edges]
    for _ in range(TRIES):
        size = 10 ** random.randrange(80)
        texts.append(spoilt(random, b"%d" % random.randint(-size, size)))
    bounds = [(LEAST, MOST), (-100, 100), (0, 0), (5, -5)]
    compare(answers, "integer", [(text, *random.choice(bounds[:2])) for text in texts], python_integer)
    compare(answers, "integer", [(b"%d" % n, *each) for n in range(-102, 103) for each in bounds], python_integer)


# DATES


def python_date(text):
    try:
        if not re.fullmatch(rb"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            return (False, 0)
        day = datetime.date.fromisoformat(text.decode())
    except ValueError:
        return (False, 0)
    days = (day - datetime.date(1970, 1, 1)).days
    return (True, days * 86_400) if days >= 0 else (False, 0)


def test_date__every_first_and_last_day_of_a_month__as_python(answers):
    years = [1969, 1970, 1972, 1999, 2000, 2001, 2024, 2026, 2100, 2400, 9999]
    days = (0, 1, 28, 29, 30, 31, 32)
    dates = [(b"%04d-%02d-%02d" % (y, m, d),) for y in years for m in range(14) for d in days]
    compare(answers, "date", dates, python_date)


def test_date__random_days_and_bytes__as_python(answers):
    random = Random(SEED)
    first, last = datetime.date(1, 1, 1).toordinal(), datetime.date(9999, 12, 31).toordinal()
    texts = [datetime.date.fromordinal(random.randint(first, last)).isoformat().encode() for _ in range(TRIES)]
    compare(answers, "date", [(spoilt(random, text),) for text in texts], python_date)


# ADDRESSES


def python_account(text):
    if not re.fullmatch(rb"0x[0-9a-fA-F]{40}", text):
        return (False, NO_ONE)
    digits = text.decode()
    if digits == digits.lower() or is_checksum_address(digits):
        return (True, digits.lower())
    return (False, NO_ONE)


def test_account__random_cases_and_bytes__as_python(answers):
    random = Random(SEED)
    texts = [b"", b"0x", b"0x" + b"A" * 40, b"0X" + b"a" * 40, b"a" * 42, b"0x" + b"0" * 40]
    for _ in range(TRIES):
        digits = to_checksum_address(random.randbytes(20))
        forms = [digits, digits.lower(), digits.upper(), digits.swapcase()]
        texts.append(spoilt(random, random.choice(forms).replace("X", "x").encode()))
    compare(answers, "account", [(text,) for text in texts], python_account)


# OBJECTS

STRING = rb'"[^"\\\x00-\x1f]*"'
VALUE = rb"(%s|0|-?[1-9][0-9]*|true|false|null)" % STRING


def python_fields(text, names):
    pattern = rb"\{" + b",".join(b'"' + re.escape(name) + b'":' + VALUE for name in names) + rb"\}"
    found = re.fullmatch(pattern, text)
    numbers = [value for value in found.groups() if re.fullmatch(rb"-?[0-9]+", value)] if found else []
    if not found or not all(LEAST <= int(number) <= MOST for number in numbers):
        return (False, (b"",) * len(names))
    return (True, found.groups())


def random_object(random):
    """One that json writes, or nearly."""
    values = ["spam", "", "né 犬", 'a"b', "a\\b", "a,b}", 12, -3, 0, 2**255, True, False, None, [1], {"a": 1}, 0.5]
    made = {name.decode(): random.choice(values) for name in NAMES}
    spaced = random.random() < 0.1
    text = json.dumps(made, separators=None if spaced else (",", ":"), ensure_ascii=random.random() < 0.1)
    return spoilt(random, text.encode())


def test_fields__objects_of_json_and_spoilt_ones__as_python(answers):
    random = Random(SEED)
    chosen = [
        b"",
        b"{}",
        b'{"label":"a","score":1,"note":""}',
        b'{"label":"a","score":1,"note":""} ',
        b'{"label":"a","score":1,"note":"","more":1}',
        b'{"score":1,"label":"a","note":""}',
        b'{"label":"a","label":"a","score":1,"note":""}',
        b'{"label":"a","score":01,"note":""}',
        b'{"label":"a","score":-0,"note":""}',
        b'{"label":"a","score":,"note":""}',
        b'{"label":"a","score":yes,"note":""}',
        b'{"label":"a","score":"1","note":"',
        b'{"label":"\\u0061","score":1,"note":""}',
        b'{"label":"a","score":1,"note":"\xff"}',
    ]
    arguments = [(text, NAMES) for text in [*chosen, *(random_object(random) for _ in range(TRIES))]]
    compare(answers, "fields", arguments, python_fields)


def test_fields__no_names__reads_the_empty_object_alone(answers):
    texts = [b"{}", b"", b"{", b"}", b"{}}", b"{ }", b'{"a":1}']
    compare(answers, "fields", [(text, []) for text in texts], python_fields)


def test_fields__name_that_ends_the_name__is_not_taken_for_another(answers):
    """A name is compared as a whole, with its marks."""
    arguments = [(text, [b"a"]) for text in (b'{"a":1}', b'{"aa":1}', b'{"":1}', b'{"a"":1}', b'{"a": 1}')]
    compare(answers, "fields", arguments, python_fields)


def test_quoted__random_bytes__as_python(answers):
    random = Random(SEED)
    values = [b"", b'"', b'""', b'"a"', b"'a'", b'"a', b'a"', b'"a"b"', b'"\\n"', b'"\n"', b'"\x7f\xff"', b"12"]
    values += [spoilt(random, b'"' + random.randbytes(random.randrange(6)) + b'"') for _ in range(TRIES)]

    def python(value):
        return (True, value[1:-1]) if re.fullmatch(STRING, value) else (False, b"")

    compare(answers, "quoted", [(value,) for value in values], python)
