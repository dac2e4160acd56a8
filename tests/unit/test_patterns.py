"""From what a dapp wants to hear to a table of states, and back from an answer."""

import re
from datetime import date
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.client.patterns import forms
from oracle.client.patterns.automaton import Automaton, automaton
from oracle.client.patterns.expressions import characters
from oracle.client.patterns.patterned import Patterned, pattern
from oracle.client.patterns.table import MOST_KEPT, _strokes, painted
from oracle.engines.answer_types import Pattern, type_of
from oracle.errors import BadType, NotOfType

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


def regex(text: str) -> Patterned[str]:
    return pattern(forms.regex(text), ROOT)


def made_of(text: str) -> Patterned[str] | None:
    """None where nothing matches, or nothing but an empty answer."""
    try:
        return regex(text)
    except BadType as error:
        if str(error) in ("no answer matches the pattern", "the only answer is an empty one"):
            return None
        raise


def schema(found) -> Patterned:
    return pattern(forms.schema(found), ROOT)


# THE TABLE SAYS WHAT THE EXPRESSION SAYS

LETTERS = "ab-é林🍎\n"
SETS = [
    "[ab]",
    "[^a]",
    "[a-z]",
    "[^\\n-]",
    "[é-林]",
    "\\d",
    "\\W",
    "\\s",
    ".",
    "[\\w-]",
    "[]a]",
    "[^\\x00-\\U0001f34d]",
]
EXPRESSIONS = st.recursive(
    st.sampled_from([*map(re.escape, LETTERS), *SETS, ""]),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map("|".join).map("({})".format),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{,2}", "{1,3}", "{2,}"])).map(
            lambda both: f"(?:{both[0]}){both[1]}"
        ),
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(EXPRESSIONS, st.lists(st.text(LETTERS, max_size=6), max_size=12), st.randoms(use_true_random=False))
def test_table__any_regular_expression__walks_as_fullmatch_says(text, texts, draw):
    """The plain version is Python's `re`: of texts that match, of any texts, and of bytes that are no text."""
    made = made_of(text)
    if made is None:
        return
    matching, least = re.compile(text, re.ASCII), automaton(forms.regex(text).expression)
    walked = [each.decode() for each in (_walked(least, draw) for _ in range(4)) if each is not None]
    assert all(map(matching.fullmatch, walked))
    cut = [each[:at] + each[at + 1 :] for each in walked for at in range(min(3, len(each)))]
    for each in (*texts, *cut):
        assert made.matches(each.encode()) == bool(matching.fullmatch(each)), each
    for each in (*texts, *walked):
        for spoiled in (each.encode()[:-1], each.encode() + b"\x80", b"\xff" + each.encode()):
            try:
                spoiled.decode()
            except UnicodeDecodeError:
                assert not made.matches(spoiled), spoiled


def _walked(made: Automaton, draw: Random) -> bytes | None:
    """A way through an automaton; None if it found no end soon."""
    state, found = 0, bytearray()
    for _ in range(80):
        if made.ends[state] and (not made.rows[state] or draw.random() < 0.3):
            return bytes(found)
        low, high, state = draw.choice(made.rows[state])
        found.append(draw.randint(low, high))
    return None


@settings(max_examples=60, deadline=None, derandomize=True)
@given(EXPRESSIONS)
def test_table__its_needs__are_the_fewest_bytes_to_an_end(text):
    try:
        made = automaton(forms.regex(text).expression)
    except BadType:
        return
    near = {state for state, end in enumerate(made.ends) if end}
    distance, needs = 0, [-1] * len(made.rows)
    while near:
        for state in near:
            needs[state] = distance
        found = {s for s, row in enumerate(made.rows) if needs[s] < 0 and any(needs[to] >= 0 for _, _, to in row)}
        near, distance = found, distance + 1
    assert made.needs == needs
    assert -1 not in needs


