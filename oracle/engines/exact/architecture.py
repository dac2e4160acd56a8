"""The numbers that say which operators a model is made of, read from a GGUF header; every other model is refused.

Families: llama (Llama 2 and 3, TinyLlama, SmolLM, Mistral: rotary pairs interleaved), qwen2 (biases), qwen3 (queries
and keys normalised per head). Whatever a header can say that would change the arithmetic and is not modelled here is
refused, never ignored.
"""

from dataclasses import dataclass
from fractions import Fraction

from oracle.engines.exact.constants import MAX_CONTEXT, MAX_HEAD_WIDTH, MAX_WIDTH
from oracle.errors import BadModelFile
from oracle.models.gguf import Gguf

FAMILIES = ("llama", "qwen2", "qwen3")
UNSUPPORTED = (
    "expert_count",
    "attention.sliding_window",
    "attention.clamp_kqv",
    "attention.max_alibi_bias",
    "attention.scale",
    "attn_logit_softcapping",
    "final_logit_softcapping",
    "logit_scale",
    "residual_scale",
    "embedding_scale",
    "rope.scaling.attn_factor",
)
DEFAULT_BASE = 10_000.0
MAX_HIDDEN = 1 << 20


@dataclass(frozen=True)
class Architecture:
    family: str
    layers: int
    width: int
    """Of the residual stream."""
    hidden: int
    """Width of gate and up."""
    heads: int
    kv_heads: int
    head_width: int
    rope_width: int
    """How many numbers of a head are rotated; even."""
    rope_base: Fraction
    rope_divisor: Fraction
    """Linear scaling: every angle is divided by it."""
    epsilon: Fraction
    """Under the root of every norm."""
    context: int
    vocabulary: int

    @property
    def interleaved(self) -> bool:
        """Rotary pairs are neighbours; otherwise halves of the rotated width."""
        return self.family == "llama"

    @property
    def head_norms(self) -> bool:
        return self.family == "qwen3"

    @property
    def group(self) -> int:
        """Query heads that share a key head."""
        return self.heads // self.kv_heads


def architecture(header: Gguf) -> Architecture:
    """Raises BadModelFile for anything the exact engine does not compute."""
    family = header.architecture
    if family not in FAMILIES:
        raise BadModelFile(f"the exact engine has no architecture {family} (it has {', '.join(FAMILIES)})")
    for name in UNSUPPORTED:
        if header.metadata.get(f"{family}.{name}"):
            raise BadModelFile(f"the exact engine does not know {family}.{name}")
    width, heads = header.number("embedding_length"), header.number("attention.head_count")
    if heads < 1:
        raise BadModelFile(f"{heads} attention heads")
    head_width = _optional(header, "attention.key_length", width // heads)
    found = Architecture(
        family=family,
        layers=header.number("block_count"),
        width=width,
        hidden=header.number("feed_forward_length"),
        heads=heads,
        kv_heads=_optional(header, "attention.head_count_kv", heads),
        head_width=head_width,
        rope_width=_optional(header, "rope.dimension_count", head_width),
        rope_base=_real(header, "rope.freq_base", DEFAULT_BASE),
        rope_divisor=_divisor(header),
        epsilon=_real(header, "attention.layer_norm_rms_epsilon", None),
        context=min(header.number("context_length"), MAX_CONTEXT),
        vocabulary=len(header.vocabulary),
    )
    if _optional(header, "attention.value_length", head_width) != head_width:
        raise BadModelFile("values are not as wide as keys")
    _check(found)
    return found


def _check(a: Architecture) -> None:
    limits = {
        "embedding_length": (a.width, MAX_WIDTH),
        "feed_forward_length": (a.hidden, MAX_HIDDEN),
        "attention.head_count": (a.heads, MAX_WIDTH),
        "attention.head_count_kv": (a.kv_heads, a.heads),
        "attention.key_length": (a.head_width, MAX_HEAD_WIDTH),
        "rope.dimension_count": (a.rope_width, a.head_width),
    }
    for name, (value, most) in limits.items():
        if not 0 < value <= most:
            raise BadModelFile(f"{name} is {value}, not between 1 and {most}")
    if a.heads % a.kv_heads:
        raise BadModelFile(f"{a.heads} query heads do not share {a.kv_heads} key heads evenly")
    if a.rope_width % 2:
        raise BadModelFile(f"an odd number of rotated values, {a.rope_width}")
    if not 1 < a.rope_base < 1 << 40:
        raise BadModelFile(f"a rotary base of {float(a.rope_base)}")
    if not 1 <= a.rope_divisor <= 1 << 16:
        raise BadModelFile(f"a rotary scale of {float(a.rope_divisor)}")


def _optional(header: Gguf, name: str, default: int) -> int:
    return header.number(name) if f"{header.architecture}.{name}" in header.metadata else default


def _real(header: Gguf, name: str, default: float | None) -> Fraction:
    """The exact value of a float of the header."""
    value = header.metadata.get(f"{header.architecture}.{name}", default)
    if type(value) is not float or not abs(value) < float("inf"):
        raise BadModelFile(f"{name} is {value!r}, not a finite number")
    return Fraction(value)


def _divisor(header: Gguf) -> Fraction:
    """As llama.cpp reads it: a factor without a type is linear, one of 0 is 1, the old name counts after the new."""
    kind = header.metadata.get(f"{header.architecture}.rope.scaling.type", "linear")
    if kind not in ("none", "linear"):
        raise BadModelFile(f"the exact engine does not know rotary scaling {kind!r}")
    old = _real(header, "rope.scale_linear", 1.0)
    factor = _real(header, "rope.scaling.factor", float(old))
    return factor if kind == "linear" and factor else Fraction(1)


def epsilon_units(epsilon: Fraction, bits: int) -> int:
    """epsilon in units of 2^-(2 bits + 18), rounded to nearest, halves upward: for `operators.mean_root`."""
    return (2 * epsilon.numerator << (2 * bits + 18)) // epsilon.denominator + 1 >> 1
