#include "kernels.h"
#if defined(VECTOR_VARIANTS)
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
    for (int64_t k = 0; kind == F16 && k < w->columns; k++) {
        __m256i weight = halves256(group + (k * GROUP + 8 * half) * 2);
        for (int t = 0; t < tokens; t++) accumulate(acc[t], _mm256_set1_epi32(x[t * stride + k]), weight);
    }
    for (int64_t b = 0; kind != F16 && b < w->columns / BLOCK; b++) {
        const uint8_t *p = block_start(kind, group, b) + 8 * half, *d = scales_start(kind, group, b) + 16 * half;
        int8_t buffer[BLOCK * GROUP];
        const int8_t *q = quants(kind, group, b, buffer) + 16 * half;
        __m256i scale = halves256(d), second = scale, sum[4];
        if (kind == Q4_K) scale = _mm256_mullo_epi32(scale, bytes256(p, 0));
        if (kind == Q6_K) {
            second = _mm256_mullo_epi32(scale, bytes256(p + GROUP, 1));
            scale = _mm256_mullo_epi32(scale, bytes256(p, 1));
        }
        for (int t = 0; t < tokens; t++) sum[t] = _mm256_setzero_si256();
#pragma GCC unroll 16
        for (int i = 0; i < BLOCK / 2; i++) {
            if (kind == Q6_K && i == 8)
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
        for (int t = 0; t < tokens; t++) accumulate(acc[t], sum[t], kind == Q6_K ? second : scale);
        if (kind == Q4_K) {
            __m256i min = _mm256_mullo_epi32(halves256(d + 2 * GROUP), bytes256(p + GROUP, 0));
            min = _mm256_sub_epi32(_mm256_setzero_si256(), min);
            for (int t = 0; t < tokens; t++)
                accumulate(acc[t], _mm256_set1_epi32(rows->sums[(first + t) * (stride / BLOCK) + b]), min);
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
    switch (w->kind) { EACH(F16) EACH(Q4_0) EACH(Q8_0) EACH(Q4_K) EACH(Q6_K) }
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

const Variant avx2_variant = {dot,  normalize, quantize, quantize_wide, quantize_head, gated,
                              dots, score,     share,    mix256,        divide,        keccak8};
#endif
