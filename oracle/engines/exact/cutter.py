"""Cutting a text into pieces within which byte pairs are merged: a cutter for each `tokenizer.ggml.pre` that is read.

They follow llama.cpp, which cuts by regular expressions over Unicode classes. Written out here, since the classes of
Python's modules change with Python, and because llama.cpp's own reading of them counts. A text is a list of code
points; a cutter returns the lengths of the pieces. Where an expression looks ahead, a text's end is no character.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

from oracle.engines.exact.unicode_classes import is_letter, is_number, is_punctuation, is_space

Cutter = Callable[[Sequence[int]], list[int]]

NOTHING = -1  # "the code point" beyond the end: in no class
APOSTROPHE, SPACE, RETURN, NEWLINE, SLASH = map(ord, "' \r\n/")
SUFFIXES = {tuple(map(ord, text)) for text in ("s", "t", "m", "d", "re", "ve", "ll")}
OPERATORS = frozenset(map(ord, "$+<=>^~|"))


def _is_other(code: int) -> bool:
    """Neither letter, number nor space."""
    return code != NOTHING and not (is_letter(code) or is_number(code) or is_space(code))


def _run(text: Sequence[int], start: int, belongs: Callable[[int], bool]) -> int:
    """Where the run of code points that belong, from `start` on, ends."""
    while start < len(text) and belongs(text[start]):
        start += 1
    return start


def _suffix(text: Sequence[int], at: int, any_case: bool) -> int:
    """The length of 's 't 'm 'd 're 've 'll at `at`, or 0."""
    if text[at] != APOSTROPHE:
        return 0
    after = tuple(code + 32 if any_case and 65 <= code <= 90 else code for code in text[at + 1 : at + 3])
    return next((1 + length for length in (1, 2) if after[:length] in SUFFIXES), 0)


def _gpt2_end(text: Sequence[int], at: int) -> int:
    r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
    if suffix := _suffix(text, at, any_case=False):
        return at + suffix
    start = at + (text[at] == SPACE)
    for belongs in (is_letter, is_number, _is_other):
        if start < len(text) and belongs(text[start]):
            return _run(text, start, belongs)
    return _spaces_end(text, at)


def _spaces_end(text: Sequence[int], at: int) -> int:
    r"""\s+(?!\S)|\s+: all spaces but the last when something follows and there are several."""
    end = _run(text, at, is_space)
    return end - 1 if end < len(text) and end - at > 1 else end


def _modern_end(text: Sequence[int], at: int, digits: int) -> int:
    r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,digits}| ?[^\s\p{L}\p{N}]+[\r\n]*
    |\s*[\r\n]+|\s+(?!\S)|\s+
    """
    if suffix := _suffix(text, at, any_case=True):
        return at + suffix
    start = _word_start(text, at)
    if start < len(text) and is_letter(text[start]):
        return _run(text, start, is_letter)
    if is_number(text[at]):
        return min(_run(text, at, is_number), at + digits)
    return _signs_end(text, at, (RETURN, NEWLINE))


def _word_start(text: Sequence[int], at: int) -> int:
    r"""Behind [^\r\n\p{L}\p{N}]?"""
    code = text[at]
    return at if is_letter(code) or code in (RETURN, NEWLINE) or is_number(code) else at + 1


def _signs_end(text: Sequence[int], at: int, after: Sequence[int]) -> int:
    r"""?[^\s\p{L}\p{N}]+[after]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
    start = at + (text[at] == SPACE)
    if start < len(text) and _is_other(text[start]):
        return _run(text, _run(text, start, _is_other), after.__contains__)
    for last in range(_run(text, at, is_space), at, -1):
        if text[last - 1] in (RETURN, NEWLINE):
            return last
    return _spaces_end(text, at)


def _tekken_end(text: Sequence[int], at: int) -> int:
    r"""[^\r\n\p{L}\p{N}]?U*L+|[^\r\n\p{L}\p{N}]?U+L*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+

    U: letters but a to z; L: letters but A to Z.
    """
    start = _word_start(text, at)
    if start < len(text) and is_letter(text[start]):
        end = _run(text, start, lambda code: is_letter(code) and not ord("a") <= code <= ord("z"))
        if end == len(text) or not is_letter(text[end]):  # then L+ takes of U*
            lower = (place for place in range(end - 1, start - 1, -1) if _is_lower(text[place]))
            end = next(lower, end)
        return _run(text, end, _is_lower)
    return at + 1 if is_number(text[at]) else _signs_end(text, at, (RETURN, NEWLINE, SLASH))


def _is_lower(code: int) -> bool:
    """A letter, but not A to Z."""
    return is_letter(code) and not ord("A") <= code <= ord("Z")


def _cut(text: Sequence[int], end_of: Callable[[Sequence[int], int], int]) -> list[int]:
    lengths, at = [], 0
    while at < len(text):
        end = end_of(text, at)
        lengths.append(end - at)
        at = end
    return lengths


