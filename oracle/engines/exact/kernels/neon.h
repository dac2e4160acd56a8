/* The operators for ARM's vectors of 128 bits with 8-bit dot products; `HAS_I8MM`: with 8-bit matrix products, too.
 *
 * There is no product of 16-bit pairs as on x86, so a mantissa is cut into bytes, x = 256 h + l, and a weight times
 * each is added up in int32. h is signed and l is not; without products of signed and unsigned bytes l - 128 is
 * multiplied instead, and 128 times the sum of the weights is added.
 */
#ifndef DIDYMA_NEON_H
#define DIDYMA_NEON_H

#include "keccak.h"
#include "operators.h"
#include "quants.h"

#include <arm_neon.h>

#define VECTORS (GROUP / 4)    /* of four rows */
#define QUADS (BLOCK / 4)      /* of columns in a block */
#define PARTS (BLOCK / HALF)   /* of a block that may have a scale of their own */

/* acc += a * scale, four lanes each. */
INLINE void accumulate(int64x2_t acc[2], int32x4_t a, int32x4_t scale) {
    acc[0] = vmlal_s32(acc[0], vget_low_s32(a), vget_low_s32(scale));
    acc[1] = vmlal_high_s32(acc[1], a, scale);
}

INLINE uint16x4_t four16(const uint8_t *p) { return vreinterpret_u16_u8(vld1_u8(p)); }

/* Four halves, each below 2^7, in units of 2^-24. */
INLINE int32x4_t halves(const uint8_t *p) {
    return vcvtq_s32_f32(vmulq_n_f32(vcvt_f32_f16(vreinterpret_f16_u16(four16(p))), 16777216.0f));
}

/* A block's factors times its scales, for rows 4v, ..., 4v + 3. p: of row 0. */
INLINE int32x4_t factor(int64_t kind, int32x4_t scale, const uint8_t *p, int v) {
    int32_t f[4];
    if (!bytes16(kind)) return scale;
    for (int i = 0; i < 4; i++) f[i] = signed_factors(kind) ? (int8_t)p[4 * v + i] : p[4 * v + i];
    return vmulq_s32(scale, vld1q_s32(f));
}

/* Four weights of a column of floats, rounded to `bits` fraction bits. unit: 2^bits. */
INLINE int32x4_t floats(int64_t kind, const uint8_t *column, float unit) {
    if (kind == F32) return vreinterpretq_s32_u8(vld1q_u8(column));
    if (kind == F16) return halves(column);
    float32x4_t v = vreinterpretq_f32_u32(vshll_n_u16(four16(column), 16));
    /* Eight bits of BF16 and the half fit a float's 24, or the half does not matter. */
    return vcvtmq_s32_f32(vaddq_f32(vmulq_n_f32(v, unit), vdupq_n_f32(0.5f)));
}

/* A block's weights, [columns 4g, ..., 4g + 3][rows 4v, ..., 4v + 3][4]. */
INLINE void by_four(const int8_t *q, int8x16_t weight[QUADS][VECTORS]) {
    for (int g = 0; g < QUADS; g++)
        for (int h = 0; h < VECTORS / 2; h++) {
            int16x8_t a = vreinterpretq_s16_s8(vld1q_s8(q + g * 4 * GROUP + h * 16));
            int16x8_t b = vreinterpretq_s16_s8(vld1q_s8(q + g * 4 * GROUP + 2 * GROUP + h * 16));
            weight[g][2 * h] = vreinterpretq_s8_s16(vzip1q_s16(a, b));
            weight[g][2 * h + 1] = vreinterpretq_s8_s16(vzip2q_s16(a, b));
        }
}

/* The bytes of a block of one token's mantissas. */
INLINE void split(const int16_t *x, int8_t high[BLOCK], uint8_t low[BLOCK]) {
    for (int i = 0; i < BLOCK; i += 16) {
        uint8x16_t a = vreinterpretq_u8_s16(vld1q_s16(x + i)), b = vreinterpretq_u8_s16(vld1q_s16(x + i + 8));
        vst1q_u8(low + i, vuzp1q_u8(a, b));
        vst1q_s8(high + i, vreinterpretq_s8_u8(vuzp2q_u8(a, b)));
    }
}

INLINE int8x16_t four_bytes(const void *p) { return vreinterpretq_s8_s32(vld1q_dup_s32(p)); }

