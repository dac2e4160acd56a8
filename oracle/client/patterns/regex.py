"""Regular expressions, as far as they say which texts match as a whole: Python's syntax, \\d, \\w and \\s in ASCII.

What has no meaning for whole answers, or none that a table of states can have, is refused by its name.
"""

from collections.abc import Iterable

from oracle.client.patterns.expressions import MOST_CODE, Either, Expression, Range, Repeat, Row, characters
from oracle.errors import BadType, printable

MOST_LETTERS, MOST_DEPTH, MOST_TIMES = 20_000, 100, 10_000
"""Of a regular expression; of groups in groups; of a repeat."""
DIGITS: tuple[Range, ...] = ((0x30, 0x39),)
WORDS: tuple[Range, ...] = (*DIGITS, (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
SPACES: tuple[Range, ...] = ((0x09, 0x0D), (0x20, 0x20))
CLASSES = {"d": DIGITS, "w": WORDS, "s": SPACES}
CONTROLS = {"n": 0x0A, "r": 0x0D, "t": 0x09, "f": 0x0C, "v": 0x0B, "a": 0x07}
CODES = {"x": 2, "u": 4, "U": 8}
"""Hexadecimal digits behind them."""
GROUPS = {
    "?=": "a look ahead",
    "?!": "a look ahead",
    "?<=": "a look behind",
    "?<!": "a look behind",
    "?P=": "a reference to a group",
    "?P<": "a named group: names mean nothing here, write (...)",
    "?>": "an atomic group: greed means nothing here, as whole answers match",
    "?(": "a condition",
    "?#": "a comment",
}


def regex(text: str) -> Expression:
    """What `re.fullmatch(text, ...)` takes with `re.ASCII`. Raises BadType."""
    if len(text) > MOST_LETTERS:
        raise BadType(f"the regular expression has {len(text):,} letters, more than {MOST_LETTERS:,}")
    return _Reader(text).whole()


def inverted(ranges: Iterable[Range]) -> list[Range]:
    """All code points that are in none of these."""
    found, at = list[Range](), 0
    for low, high in sorted(ranges):
        if at < low:
            found.append((at, low - 1))
        at = max(at, high + 1)
    return [*found, (at, MOST_CODE)] if at <= MOST_CODE else found


class _Reader:
    def __init__(self, text: str) -> None:
        self._text, self._at, self._depth = text, 0, 0

    def whole(self) -> Expression:
        found = self._either()
        if self._at < len(self._text):
            raise self._refused("a bracket ) that nothing opens")
        return found

    def _refused(self, what: str) -> BadType:
        place = f"behind {printable(repr(self._text[max(0, self._at - 20) : self._at]))}"
        return BadType(f"the regular expression has {what}, {place}")

    def _next(self) -> str:
        """Empty at the end."""
        return self._text[self._at : self._at + 1]

    def _take(self, what: str = "an end where more must follow") -> str:
        found = self._next()
        if not found:
            raise self._refused(what)
        self._at += 1
        return found

    def _takes(self, wanted: str) -> bool:
        is_there = self._text.startswith(wanted, self._at)
        self._at += len(wanted) if is_there else 0
        return is_there

    def _either(self) -> Expression:
        parts = [self._row()]
        while self._takes("|"):
            parts.append(self._row())
        return parts[0] if len(parts) == 1 else Either(tuple(parts))

    def _row(self) -> Expression:
        parts = list[Expression]()
        while self._next() not in ("", "|", ")"):
            parts.append(self._repeated(self._one()))
        return Row(tuple(parts))

    def _repeated(self, part: Expression) -> Expression:
        times = self._times()
        if times is None:
            return part
        if self._next() == "?":
            raise self._refused("a lazy repeat: greed means nothing here, as whole answers match")
        if self._next() == "+":
            raise self._refused("a possessive repeat: greed means nothing here, as whole answers match")
        if self._times() is not None:
            raise self._refused("a repeat of a repeat: put the first in brackets")
        return Repeat(part, *times)

    def _times(self) -> tuple[int, int | None] | None:
        """None where no repeat stands."""
        for sign, times in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._takes(sign):
                return times
        if self._next() != "{":
            return None
        end = self._text.find("}", self._at)
        least, comma, most = self._text[self._at + 1 : end if end > 0 else None].partition(",")
        if end < 0 or not (least or most) or not all(_is_number(each) for each in (least, most) if each):
            raise self._refused("a brace { that begins no repeat: write \\{ for the letter")
        low, high = int(least or 0), int(most) if most else None if comma else int(least)
        if max(low, high or 0) > MOST_TIMES:
            raise self._refused(f"a repeat of more than {MOST_TIMES:,} times")
        if high is not None and low > high:
            raise self._refused(f"a repeat of at least {low:,} and at most {high:,} times")
        self._at = end + 1
        return low, high

    def _one(self) -> Expression:
        letter = self._take()
        if letter == "(":
            return self._group()
        if letter == "[":
            return characters(self._set())
        if letter == ".":
            return characters(inverted([(0x0A, 0x0A)]))
        if letter == "\\":
            return characters(self._escape())
        self._at -= 1
        if letter in "^$":
            raise self._refused(f"an anchor {letter}: whole answers match, so leave it out")
        if letter in "*+?{":
            raise self._refused(f"a repeat {letter} of nothing")
        self._at += 1
        return characters([self._code(letter)])

    def _code(self, letter: str) -> Range:
        code = ord(letter)
        if 0xD800 <= code <= 0xDFFF:
            raise self._refused("a letter that UTF-8 does not have")
        return code, code

    def _group(self) -> Expression:
        if self._next() == "?" and not self._takes("?:"):
            what = next((name for sign, name in GROUPS.items() if self._text.startswith(sign, self._at)), None)
            raise self._refused(what or "flags: write both cases, as [Yy]es")
        self._depth += 1
        if self._depth > MOST_DEPTH:
            raise self._refused(f"more than {MOST_DEPTH} groups in each other")
        found = self._either()
        if not self._takes(")"):
            raise self._refused("a bracket ( that nothing closes")
        self._depth -= 1
        return found

    def _escape(self, *, in_set: bool = False) -> list[Range]:
        letter = self._take("a backslash at its end")
        if letter in CLASSES:
            return list(CLASSES[letter])
        if letter.lower() in CLASSES:
            return inverted(CLASSES[letter.lower()])
        if letter in CONTROLS:
            return [(CONTROLS[letter],) * 2]
        if letter in CODES:
            digits = self._text[self._at : self._at + CODES[letter]]
            is_code = len(digits) == CODES[letter] and all(each in "0123456789abcdefABCDEF" for each in digits)
            if not is_code or int(digits, 16) > MOST_CODE:
                raise self._refused(f"\\{letter} without the {CODES[letter]} hexadecimal digits of a character")
            self._at += len(digits)
            return [self._code(chr(int(digits, 16)))]
        if letter in "AZbBz" and not in_set:
            raise self._refused(f"an anchor \\{letter}: whole answers match, so leave it out")
        if letter.isdigit() and not in_set:
            raise self._refused("a reference to a group")
        if letter.isalnum():
            raise self._refused(f"\\{printable(letter)}, which means nothing here")
        return [self._code(letter)]

    def _set(self) -> list[Range]:
        """Without what Python reads letter by letter, and warns that it may not for ever."""
        is_inverted = self._takes("^")
        if self._next() == "[":
            raise self._refused("a set in a set, or a class by its name: write \\[ for the letter")
        found, is_first = list[Range](), True
        while is_first or self._next() != "]":
            two = self._text[self._at : self._at + 2]
            if not is_first and two in ("--", "&&", "~~", "||"):
                raise self._refused(f"sets that are put together by {two}: write \\{two[0]} for the letter")
            is_first = False
            low = self._member()
            if self._next() == "-" and self._text[self._at + 1 : self._at + 2] not in ("]", ""):
                if self._takes("--"):
                    raise self._refused("sets that are put together by --: write \\- for the letter")
                self._at += 1
                high = self._member()
                if not _is_one(low) or not _is_one(high) or low[0][0] > high[0][0]:
                    raise self._refused("a range of characters without a first and a last")
                low = [(low[0][0], high[0][1])]
            found += low
        self._at += 1
        return inverted(found) if is_inverted else found

    def _member(self) -> list[Range]:
        letter = self._take("a bracket [ that nothing closes")
        return self._escape(in_set=True) if letter == "\\" else [self._code(letter)]


def _is_one(ranges: list[Range]) -> bool:
    return len(ranges) == 1 and ranges[0][0] == ranges[0][1]


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 9