def gpt2(text: Sequence[int]) -> list[int]:
    return _cut(text, _gpt2_end)


def _llama3_end(text: Sequence[int], at: int) -> int:
    return _modern_end(text, at, 3)


def _qwen2_end(text: Sequence[int], at: int) -> int:
    return _modern_end(text, at, 1)


def llama3(text: Sequence[int]) -> list[int]:
    return _cut(text, _llama3_end)


def qwen2(text: Sequence[int]) -> list[int]:
    return _cut(text, _qwen2_end)


def tekken(text: Sequence[int]) -> list[int]:
    return _cut(text, _tekken_end)


def _within(text: Sequence[int], lengths: Sequence[int], cutter: Cutter) -> list[int]:
    """Every piece cut further, each as a text of its own."""
    result, at = [], 0
    for length in lengths:
        result += cutter(text[at : at + length])
        at += length
    return result


def _runs(belongs: Callable[[int], bool], longest: int | None = None, shortest: int = 1) -> Cutter:
    """Cuts out runs of what belongs, of `shortest` to `longest` code points; what lies between stays in one piece."""

    def cut(text: Sequence[int]) -> list[int]:
        bounds, at = [0], 0
        while at < len(text):
            end = _run(text, at, belongs)
            end = end if longest is None else min(end, at + longest)
            if end - at >= shortest:
                bounds += [at, end]
                at = end
            else:
                at += 1
        bounds.append(len(text))
        return [b - a for a, b in pairwise(bounds) if b > a]

    return cut


def smollm(text: Sequence[int]) -> list[int]:
    r"""\p{N}, then as gpt-2."""
    return _within(text, _runs(is_number, longest=1)(text), gpt2)


def _smollm_end(text: Sequence[int], at: int) -> int:
    """What `smollm` cuts, from the left alone: a number is a piece, and ends a text for what stands before it."""
    if is_number(text[at]):
        return at + 1
    if suffix := _suffix(text, at, any_case=False):
        return at + suffix
    start = at + (text[at] == SPACE)
    for belongs in (is_letter, _is_other):
        if start < len(text) and belongs(text[start]):
            return _run(text, start, belongs)
    end = _run(text, at, is_space)
    return end if end < len(text) and is_number(text[end]) else _spaces_end(text, at)


def default(text: Sequence[int]) -> list[int]:
    r"""[\p{P}$+<=>^~|]+, then as gpt-2, then \p{N}+, then [0-9][0-9][0-9]."""
    lengths = _runs(lambda code: is_punctuation(code) or code in OPERATORS)(text)
    for cutter in (gpt2, _runs(is_number), _runs(range(48, 58).__contains__, longest=3, shortest=3)):
        lengths = _within(text, lengths, cutter)
    return lengths


ALIKE: dict[str, tuple[Cutter, str]] = {
    "default": (default, ""),
    "gpt-2": (gpt2, "a.x-4.0 exaone4 gigachat granite-docling jais mellum mpt olmo phi-2 trillion"),
    "llama-bpe": (llama3, "llama3 llama-v3 falcon3 falcon-h1 glm4 jina-v5-nano lfm2 midm-2.0 pixtral"),
    "smaug-bpe": (llama3, "chatglm-bpe dbrx"),
    "qwen2": (qwen2, "deepseek-r1-qwen f2llmv2 grok-2 hunyuan kormo megrez solar-open stablelm2"),
    "smollm": (smollm, "codeshell command-r exaone mellum2 minerva-7b refact starcoder"),
    "tekken": (tekken, ""),
}
"""A name of `tokenizer.ggml.pre`, how its texts are cut, and the names that llama.cpp treats alike."""

CUTTERS: dict[str, Cutter] = {
    name: cutter for first, (cutter, others) in ALIKE.items() for name in (first, *others.split())
}
"""By `tokenizer.ggml.pre`."""

_ENDS: dict[Cutter, Callable[[Sequence[int], int], int]] = {
    gpt2: _gpt2_end,
    llama3: _llama3_end,
    qwen2: _qwen2_end,
    smollm: _smollm_end,
}
ENDS = {name: _ENDS[cutter] for name, cutter in CUTTERS.items() if cutter in _ENDS}
"""Of the cutters that decide from a piece's start rightwards alone: where the piece ends that begins at a place."""

CUTTER_NUMBERS = {name: 1 + list(_ENDS).index(CUTTERS[name]) for name in ENDS}
"""As `Cutter` in Solidity numbers them: gpt-2, llama-bpe, qwen2, smollm."""

WHOLE_WORDS = frozenset(["llama-bpe", *ALIKE["llama-bpe"][1].split(), "tekken"])
"""Those that take a piece which is a token as it is, whatever its merges would give."""
