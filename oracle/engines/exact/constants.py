"""The fixed-point formats: how many fraction bits each kind of number has, and its largest magnitude.

A number v with F fraction bits stands for v / 2^F. Where a result would exceed its largest magnitude it is set to that
magnitude ("saturates"): never wraps. `docs/numerics.md` says why each format has room and precision enough.
"""

WEIGHT_BITS = 24  # a weight is an integer multiple of 2^-24, the smallest positive fp16; floats may have more
RESIDUAL_BITS = 16  # residual stream, outputs added to it, attention scores, logits
NORMED_BITS = 20  # a normalised row before it is quantized
INNER_BITS = 18  # queries, keys, values, context, gate and up, and SiLU of the gate
ACT_BITS = 24  # SiLU(gate) * up
MOST_NORM_SCALE = 14  # bits by which norm weights may have fewer than SCALE_BITS, to fit int32
SCALE_BITS = 24  # norm weights, cosines, sines, 1 / sqrt(head width), log2(e), sigmoid
EXP_BITS = 30  # entries of the table of 2^-x
SHARE_BITS = 22  # exp(score - largest score)

MANTISSA_BITS = 15  # of a quantized row, beside the sign
LARGEST_MANTISSA = (1 << MANTISSA_BITS) - 1
INT32 = (1 << 31) - 1  # queries, keys, gate, up, normalised heads, scores, logits
LARGEST_RESIDUAL = (1 << 47) - 1  # 2^31 at RESIDUAL_BITS; also of its normalised rows: what quantizing takes
LARGEST_VALUE = (1 << 25) - 1  # attention values: 2^7 at INNER_BITS
LARGEST_EMBEDDING = 1 << 31  # of weights that are scaled: 128 at WEIGHT_BITS
LARGEST_ACT = (1 << 47) - 1  # 2^23 at ACT_BITS

LOG2_E = 24_204_406  # log2(e) at SCALE_BITS, rounded to nearest
GELU_LINEAR = 38_624_644  # 2 sqrt(2 / pi) log2(e) at SCALE_BITS, rounded to nearest
GELU_CUBIC = 1_727_101  # 0.044715 times that
LARGEST_GELU = 1 << 21  # 8 at INNER_BITS: from there on GELU(g) is g, or 0
EXP_STEPS = 256  # entries of the table for one halving

# What keeps every sum and product below 2^63; a model beyond these is refused when it is loaded.
MAX_WIDTH = 1 << 14  # of a normalised row
MAX_ROW_WEIGHT = 1 << 48  # sum of the magnitudes of a weight row, in units of 2^-24
MAX_HEAD_WIDTH = 1 << 10
MAX_CONTEXT = 1 << 16  # positions
MAX_EPSILON = 1 << 47  # of a norm, in units of 2^-(2 * fraction bits of the input + 18)