#if defined(HAS_I8MM)
INLINE int32x4_t dot_low(int32x4_t sum, int8x16_t weight, const uint8_t *low) {
    return vusdotq_s32(sum, vreinterpretq_u8_s8(four_bytes(low)), weight);
}
#else
INLINE int32x4_t dot_low(int32x4_t sum, int8x16_t weight, const uint8_t *low) {
    return vdotq_s32(sum, weight, veorq_s8(four_bytes(low), vdupq_n_s8(-128)));
}
#endif

/* sum[t][part][v] = products of a block's part with tokens t, for rows 4v, ..., 4v + 3. |sum| < 32 * 2^15 * 2^7 = 2^27. */
INLINE void dot_tokens(int tokens, int8x16_t weight[QUADS][VECTORS], int32x4_t extra[PARTS][VECTORS], const int16_t *x,
                       int64_t stride, int32x4_t sum[][PARTS][VECTORS]) {
    int8_t high[2][BLOCK] __attribute__((aligned(16)));
    uint8_t low[2][BLOCK] __attribute__((aligned(16)));
    for (int t = 0; t < tokens; t++) split(x + t * stride, high[t], low[t]);
    for (int part = 0; part < PARTS; part++) {
        int32x4_t h[2][VECTORS], l[2][VECTORS];
#pragma GCC unroll 8
        for (int i = 0; i < tokens * VECTORS; i++) {
            h[i / VECTORS][i % VECTORS] = vdupq_n_s32(0);
            l[i / VECTORS][i % VECTORS] = extra[part][i % VECTORS];
        }
#pragma GCC unroll 4
        for (int g = part * QUADS / PARTS; g < (part + 1) * QUADS / PARTS; g++)
#pragma GCC unroll 2
            for (int t = 0; t < tokens; t++)
#pragma GCC unroll 4
                for (int v = 0; v < VECTORS; v++) {
                    h[t][v] = vdotq_s32(h[t][v], weight[g][v], four_bytes(high[t] + 4 * g));
                    l[t][v] = dot_low(l[t][v], weight[g][v], low[t] + 4 * g);
                }
#pragma GCC unroll 8
        for (int i = 0; i < tokens * VECTORS; i++)
            sum[i / VECTORS][part][i % VECTORS] =
                vaddq_s32(vshlq_n_s32(h[i / VECTORS][i % VECTORS], 8), l[i / VECTORS][i % VECTORS]);
    }
}

#if defined(HAS_I8MM)
/* The same for two tokens by matrix products. pairs: [columns 8c, ...][rows 2r, 2r + 1][8]. */
INLINE void multiply_two(int8x16_t pairs[QUADS / 2][2 * VECTORS], const int16_t *x, int64_t stride,
                         int32x4_t sum[][PARTS][VECTORS]) {
    int8_t high[2][BLOCK] __attribute__((aligned(16)));
    uint8_t low[2][BLOCK] __attribute__((aligned(16)));
    for (int t = 0; t < 2; t++) split(x + t * stride, high[t], low[t]);
    for (int part = 0; part < PARTS; part++) {
        int32x4_t h[2 * VECTORS], l[2 * VECTORS]; /* [token][row] of two and two */
#pragma GCC unroll 8
        for (int r = 0; r < 2 * VECTORS; r++) h[r] = l[r] = vdupq_n_s32(0);
#pragma GCC unroll 2
        for (int c = part * QUADS / 2 / PARTS; c < (part + 1) * QUADS / 2 / PARTS; c++) {
            int8x16_t a = vcombine_s8(vld1_s8(high[0] + 8 * c), vld1_s8(high[1] + 8 * c));
            uint8x16_t b = vcombine_u8(vld1_u8(low[0] + 8 * c), vld1_u8(low[1] + 8 * c));
#pragma GCC unroll 8
            for (int r = 0; r < 2 * VECTORS; r++) {
                h[r] = vmmlaq_s32(h[r], a, pairs[c][r]);
                l[r] = vusmmlaq_s32(l[r], b, pairs[c][r]);
            }
        }
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; v++) {
            int32x4_t first = vaddq_s32(vshlq_n_s32(h[2 * v], 8), l[2 * v]);
            int32x4_t second = vaddq_s32(vshlq_n_s32(h[2 * v + 1], 8), l[2 * v + 1]);
            sum[0][part][v] = vcombine_s32(vget_low_s32(first), vget_low_s32(second));
            sum[1][part][v] = vcombine_s32(vget_high_s32(first), vget_high_s32(second));
        }
    }
}
#endif

