"""Random shapes of small models, for properties of the exact engine."""

from exact.random_model import FLOATS, Kind, Shape
from hypothesis import strategies as st


@st.composite
def shapes(draw: st.DrawFn, most_group: int = 6, most_half: int = 20) -> Shape:
    """One layer of any family. most_group: query heads to a key head. most_half: half the width of a head."""
    kind = draw(st.sampled_from([*FLOATS, Kind.Q8_0, Kind.Q4_0, Kind.Q5_1, Kind.IQ4_NL]))
    kv_heads = draw(st.integers(1, 3))
    heads, head_width = kv_heads * draw(st.integers(1, most_group)), 2 * draw(st.integers(1, most_half))
    while kind not in FLOATS and heads * head_width % 32:  # the width of all heads is whole blocks
        head_width += 2
    odd = 3 if kind in FLOATS else 0
    most_gain = 10.0 if kind in (Kind.BF16, Kind.F32) else 30.0  # they are refused from 128 on
    family = draw(st.sampled_from(["llama", "qwen2", "qwen3", "gemma3"]))
    most_gain = 3.0 if family == "gemma3" else most_gain  # embeddings of 128 are refused
    extra = [("attention.sliding_window", draw(st.integers(1, 20)))] if family == "gemma3" else []
    return Shape(
        family,
        kind,
        layers=1,
        extra=tuple(extra),
        width=32 * draw(st.integers(1, 4)) + odd,
        hidden=32 * draw(st.integers(1, 5)) + odd,
        heads=heads,
        kv_heads=kv_heads,
        head_width=head_width,
        rope_width=max(2, head_width - 2 * draw(st.integers(0, 3))),
        gain=draw(st.sampled_from([1e-6, 0.1, 1.0, most_gain, 1e4])),
        zero_rows=draw(st.booleans()),
    )


LOUD = 1000
"""Of models with a larger gain some are refused, as they must be."""