@settings(max_examples=100, deadline=None, derandomize=True)
@given(EXPRESSIONS)
def test_automaton__two_states__never_mean_the_same(text):
    """The least automaton is one for each language, so that both clients write the same table."""
    try:
        made = automaton(forms.regex(text).expression)
    except BadType:
        return
    classes = [tuple(made.ends)] * 2
    while True:  # refine by where each byte leads, the plain way
        number = {each: n for n, each in enumerate(dict.fromkeys(classes[-1]))}
        now = [number[each] for each in classes[-1]]
        rows = [tuple(_to(made, state, byte, now) for byte in range(256)) for state in range(len(made.rows))]
        classes.append(tuple(zip(now, rows, strict=True)))
        if len(set(classes[-1])) == len(set(classes[-2])):
            break
    assert len(set(classes[-1])) == len(made.rows)


def _to(made: Automaton, state: int, byte: int, number: list[int]) -> int:
    return next((number[to] for low, high, to in made.rows[state] if low <= byte <= high), -1)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 255), st.sampled_from([0, 1, 2, 3])), min_size=1, max_size=12))
def test_painted__any_row__leads_every_byte_where_it_did_in_no_more_ranges(borders):
    starts = sorted(dict(borders).items())
    row = []
    for (low, to), (high, _) in pairwise([*starts, (256, 0)]):
        if to:
            row.append((low, high - 1, to))
    found = painted(row)
    assert len(found) <= len(row)
    for byte in range(256):
        plain = next((to for low, high, to in row if low <= byte <= high), None)
        assert next((to for low, high, to in found if low <= byte <= high), None) == plain


def test_painted__quoted_letters__three_ranges_of_four():
    row = [(0x20, 0x21, 1), (0x22, 0x22, 2), (0x23, 0x5B, 1), (0x5D, 0x7F, 1)]
    assert painted(row) == ((0x22, 0x22, 2), (0x20, 0x5B, 1), (0x5D, 0x7F, 1))
    around = [(0x20, 0x21, 1), (0x22, 0x22, 2), (0x24, 0x24, 2), (0x25, 0x30, 1)]
    assert painted(around) == ((0x23, 0x23, None), (0x22, 0x24, 2), (0x20, 0x30, 1))


@settings(deadline=None, derandomize=True)
@given(st.integers(0, 0x10FFFF), st.integers(0, 0x10FFFF))
def test_characters__any_range__are_its_code_points_in_utf_8(one, other):
    low, high = sorted((one, other))
    try:
        made = pattern(forms.Form(characters([(low, high)]), bytes.decode), ROOT)
    except BadType:
        assert 0xD800 <= low <= high <= 0xDFFF
        return
    for code in {low, high, low - 1, high + 1, (low + high) // 2, 0x7F, 0x80, 0x7FF, 0x800, 0xFFFF, 0x10000}:
        if 0 <= code <= 0x10FFFF:
            is_in = low <= code <= high and not 0xD800 <= code <= 0xDFFF
            assert made.matches(chr(code).encode("utf-8", "surrogatepass")) == is_in


def test_table__figures__of_the_forms():
    """Bytes on chain are what a dapp pays for."""
    sizes = {
        "integer": len(pattern(forms.integer(-999_999, 999_999), ROOT).table),
        "int256": len(pattern(forms.integer(forms.LEAST_INT, forms.MOST_INT), ROOT).table),
        "date": len(pattern(forms.dates(), ROOT).table),
        "address": len(pattern(forms.address(), ROOT).table),
        "three fields": len(schema(MIXED).table),
        "100 letters": len(schema({"type": "string", "maxLength": 100}).table),
    }
    assert sizes == {
        "integer": 59,
        "int256": 1042,
        "date": 443,
        "address": 160,
        "three fields": 614,
        "100 letters": 2514,
    }


def test_pattern__its_type__is_what_engines_read():
    made = pattern(forms.integer(-90, 60), ROOT)
    assert (made.least_tokens, made.most_tokens, made.dropped) == (2, 4, b"")
    read = type_of(made.asking(b"\0How cold is it?"), ROOT, 300, (7,), made.least_tokens)
    assert isinstance(read, Pattern)
    assert (read.table, read.need(0)) == (made.table, 1)
    assert "allowed" in type_of(made.asking(b"\0How cold is it?"), ROOT, 300, (7,), made.least_tokens - 1).reason


def test_asking__typed_prompt__is_refused():
    made = regex("yes|no")
    with pytest.raises(BadType, match="names a type already"):
        made.asking(made.asking(b"\0Is it?"))


def test_pattern__bytes_that_the_model_lacks__are_dropped_and_told():
    plain = pattern(forms.regex("caf[eé]|tea"), ROOT, frozenset(range(0x80)))
    assert plain.dropped == b"\xa9\xc3"
    assert plain.table == regex("cafe|tea").table
    with pytest.raises(BadType, match=r"no answer matches the pattern, without bytes that no token .* alone: a9 c3"):
        pattern(forms.regex("café"), ROOT, frozenset(range(0x80)))


def test_pattern__text_too_long_with_bytes_that_the_model_lacks__is_made_without_them():
    """A letter of ASCII is one state, any of UTF-8 eight."""
    with pytest.raises(BadType, match=r"takes more than 4,096 states$"):
        regex(".{1000}")
    plain = pattern(forms.regex(".{1000}"), ROOT, frozenset(range(0x80)))
    assert (plain.shortest, plain.longest, plain.states) == (1000, 1000, 1001)
    assert plain.dropped == bytes([*range(0x80, 0xC0), *range(0xC2, 0xF5)])


def test_painted__any_number_of_rows__keeps_a_bounded_number_of_their_strokes():
    """A node compiles schemas of strangers for years."""
    for number in range(2 * MOST_KEPT):
        painted([(3 * at, 3 * at + 1 + (number >> at & 1), at) for at in range(11)])
    assert _strokes.cache_info().currsize <= MOST_KEPT


# FORMS


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.integers(-2000, 2000), st.integers(0, 3000), st.lists(st.integers(-6000, 6000), max_size=30))
def test_integer__any_range__is_exactly_its_numbers(low, span, others):
    made = pattern(forms.integer(low, low + span), ROOT)
    for number in {low, low - 1, low + 1, low + span - 1, low + span, low + span + 1, 0, *others}:
        assert made.matches(str(number).encode()) == (low <= number <= low + span)
    for text in (b"-0", b"00", b"01", b"-01", b"", b"-", b"+1", b" 1", b"1 ", b"1.0", b"1e2"):
        assert not made.matches(text)


