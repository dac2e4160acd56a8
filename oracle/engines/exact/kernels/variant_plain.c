/* The plain C variant. The only one for weights whose integer scales do not fit int32. */
#include "keccak.h"
#include "quants.h"
#include "operators.h"

/* Sums of a half block in int32: 16 * 32767 * 128 < 2^31. Unsigned products wrap, and so they may: totals fit. */
INLINE void dot_blocks(int64_t kind, const Matrix *w, const uint8_t *group, const Rows *rows, int64_t first, int tokens,
                       uint64_t acc[TILE][GROUP]) {
    for (int64_t b = 0; b < w->columns / BLOCK; b++) {
        const uint8_t *p = block_start(kind, group, b), *d = scales_start(kind, group, b);
        int8_t buffer[BLOCK * GROUP];
        const int8_t *q = quants(kind, group, b, buffer);
        for (int t = 0; t < tokens; t++) {
            const int16_t *x = rows->x + (first + t) * rows->stride + b * BLOCK;
            int64_t all = rows->sums[(first + t) * (rows->stride / BLOCK) + b];
            for (int r = 0; r < GROUP; r++) {
                int32_t sum[2] = {0};
                for (int k = 0; k < BLOCK; k++) sum[k / 16] += q[(k / 2 * GROUP + r) * 2 + k % 2] * x[k];
                uint64_t scale = (uint64_t)half_integer(load16(d + 2 * r));
                uint64_t both = scale * (uint64_t)(int64_t)(sum[0] + sum[1]);
                if (kind == Q4_K) {
                    uint64_t min = (uint64_t)half_integer(load16(d + 2 * GROUP + 2 * r)) * p[GROUP + r];
                    both = both * p[r] - min * (uint64_t)all;
                }
                if (kind == Q6_K)
                    both = scale * (uint64_t)((int64_t)(int8_t)p[r] * sum[0] + (int64_t)(int8_t)p[GROUP + r] * sum[1]);
                acc[t][r] += both;
            }
        }
    }
}

static void dot(const Matrix *w, const uint8_t *group, const Rows *rows, int64_t first, int tokens,
                int64_t acc[TILE][GROUP]) {
    uint64_t sums[TILE][GROUP] = {{0}};
    switch (w->kind) {
    case Q8_0: dot_blocks(Q8_0, w, group, rows, first, tokens, sums); break;
    case Q4_0: dot_blocks(Q4_0, w, group, rows, first, tokens, sums); break;
    case Q4_K: dot_blocks(Q4_K, w, group, rows, first, tokens, sums); break;
    case Q6_K: dot_blocks(Q6_K, w, group, rows, first, tokens, sums); break;
    default:
        for (int64_t k = 0; k < w->columns; k++)
            for (int r = 0; r < GROUP; r++) {
                uint64_t weight = (uint64_t)half_integer(load16(group + (k * GROUP + r) * 2));
                for (int t = 0; t < tokens; t++)
                    sums[t][r] += weight * (uint64_t)(int64_t)rows->x[(first + t) * rows->stride + k];
            }
    }
    memcpy(acc, sums, sizeof sums);
}

const Variant plain_variant = {dot,  normalize, quantize, quantize_wide, quantize_head, gated,
                               dots, score,     share,    mix,           divide,        keccak8};