/* Sums of a block in int32: 32 * 32767 * 128 < 2^31. */
INLINE void dot_blocks(int64_t kind, const Matrix *w, const uint8_t *group, const Rows *rows, int64_t first, int tokens,
                       int64x2_t acc[TILE][VECTORS][2]) {
    int64_t stride = rows->stride;
    for (int64_t b = 0; b < w->columns / BLOCK; b++) {
        const uint8_t *p = block_start(kind, group, b), *d = super_start(kind, group, b);
        const int16_t *x = rows->x + first * stride + b * BLOCK;
        int8_t buffer[BLOCK * GROUP];
        int8x16_t weight[QUADS][VECTORS];
        int32x4_t sum[TILE][PARTS][VECTORS];
        by_four(quants(kind, group, b, buffer), weight);
        int t = 0;
#if defined(HAS_I8MM)
        int32x4_t extra[PARTS][VECTORS] = {0};
        if (tokens > 1) {
            int8x16_t pairs[QUADS / 2][2 * VECTORS];
            for (int c = 0; c < QUADS / 2; c++)
                for (int v = 0; v < VECTORS; v++) {
                    int32x4_t left = vreinterpretq_s32_s8(weight[2 * c][v]);
                    int32x4_t right = vreinterpretq_s32_s8(weight[2 * c + 1][v]);
                    pairs[c][2 * v] = vreinterpretq_s8_s32(vzip1q_s32(left, right));
                    pairs[c][2 * v + 1] = vreinterpretq_s8_s32(vzip2q_s32(left, right));
                }
            for (; t + 2 <= tokens; t += 2) multiply_two(pairs, x + t * stride, stride, sum + t);
        }
#else
        int32x4_t extra[PARTS][VECTORS];
        for (int part = 0; part < PARTS; part++)
            for (int v = 0; v < VECTORS; v++) {
                int32x4_t all = vdupq_n_s32(0);
                for (int g = part * QUADS / PARTS; g < (part + 1) * QUADS / PARTS; g++)
                    all = vdotq_s32(all, weight[g][v], vdupq_n_s8(1));
                extra[part][v] = vshlq_n_s32(all, 7);
            }
        for (; t + 2 <= tokens; t += 2) dot_tokens(2, weight, extra, x + t * stride, stride, sum + t);
#endif
        for (; t < tokens; t++) dot_tokens(1, weight, extra, x + t * stride, stride, sum + t);
        const int32_t *all = rows->sums + first * (stride / HALF) + PARTS * b;
        for (int v = 0; v < VECTORS; v++) {
            int32x4_t plain = halves(d + 8 * v), scale = factor(kind, plain, p, v);
            int32x4_t second = has_two(kind) ? factor(kind, plain, p + GROUP, v) : scale;
            for (t = 0; t < tokens; t++)
                if (has_two(kind)) {
                    accumulate(acc[t][v], sum[t][0][v], scale);
                    accumulate(acc[t][v], sum[t][1][v], second);
                } else
                    accumulate(acc[t][v], vaddq_s32(sum[t][0][v], sum[t][1][v]), scale);
            if (!has_minimum(kind)) continue;
            int32x4_t least = halves(d + 2 * GROUP + 8 * v);
            if (bytes16(kind)) least = vnegq_s32(least);
            const uint8_t *factors = p + (has_two(kind) ? 2 : 1) * GROUP;
            int32x4_t low = factor(kind, least, factors, v);
            int32x4_t high = has_two(kind) ? factor(kind, least, factors + GROUP, v) : low;
            for (t = 0; t < tokens; t++) {
                accumulate(acc[t][v], vdupq_n_s32(all[t * (stride / HALF)]), low);
                accumulate(acc[t][v], vdupq_n_s32(all[t * (stride / HALF) + 1]), high);
            }
        }
    }
}

INLINE void dot_floats(int64_t kind, const Matrix *w, const uint8_t *group, const Rows *rows, int64_t first, int tokens,
                       int64x2_t acc[TILE][VECTORS][2]) {
    float unit = (float)((int64_t)1 << w->bits);
    int size = kind == F32 ? 4 : 2;
    for (int64_t k = 0; k < w->columns; k++)
        for (int v = 0; v < VECTORS; v++) {
            int32x4_t weight = floats(kind, group + (k * GROUP + 4 * v) * size, unit);
            for (int t = 0; t < tokens; t++)
                accumulate(acc[t][v], vdupq_n_s32(rows->x[(first + t) * rows->stride + k]), weight);
        }
}

