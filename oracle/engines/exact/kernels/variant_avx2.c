#include "kernels.h"
#if defined(X86_VARIANTS)
/* The AVX2 variant. */
#pragma GCC target("avx2,f16c,fma,bmi,bmi2,popcnt")
#include "keccak.h"
#include "quants.h"
#include "operators.h"

#include <immintrin.h>

/* acc[0] += even lanes of a * even lanes of scale, acc[1] the odd ones; all int32. */
INLINE void accumulate(__m256i acc[2], __m256i a, __m256i scale) {
    __m256i odd = _mm256_mul_epi32(_mm256_srli_epi64(a, 32), _mm256_srli_epi64(scale, 32));
    acc[0] = _mm256_add_epi64(acc[0], _mm256_mul_epi32(a, scale));
    acc[1] = _mm256_add_epi64(acc[1], odd);
}

/* Eight halves, each below 2^7, in units of 2^-24. */
INLINE __m256i halves256(const uint8_t *p) {
    __m256 v = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
    return _mm256_cvtps_epi32(_mm256_mul_ps(v, _mm256_set1_ps(16777216.0f)));
}

INLINE __m256i bytes256(const uint8_t *p, int is_signed) {
    __m128i v = _mm_loadl_epi64((const __m128i *)p);
    return is_signed ? _mm256_cvtepi8_epi32(v) : _mm256_cvtepu8_epi32(v);
}

/* A block's factors times its scale. */
INLINE __m256i factor256(int64_t kind, __m256i scale, const uint8_t *p) {
    return bytes16(kind) ? _mm256_mullo_epi32(scale, bytes256(p, signed_factors(kind))) : scale;
}

/* Eight weights of a column of floats, rounded to `bits` fraction bits. unit: 2^bits. */
INLINE __m256i floats256(int64_t kind, const uint8_t *column, float unit) {
    if (kind == F32) return _mm256_loadu_si256((const __m256i *)column);
    if (kind == F16) return halves256(column);
    __m256i wide = _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)column)), 16);
    /* Eight bits of BF16 and the half fit a float's 24, or the half does not matter. */
    __m256 v = _mm256_add_ps(_mm256_mul_ps(_mm256_castsi256_ps(wide), _mm256_set1_ps(unit)), _mm256_set1_ps(0.5f));
    return _mm256_cvtps_epi32(_mm256_floor_ps(v));
}

INLINE __m256i pair256(const int16_t *p) {
    int32_t v;
    memcpy(&v, p, 4);
    return _mm256_set1_epi32(v);
}

