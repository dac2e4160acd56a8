/* The plain C variant. The only one for weights whose integer scales do not fit int32. */
#include "keccak.h"
#include "quants.h"
#include "operators.h"

/* Sums of a half block in int32: 16 * 32767 * 128 < 2^31. Unsigned products wrap, and so they may: totals fit. */
INLINE void dot_blocks(int64_t kind, const Matrix *w, const uint8_t *group, const Rows *rows, int64_t first, int tokens,
                       uint64_t acc[TILE][GROUP]) {
    int scales = has_two(kind) ? 2 : 1, factors = bytes16(kind);
    for (int64_t b = 0; b < w->columns / BLOCK; b++) {
        const uint8_t *p = block_start(kind, group, b), *d = super_start(kind, group, b);
        int8_t buffer[BLOCK * GROUP];
        const int8_t *q = quants(kind, group, b, buffer);
        for (int t = 0; t < tokens; t++) {
            const int16_t *x = rows->x + (first + t) * rows->stride + b * BLOCK;
            const int32_t *all = rows->sums + (first + t) * (rows->stride / HALF) + 2 * b;
            for (int r = 0; r < GROUP; r++) {
                int32_t sum[2] = {0};
                for (int k = 0; k < BLOCK; k++) sum[k / HALF] += q[(k / 2 * GROUP + r) * 2 + k % 2] * x[k];
                uint64_t scale = (uint64_t)half_integer(load16(d + 2 * r));
                for (int half = 0; half < 2; half++) {
                    uint8_t small = factors ? p[half % scales * GROUP + r] : 1;
                    int64_t factor = signed_factors(kind) ? (int8_t)small : small;
                    acc[t][r] += scale * (uint64_t)factor * (uint64_t)(int64_t)sum[half];
                    if (!has_minimum(kind)) continue;
                    uint64_t least = (uint64_t)half_integer(load16(d + 2 * GROUP + 2 * r));
                    uint64_t times = factors ? -(uint64_t)p[(scales + half % scales) * GROUP + r] : 1;
                    acc[t][r] += least * times * (uint64_t)(int64_t)all[half];
                }
            }
        }
    }
}

INLINE void dot_floats(int64_t kind, const Matrix *w, const uint8_t *group, const Rows *rows, int64_t first, int tokens,
                       uint64_t acc[TILE][GROUP]) {
    for (int64_t k = 0; k < w->columns; k++)
        for (int r = 0; r < GROUP; r++) {
            const uint8_t *p = group + (k * GROUP + r) * (kind == F32 ? 4 : 2);
            int64_t weight = kind == F32   ? load32(p)
                             : kind == F16 ? half_integer(load16(p))
                                           : float_integer((uint32_t)load16(p) << 16, w->bits);
            for (int t = 0; t < tokens; t++)
                acc[t][r] += (uint64_t)weight * (uint64_t)(int64_t)rows->x[(first + t) * rows->stride + k];
        }
}

static void dot(const Matrix *w, const uint8_t *group, const Rows *rows, int64_t first, int tokens,
                int64_t acc[TILE][GROUP]) {
    uint64_t sums[TILE][GROUP] = {{0}};
    switch (w->kind) {
#define DOT(kind)                                                                                                     \
    case kind:                                                                                                        \
        if (is_float(kind))                                                                                           \
            dot_floats(kind, w, group, rows, first, tokens, sums);                                                    \
        else                                                                                                          \
            dot_blocks(kind, w, group, rows, first, tokens, sums);                                                    \
        break;
        EACH_KIND(DOT)
    }
    memcpy(acc, sums, sizeof sums);
}

const Variant plain_variant = {"plain", dot,  finish, normalize, quantize, quantize_wide, quantize_head, gated,
                               dots,    score, share,     mix,      divide,        keccak8};