def test_integer__borders_of_int256__to_the_last_digit():
    made = pattern(forms.integer(forms.LEAST_INT, forms.MOST_INT), ROOT)
    inside = [forms.LEAST_INT, forms.LEAST_INT + 1, -(10**76), 0, 10**76, forms.MOST_INT]
    assert all(made.read(str(number).encode()) == number for number in inside)
    assert not any(made.matches(str(number).encode()) for number in (forms.LEAST_INT - 1, forms.MOST_INT + 1, 10**77))


@pytest.mark.parametrize(("low", "high"), [(1, 0), (-5, -6), (forms.LEAST_INT - 1, 0), (0, forms.MOST_INT + 1)])
def test_integer__no_range_of_int256__is_refused(low, high):
    with pytest.raises(BadType, match="integer"):
        forms.integer(low, high)


@pytest.mark.parametrize(
    ("first", "last"),
    [
        (forms.FIRST_DAY, forms.LAST_DAY),
        (date(2024, 2, 29), date(2024, 2, 29)),
        (date(1999, 12, 31), date(2001, 1, 1)),
        (date(2024, 3, 15), date(2131, 7, 4)),
    ],
)
def test_dates__any_days__are_those_that_there_are(first, last):
    """Leap years and all: February has 29 days in 2000, and not in 2100."""
    made = pattern(forms.dates(first, last), ROOT)
    for year in (0, 1969, 1970, 1999, 2000, 2001, 2023, 2024, 2100, 2131, 2132, 2400, 9999):
        for month in range(14):
            for day in (0, 1, 3, 4, 5, 14, 15, 28, 29, 30, 31, 32):
                text = f"{year:04}-{month:02}-{day:02}"
                try:
                    is_day = first <= date.fromisoformat(text) <= last
                except ValueError:
                    is_day = False
                assert made.matches(text.encode()) == is_day, text
    assert made.read(str(first).encode()) == first


def test_dates__before_1970_or_none__are_refused():
    with pytest.raises(BadType, match="before 1970-01-01"):
        forms.dates(date(1969, 12, 31))
    with pytest.raises(BadType, match="no day is from"):
        forms.dates(date(2024, 1, 2), date(2024, 1, 1))


