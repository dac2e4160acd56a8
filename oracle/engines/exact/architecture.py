"""The numbers that say which operators a model is made of, read from a GGUF header; every other model is refused.

Families: llama (Llama 2 and 3, TinyLlama, SmolLM, Mistral: rotary pairs interleaved), qwen2 (biases), qwen3 (queries
and keys normalised per head), gemma3 (these too, and outputs of blocks; GELU; layers that see a window). Whatever a
header can say that would change the arithmetic and is not modelled here is refused, never ignored.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from oracle.engines.exact.constants import MAX_CONTEXT, MAX_HEAD_WIDTH, MAX_WIDTH
from oracle.errors import BadModelFile
from oracle.models.gguf import Gguf

FAMILIES = ("llama", "qwen2", "qwen3", "gemma3")
READ = frozenset({
    "block_count", "context_length", "embedding_length", "feed_forward_length", "vocab_size",
    "attention.head_count", "attention.head_count_kv", "attention.key_length", "attention.value_length",
    "attention.layer_norm_rms_epsilon",
    "rope.dimension_count", "rope.freq_base", "rope.scale_linear", "rope.scaling.type", "rope.scaling.factor",
})  # fmt: skip
"""Header entries, without the family before them, that are read below."""
READ_ALSO = {
    "gemma3": frozenset({"attention.sliding_window", "attention.sliding_window_pattern", "rope.freq_base_swa"}),
}
"""Those that are read of one family alone."""
REMARKS = frozenset({"rope.scaling.original_context_length", "rope.scaling.finetuned", "tensor_data_layout"})
"""Those that describe how a file came about: no arithmetic of these families reads them."""
ONLY: dict[str, tuple[object, ...]] = {
    "attention.causal": (True,),
    "attention.clamp_kqv": (0.0,),
    "attention.max_alibi_bias": (0.0,),
    "attention.scale": (0.0,),  # stands for 1 / sqrt(head width)
    "attention.sliding_window": (0,),
    "attn_logit_softcapping": (0.0,),
    "embedding_scale": (0.0, 1.0),
    "expert_count": (0,),
    "expert_used_count": (0,),
    "final_logit_softcapping": (0.0,),
    "logit_scale": (0.0, 1.0),
    "pooling_type": (0,),
    "residual_scale": (0.0, 1.0),
    "rope.scaling.attn_factor": (1.0,),
    "use_parallel_residual": (False,),
}
"""Those that may only say what the arithmetic does anyway. Every other entry of the family is refused."""
DEFAULT_BASE = 10_000.0
DEFAULT_PERIOD = 6
GEMMA_27B_LAYERS = 62
MAX_HIDDEN = 1 << 20
MAX_WINDOW, MAX_PERIOD = 1 << 20, 1 << 10


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
    window: int = 0
    """How many positions, its own among them, a position of a local layer sees; 0: no layer is local."""
    period: int = 0
    """The last of every so many layers is not local; 0 where there is no window."""
    local_base: Fraction = Fraction(10_000)
    """The rotary base of local layers, whose angles are not divided."""
    scored_width: int | None = None
    """Scores are divided by its root; None: by that of a head's width."""

    @property
    def interleaved(self) -> bool:
        """Rotary pairs are neighbours; otherwise halves of the rotated width."""
        return self.family == "llama"

    @property
    def head_norms(self) -> bool:
        return self.family in ("qwen3", "gemma3")

    @property
    def is_gemma(self) -> bool:
        """Embeddings are scaled, the outputs of both blocks are normalised before they are added, the gate is GELU."""
        return self.family == "gemma3"

    @property
    def scale_width(self) -> int:
        """Scores are divided by its root."""
        return self.head_width if self.scored_width is None else self.scored_width

    def window_of(self, layer: int) -> int:
        """How many positions a layer sees; 0 for all."""
        return self.window if self.period and layer % self.period < self.period - 1 else 0

    @property
    def group(self) -> int:
        """Query heads that share a key head."""
        return self.heads // self.kv_heads


def architecture(header: Gguf) -> Architecture:
    """Raises BadModelFile for anything the exact engine does not compute."""
    family = header.architecture
    if family not in FAMILIES:
        raise BadModelFile(f"the exact engine has no architecture {family} (it has {', '.join(FAMILIES)})")
    _check_entries(header)
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
        **_gemma(header, width, heads),
    )
    if _optional(header, "attention.value_length", head_width) != head_width:
        raise BadModelFile("values are not as wide as keys")
    _check(found)
    return found


def _gemma(header: Gguf, width: int, heads: int) -> dict[str, Any]:
    """What Gemma 3 has besides, as llama.cpp reads it: a window of 0 is none, the default period is 6, and the 27B is
    known by its number of layers. Raises BadModelFile."""
    if header.architecture != "gemma3":
        return {}
    is_27b = header.number("block_count") == GEMMA_27B_LAYERS
    scored = {"scored_width": width // heads} if is_27b else {}
    window = _optional(header, "attention.sliding_window", 0)
    if not window:
        return scored
    period = _optional(header, "attention.sliding_window_pattern", DEFAULT_PERIOD)
    base = _real(header, "rope.freq_base_swa", DEFAULT_BASE)
    return {**scored, "window": window, "period": period, "local_base": base}


def _check_entries(header: Gguf) -> None:
    """Whatever a family's header entry says must be known, or the file is for another arithmetic."""
    family = header.architecture
    for key, value in header.metadata.items():
        name = key.removeprefix(f"{family}.")
        if name == key or name in READ or name in REMARKS or name in READ_ALSO.get(family, ()):
            continue
        if name not in ONLY:
            raise BadModelFile(f"the exact engine does not know {key}")
        if not any(type(value) is type(known) and value == known for known in ONLY[name]):
            known = " or ".join(map(str, ONLY[name]))
            raise BadModelFile(f"{key} is {value!r}; the exact engine computes with {known} alone")
    size = header.metadata.get(f"{family}.vocab_size", len(header.vocabulary))
    if size != len(header.vocabulary):
        raise BadModelFile(f"{family}.vocab_size is {size!r}, and the file has {len(header.vocabulary)} tokens")


def _check(a: Architecture) -> None:
    limits = {
        "embedding_length": (a.width, MAX_WIDTH),
        "feed_forward_length": (a.hidden, MAX_HIDDEN),
        "attention.head_count": (a.heads, MAX_WIDTH),
        "attention.head_count_kv": (a.kv_heads, a.heads),
        "attention.key_length": (a.head_width, MAX_HEAD_WIDTH),
        "rope.dimension_count": (a.rope_width, a.head_width),
    }
    if a.window:
        limits["attention.sliding_window"] = (a.window, MAX_WINDOW)
        limits["attention.sliding_window_pattern"] = (a.period, MAX_PERIOD)
    for name, (value, most) in limits.items():
        if not 0 < value <= most:
            raise BadModelFile(f"{name} is {value}, not between 1 and {most}")
    if a.heads % a.kv_heads:
        raise BadModelFile(f"{a.heads} query heads do not share {a.kv_heads} key heads evenly")
    if a.rope_width % 2:
        raise BadModelFile(f"an odd number of rotated values, {a.rope_width}")
    for base in (a.rope_base, a.local_base):
        if not 1 < base < 1 << 40:
            raise BadModelFile(f"a rotary base of {float(base)}")
    if 4 * a.scale_width < a.head_width:
        raise BadModelFile(f"scores of heads of {a.head_width} numbers are divided by the root of {a.scale_width}")
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