static void dot_neon(const Matrix *w, const uint8_t *group, const Rows *rows, int64_t first, int tokens,
                     int64_t out[TILE][GROUP]) {
    int64x2_t acc[TILE][VECTORS][2];
    memset(acc, 0, sizeof acc);
    switch (w->kind) {
#define DOT(kind)                                                                                                     \
    case kind:                                                                                                        \
        if (is_float(kind))                                                                                           \
            dot_floats(kind, w, group, rows, first, tokens, acc);                                                     \
        else                                                                                                          \
            dot_blocks(kind, w, group, rows, first, tokens, acc);                                                     \
        break;
        EACH_KIND(DOT)
    }
    memcpy(out, acc, sizeof(int64_t[GROUP]) * (size_t)tokens);
}

/* |query * key| <= 2^30, so two of them fit int64 lanes only: products are widened pair by pair. */
static void dots_neon(const int16_t *high, const int16_t *low, int64_t queries, int64_t pairs, const int16_t *keys,
                      int64_t *out, int64_t stride) {
    for (int64_t q = 0; q < queries; q++) {
        int64x2_t sum[GROUP / 2];
#pragma GCC unroll 8
        for (int i = 0; i < GROUP / 2; i++) sum[i] = vdupq_n_s64(0);
        for (int64_t p = 0; p < pairs; p++) {
            const int16_t *h = high + (q * pairs + p) * 2, *l = low + (q * pairs + p) * 2;
            int16_t pair[2] = {(int16_t)(h[0] * 256 + l[0]), (int16_t)(h[1] * 256 + l[1])};
            int32_t both;
            memcpy(&both, pair, 4);
            int16x8_t query = vreinterpretq_s16_s32(vdupq_n_s32(both));
#pragma GCC unroll 4
            for (int i = 0; i < GROUP / 4; i++) {
                int16x8_t key = vld1q_s16(keys + p * 2 * GROUP + 8 * i);
                sum[2 * i] = vpadalq_s32(sum[2 * i], vmull_s16(vget_low_s16(key), vget_low_s16(query)));
                sum[2 * i + 1] = vpadalq_s32(sum[2 * i + 1], vmull_high_s16(key, query));
            }
        }
        for (int i = 0; i < GROUP / 2; i++) vst1q_s64(out + q * stride + 2 * i, sum[i]);
    }
}

INLINE void mix_of(int queries, const int32_t *e, int64_t e_stride, const int32_t *v, int64_t width, int64_t count,
                   int64_t *out) {
    for (int64_t w = 0; w < width; w += 8) {
        int64x2_t sum[4][4];
        for (int q = 0; q < queries; q++)
            for (int i = 0; i < 4; i++) sum[q][i] = vdupq_n_s64(0);
        for (int64_t j = 0; j < count; j++) {
            int32x4_t left = vld1q_s32(v + j * width + w), right = vld1q_s32(v + j * width + w + 4);
            for (int q = 0; q < queries; q++) {
                int32x4_t share = vdupq_n_s32(e[q * e_stride + j]);
                accumulate(sum[q], left, share);
                accumulate(sum[q] + 2, right, share);
            }
        }
        for (int q = 0; q < queries; q++)
            for (int i = 0; i < 4; i++) vst1q_s64(out + q * width + w + 2 * i, sum[q][i]);
    }
}

static void mix_neon(const int32_t *e, int64_t e_stride, int64_t queries, const int32_t *v, int64_t width, int64_t count,
                     int64_t *out) {
    int64_t q = 0;
    for (; q + 4 <= queries; q += 4) mix_of(4, e + q * e_stride, e_stride, v, width, count, out + q * width);
    for (; q < queries; q++) mix_of(1, e + q * e_stride, e_stride, v, width, count, out + q * width);
}

#define NEON_VARIANT(name)                                                                                            \
    {name,      dot_neon, finish, normalize, quantize, quantize_wide, quantize_head, gated,                                   \
     dots_neon, score,    share,     mix_neon, divide,        keccak8}

#endif