/* Rows 8 * half, ..., 8 * half + 7 of a group. Sums of a block in int32: 32 * 32767 * 128 < 2^31. */
INLINE void dot256(int64_t kind, int tokens, int half, const Matrix *w, const uint8_t *group, const Rows *rows,
                   int64_t first, int64_t out[TILE][GROUP]) {
    int64_t stride = rows->stride;
    const int16_t *x = rows->x + first * stride;
    __m256i acc[4][2];
    for (int t = 0; t < tokens; t++) acc[t][0] = acc[t][1] = _mm256_setzero_si256();
    float unit = (float)((int64_t)1 << w->bits);
    for (int64_t k = 0; is_float(kind) && k < w->columns; k++) {
        __m256i weight = floats256(kind, group + (k * GROUP + 8 * half) * (kind == F32 ? 4 : 2), unit);
        for (int t = 0; t < tokens; t++) accumulate(acc[t], _mm256_set1_epi32(x[t * stride + k]), weight);
    }
    for (int64_t b = 0; !is_float(kind) && b < w->columns / BLOCK; b++) {
        const uint8_t *p = block_start(kind, group, b) + 8 * half, *d = super_start(kind, group, b) + 16 * half;
        int8_t buffer[BLOCK * GROUP];
        const int8_t *q = quants(kind, group, b, buffer) + 16 * half;
        __m256i plain = halves256(d), sum[4];
        __m256i scale = factor256(kind, plain, p), second = has_two(kind) ? factor256(kind, plain, p + GROUP) : scale;
        for (int t = 0; t < tokens; t++) sum[t] = _mm256_setzero_si256();
#pragma GCC unroll 16
        for (int i = 0; i < BLOCK / 2; i++) {
            if (has_two(kind) && i == 8)
                for (int t = 0; t < tokens; t++) {
                    accumulate(acc[t], sum[t], scale);
                    sum[t] = _mm256_setzero_si256();
                }
            __m256i weight = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(q + i * 32)));
#pragma GCC unroll 4
            for (int t = 0; t < tokens; t++)
                sum[t] = _mm256_add_epi32(
                    sum[t], _mm256_madd_epi16(weight, pair256(x + t * stride + b * BLOCK + i * 2)));
        }
        for (int t = 0; t < tokens; t++) accumulate(acc[t], sum[t], second);
        if (!has_minimum(kind)) continue;
        const int32_t *all = rows->sums + first * (stride / HALF) + 2 * b;
        __m256i least = halves256(d + 2 * GROUP);
        if (bytes16(kind)) least = _mm256_sub_epi32(_mm256_setzero_si256(), least);
        if (has_two(kind)) {
            __m256i low = factor256(kind, least, p + 2 * GROUP), high = factor256(kind, least, p + 3 * GROUP);
            for (int t = 0; t < tokens; t++) {
                accumulate(acc[t], _mm256_set1_epi32(all[t * (stride / HALF)]), low);
                accumulate(acc[t], _mm256_set1_epi32(all[t * (stride / HALF) + 1]), high);
            }
        } else {
            __m256i min = factor256(kind, least, p + GROUP);
            for (int t = 0; t < tokens; t++)
                accumulate(acc[t], _mm256_set1_epi32(all[t * (stride / HALF)] + all[t * (stride / HALF) + 1]), min);
        }
    }
    for (int t = 0; t < tokens; t++)
        for (int i = 0; i < 2; i++) {
            int64_t lanes[4];
            _mm256_storeu_si256((__m256i *)lanes, acc[t][i]);
            for (int j = 0; j < 4; j++) out[t][8 * half + j * 2 + i] = lanes[j];
        }
}

#define EACH(kind)                                                                                                    \
    case kind:                                                                                                        \
        for (int half = 0; half < 2; half++)                                                                          \
            for (int t = 0; t < tokens;)                                                                              \
                if (tokens - t >= 4) {                                                                                \
                    dot256(kind, 4, half, w, group, rows, first + t, acc + t);                                        \
                    t += 4;                                                                                           \
                } else {                                                                                              \
                    dot256(kind, 1, half, w, group, rows, first + t, acc + t);                                        \
                    t++;                                                                                              \
                }                                                                                                     \
        return;

static void dot(const Matrix *w, const uint8_t *group, const Rows *rows, int64_t first, int tokens,
                int64_t acc[TILE][GROUP]) {
    switch (w->kind) { EACH_KIND(EACH) }
}

#define QUERIES 4

INLINE void mix_of(int queries, const int32_t *e, int64_t e_stride, const int32_t *v, int64_t width, int64_t count,
                   int64_t *out) {
    for (int64_t w = 0; w < width; w += 8) {
        __m256i sum[QUERIES][2];
        for (int q = 0; q < queries; q++) sum[q][0] = sum[q][1] = _mm256_setzero_si256();
        for (int64_t j = 0; j < count; j++) {
            __m256i value = _mm256_loadu_si256((const __m256i *)(v + j * width + w));
            for (int q = 0; q < queries; q++) accumulate(sum[q], value, _mm256_set1_epi32(e[q * e_stride + j]));
        }
        for (int q = 0; q < queries; q++)
            for (int i = 0; i < 2; i++) {
                int64_t lanes[4];
                _mm256_storeu_si256((__m256i *)lanes, sum[q][i]);
                for (int j = 0; j < 4; j++) out[q * width + w + j * 2 + i] = lanes[j];
            }
    }
}

static void mix256(const int32_t *e, int64_t e_stride, int64_t queries, const int32_t *v, int64_t width, int64_t count,
                   int64_t *out) {
    int64_t q = 0;
    for (; q + 4 <= queries; q += 4) mix_of(4, e + q * e_stride, e_stride, v, width, count, out + q * width);
    for (; q < queries; q++) mix_of(1, e + q * e_stride, e_stride, v, width, count, out + q * width);
}

const Variant avx2_variant = {"avx2", dot,   finish, normalize, quantize, quantize_wide, quantize_head, gated,
                              dots,   score, share,     mix256,   divide,        keccak8};
#endif
