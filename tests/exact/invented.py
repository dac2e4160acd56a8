"""Vocabularies that nobody uses, of few letters and with every trap that merging has: ties, tokens that rank before
their parts, tokens that no merge reaches, bytes that no token spells."""

from random import Random

from oracle.engines.exact.tokenizer import BYTE, BYTE_LETTERS, CONTROL, NORMAL, USER_DEFINED
from oracle.models.gguf import Gguf

LETTERS = "ab é1"
CUT = ("gpt-2", "llama-bpe", "qwen2", "smollm")


def _words(random: Random, letters: list[str]) -> list[tuple[str, str]]:
    """Pairs of words made of words made before."""
    words, pairs = list(letters), list[tuple[str, str]]()
    for _ in range(random.randrange(1, 14)):
        left, right = random.choice(words[-9:]), random.choice(words[-9:])
        if left + right not in words:
            words.append(left + right)
            pairs.append((left, right))
    return pairs


def byte_pairs(random: Random) -> Gguf:
    """Some bytes, and merges in any order."""
    spelled = [*LETTERS.encode(), *b"?'\n\xf0\x9f"]
    letters = [BYTE_LETTERS[byte].decode() for byte in dict.fromkeys(spelled)]
    if random.random() < 0.3:
        letters.remove(BYTE_LETTERS[ord("b")].decode())
    pairs = _words(random, letters[:7])
    if random.random() < 0.3:
        random.shuffle(pairs)
    kept = random.choice((0.6, 1.0))
    merges = [f"{left} {right}" for left, right in pairs if random.random() < kept]
    tokens = [*letters, *(left + right for left, right in pairs), "<|end|>", "<t>"]
    types = [NORMAL] * (len(tokens) - 2) + [CONTROL, USER_DEFINED]
    return _header("gpt2", tokens, types, {"merges": [merge.encode() for merge in merges], "pre": random.choice(CUT)})


def sentence_pieces(random: Random) -> Gguf:
    """Some characters, a token for each byte, and scores of which many are equal."""
    letters = [letter.replace(" ", "▁") for letter in LETTERS if letter == " " or random.random() < 0.85]
    pairs = _words(random, letters)
    tokens = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *letters, *(left + right for left, right in pairs)]
    types = [CONTROL, *[BYTE] * 256, *[NORMAL] * (len(letters) + len(pairs))]
    scores = [0.0] * (257 + len(letters)) + [float(-random.randrange(len(pairs))) for _ in pairs]
    return _header("llama", tokens, types, {"scores": scores, "add_space_prefix": random.random() < 0.5})


def _header(model: str, tokens: list[str], types: list[int], more: dict[str, object]) -> Gguf:
    named = {"model": model, "tokens": [token.encode() for token in tokens], "token_type": types, **more}
    return Gguf(
        {"general.architecture": "llama"} | {f"tokenizer.ggml.{key}": value for key, value in named.items()}, {}
    )


def text(random: Random, most: int) -> bytes:
    """Letters of the vocabularies, and bytes that are none of their characters."""
    parts = [*(letter.encode() for letter in LETTERS), b"'", b"s", b"\n", b"\xc3", b"\xa9", b"\xf0\x9f\x98\x80", b"?"]
    weights = [8, 8, 4, 3, 2, 1, 1, 1, 1, 1, 1, 1]
    return b"".join(random.choices(parts, weights, k=random.randrange(most + 1)))