def test_address__lower_case__is_read_with_its_checksum():
    made = pattern(forms.address(), ROOT)
    assert made.read(b"0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed") == "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
    for text in (b"0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", b"5a" * 20, b"0x", b"0x" + b"a" * 41):
        assert not made.matches(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a(?=b)", "a look ahead"),
        ("a(?!b)", "a look ahead"),
        ("(?<=a)b", "a look behind"),
        ("(?<!a)b", "a look behind"),
        (r"(a)\1", "a reference to a group"),
        ("(?P<x>a)", "a named group"),
        ("(?P=x)", "a reference to a group"),
        ("(?i)yes", "flags: write both cases"),
        ("(?i:yes)", "flags: write both cases"),
        ("(?>a)", "an atomic group"),
        ("(?#a)", "a comment"),
        ("a*?", "a lazy repeat: greed means nothing"),
        ("a{1,2}?", "a lazy repeat"),
        ("a++", "a possessive repeat"),
        ("a**", "a repeat of a repeat"),
        ("^a", "an anchor \\^"),
        ("a$", "an anchor \\$"),
        (r"\ba", r"an anchor \\b"),
        (r"a\Z", r"an anchor \\Z"),
        (r"\pL", r"\\p, which means nothing"),
        (r"\q", r"\\q, which means nothing"),
        (r"\x4", r"\\x without the 2 hexadecimal digits"),
        (r"\U00110000", r"\\U without the 8 hexadecimal digits"),
        (r"\ud800", "a letter that UTF-8 does not have"),
        ("\ud800", "a letter that UTF-8 does not have"),
        ("(a", r"a bracket \( that nothing closes"),
        ("a)", r"a bracket \) that nothing opens"),
        ("[a", r"a bracket \[ that nothing closes"),
        ("[]", r"a bracket \[ that nothing closes"),
        ("[b-a]", "a range of characters without"),
        (r"[\d-z]", "a range of characters without"),
        ("[[:alpha:]]+", "a set in a set, or a class by its name"),
        ("[^[a]", "a set in a set"),
        ("[a-z--b]", "sets that are put together by --"),
        ("[+--]", "sets that are put together by --"),
        ("[a-z&&[^b]]", "sets that are put together by &&"),
        ("[a||b]", r"put together by \|\|"),
        ("*a", r"a repeat \* of nothing"),
        ("a|+", r"a repeat \+ of nothing"),
        ("a{", "a brace { that begins no repeat"),
        ("a{x}", "a brace { that begins no repeat"),
        ("a{,}", "a brace { that begins no repeat"),
        ("a{2,1}", "a repeat of at least 2 and at most 1"),
        ("a{10001}", "a repeat of more than 10,000 times"),
        ("a{9999999999}", "a brace { that begins no repeat"),
        ("a\\", "a backslash at its end"),
        ("(" * 101 + ")" * 101, "more than 100 groups"),
        ("a" * 20_001, "20,001 letters, more than 20,000"),
        ("", "the only answer is an empty one"),
        ("()", "the only answer is an empty one"),
        (r"[^\s\S]", "no answer matches"),
        ("((a{0,50}){0,50}){0,20}", "its repeats written out have more than 50,000 parts"),
        ("((a*){10000}){10000}", "its repeats written out"),
        ("(a|b)*a(a|b){40}", "too intricate"),
        ("((a|b)*c?){500}", "too intricate"),
        ("a{0,10000}", "more than 4,096 states"),
        ("(.*a){200}(b|c){0,3000}", "more than 4,096 states|too intricate"),
        ("(a|b)*a(a|b){11}", "more than 255 kinds of states"),
        ("|".join(f"{chr(97 + n)}{'x' * n}" for n in range(20)), "more than 16 ranges of bytes"),
    ],
)
def test_regex__that_no_table_says__is_refused_by_name(text, why):
    with pytest.raises(BadType, match=why) as caught:
        regex(text)
    assert str(caught.value).isprintable()


def test_read__what_is_none__says_so():
    made = pattern(forms.integer(0, 9), ROOT)
    for output in (b"", b"10", b"x", bytes(9000)):
        with pytest.raises(NotOfType, match="no answer of the type that was asked for"):
            made.read(output)
