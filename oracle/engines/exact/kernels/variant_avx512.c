#include "kernels.h"
#if defined(X86_VARIANTS)
/* The AVX-512 VNNI variant. */
#pragma GCC target("avx2,f16c,fma,bmi,bmi2,lzcnt,popcnt,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")
#include "keccak.h"
#include "quants.h"
#include "operators.h"

#include <immintrin.h>

#define QUERIES 4
#define AHEAD 4096 /* bytes to prefetch ahead of a single token's multiplication, measured on Zen 4 */

/* acc[0] += even lanes of a * even lanes of scale, acc[1] the odd ones; all int32. */
INLINE void accumulate(__m512i acc[2], __m512i a, __m512i scale) {
    __m512i odd = _mm512_mul_epi32(_mm512_srli_epi64(a, 32), _mm512_srli_epi64(scale, 32));
    acc[0] = _mm512_add_epi64(acc[0], _mm512_mul_epi32(a, scale));
    acc[1] = _mm512_add_epi64(acc[1], odd);
}

/* Sixteen halves, each below 2^7, in units of 2^-24. */
INLINE __m512i halves512(const uint8_t *p) {
    __m512 v = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
    return _mm512_cvtps_epi32(_mm512_mul_ps(v, _mm512_set1_ps(16777216.0f)));
}

INLINE __m512i bytes512(const uint8_t *p, int is_signed) {
    __m128i v = _mm_loadu_si128((const __m128i *)p);
    return is_signed ? _mm512_cvtepi8_epi32(v) : _mm512_cvtepu8_epi32(v);
}

/* A block's factors times its scale. */
INLINE __m512i factor512(int64_t kind, __m512i scale, const uint8_t *p) {
    return bytes16(kind) ? _mm512_mullo_epi32(scale, bytes512(p, signed_factors(kind))) : scale;
}

/* Sixteen weights of a column of floats, rounded to `bits` fraction bits. unit: 2^bits. */
INLINE __m512i floats512(int64_t kind, const uint8_t *column, float unit) {
    if (kind == F32) return _mm512_loadu_si512(column);
    if (kind == F16) return halves512(column);
    __m512i wide = _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)column)), 16);
    /* Eight bits of BF16 and the half fit a float's 24, or the half does not matter. */
    __m512 v = _mm512_add_ps(_mm512_mul_ps(_mm512_castsi512_ps(wide), _mm512_set1_ps(unit)), _mm512_set1_ps(0.5f));
    return _mm512_cvtps_epi32(_mm512_roundscale_ps(v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC));
}

INLINE __m512i pair512(const int16_t *p) {
    int32_t v;
    memcpy(&v, p, 4);
    return _mm512_set1_epi32(v);
}

/* Even and odd lanes of sums, in order. */
INLINE void store512(int tokens, __m512i acc[TILE][2], int64_t out[TILE][GROUP]) {
    const __m512i low = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11), high = _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15);
    for (int t = 0; t < tokens; t++) {
        _mm512_storeu_si512(out[t], _mm512_permutex2var_epi64(acc[t][0], low, acc[t][1]));
        _mm512_storeu_si512(out[t] + 8, _mm512_permutex2var_epi64(acc[t][0], high, acc[t][1]));
    }
}

/* Sums of a block in int32: 32 * 32767 * 128 < 2^31. */
INLINE void dot512(int64_t kind, int tokens, const Matrix *w, const uint8_t *group, const Rows *rows, int64_t first,
                   int64_t out[TILE][GROUP]) {
    int64_t stride = rows->stride;
    const int16_t *x = rows->x + first * stride;
    __m512i acc[TILE][2];
    for (int t = 0; t < tokens; t++) acc[t][0] = acc[t][1] = _mm512_setzero_si512();
    float unit = (float)((int64_t)1 << w->bits);
    for (int64_t k = 0; is_float(kind) && k < w->columns; k++) {
        __m512i weight = floats512(kind, group + k * GROUP * (kind == F32 ? 4 : 2), unit);
        for (int t = 0; t < tokens; t++) accumulate(acc[t], _mm512_set1_epi32(x[t * stride + k]), weight);
    }
    for (int64_t b = 0; !is_float(kind) && b < w->columns / BLOCK; b++) {
        const uint8_t *p = block_start(kind, group, b), *d = super_start(kind, group, b);
        int8_t buffer[BLOCK * GROUP];
        const int8_t *q = quants(kind, group, b, buffer);
        __m512i plain = halves512(d), sum[TILE];
        __m512i scale = factor512(kind, plain, p), second = has_two(kind) ? factor512(kind, plain, p + GROUP) : scale;
        for (int t = 0; t < tokens; t++) sum[t] = _mm512_setzero_si512();
#pragma GCC unroll 16
        for (int i = 0; i < BLOCK / 2; i++) {
            if (first == 0 && i % 2 == 0) _mm_prefetch(p + AHEAD + i * 32, _MM_HINT_T0);
            if (has_two(kind) && i == 8)
                for (int t = 0; t < tokens; t++) {
                    accumulate(acc[t], sum[t], scale);
                    sum[t] = _mm512_setzero_si512();
                }
            __m512i weight = _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(q + i * 32)));
#pragma GCC unroll 8
            for (int t = 0; t < tokens; t++)
                sum[t] = _mm512_dpwssd_epi32(sum[t], weight, pair512(x + t * stride + b * BLOCK + i * 2));
        }
        for (int t = 0; t < tokens; t++) accumulate(acc[t], sum[t], second);
        if (!has_minimum(kind)) continue;
        const int32_t *all = rows->sums + first * (stride / HALF) + 2 * b;
        __m512i least = halves512(d + 2 * GROUP);
        if (bytes16(kind)) least = _mm512_sub_epi32(_mm512_setzero_si512(), least);
        if (has_two(kind)) {
            __m512i low = factor512(kind, least, p + 2 * GROUP), high = factor512(kind, least, p + 3 * GROUP);
            for (int t = 0; t < tokens; t++) {
                accumulate(acc[t], _mm512_set1_epi32(all[t * (stride / HALF)]), low);
                accumulate(acc[t], _mm512_set1_epi32(all[t * (stride / HALF) + 1]), high);
            }
        } else {
            __m512i min = factor512(kind, least, p + GROUP);
            for (int t = 0; t < tokens; t++)
                accumulate(acc[t], _mm512_set1_epi32(all[t * (stride / HALF)] + all[t * (stride / HALF) + 1]), min);
        }
    }
    store512(tokens, acc, out);
}

/* An unpacked block: int8 quants in their order; then int32[16] each: its scales, one or two, and as many minima. */
INLINE int64_t unpacked_block(int64_t kind) {
    return BLOCK * GROUP + 4 * GROUP * (1 + has_two(kind)) * (1 + has_minimum(kind));
}

static int64_t unpacked_bytes(const Matrix *w) {
    return is_float(w->kind) || w->kind == Q8_0 ? 0 : w->columns / BLOCK * unpacked_block(w->kind);
}

INLINE void unpack_blocks(int64_t kind, const Matrix *w, const uint8_t *group, uint8_t *out) {
    for (int64_t b = 0; b < w->columns / BLOCK; b++, out += unpacked_block(kind)) {
        const uint8_t *p = block_start(kind, group, b), *d = super_start(kind, group, b);
        uint8_t *numbers = out + BLOCK * GROUP;
        quants(kind, group, b, (int8_t *)out);
        __m512i scale = halves512(d), least = _mm512_setzero_si512();
        if (has_minimum(kind)) least = halves512(d + 2 * GROUP);
        if (bytes16(kind)) least = _mm512_sub_epi32(_mm512_setzero_si512(), least);
        for (int i = 0; i <= has_two(kind); i++, p += GROUP, numbers += 4 * GROUP)
            _mm512_storeu_si512(numbers, factor512(kind, scale, p));
        for (int i = 0; i <= has_two(kind) && has_minimum(kind); i++, p += GROUP, numbers += 4 * GROUP)
            _mm512_storeu_si512(numbers, factor512(kind, least, p));
    }
}

#define UNPACK(kind)                                                                                                  \
    case kind:                                                                                                        \
        unpack_blocks(kind, w, group, unpacked);                                                                      \
        return;

static void unpack512(const Matrix *w, const uint8_t *group, uint8_t *unpacked) {
    switch (w->kind) { EACH_KIND(UNPACK) }
}

/* `dot512` of unpacked blocks and TILE tokens. two: scales a block; minimum: whether there are minima. */
INLINE void dot_of(int two, int minimum, int64_t blocks, const uint8_t *q, const Rows *rows, int64_t first,
                   int64_t out[TILE][GROUP]) {
    int64_t stride = rows->stride;
    const int16_t *x = rows->x + first * stride;
    const int32_t *all = rows->sums + first * (stride / HALF);
    __m512i acc[TILE][2];
    for (int t = 0; t < TILE; t++) acc[t][0] = acc[t][1] = _mm512_setzero_si512();
    for (int64_t b = 0; b < blocks; b++, q += BLOCK * GROUP + 4 * GROUP * (1 + two) * (1 + minimum), all += 2) {
        const int32_t *numbers = (const int32_t *)(q + BLOCK * GROUP);
        __m512i sum[TILE];
        for (int t = 0; t < TILE; t++) sum[t] = _mm512_setzero_si512();
#pragma GCC unroll 16
        for (int i = 0; i < BLOCK / 2; i++) {
            if (two && i == 8)
                for (int t = 0; t < TILE; t++) {
                    accumulate(acc[t], sum[t], _mm512_loadu_si512(numbers));
                    sum[t] = _mm512_setzero_si512();
                }
            __m512i weight = _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(q + i * 32)));
#pragma GCC unroll 8
            for (int t = 0; t < TILE; t++)
                sum[t] = _mm512_dpwssd_epi32(sum[t], weight, pair512(x + t * stride + b * BLOCK + i * 2));
        }
        for (int t = 0; t < TILE; t++) accumulate(acc[t], sum[t], _mm512_loadu_si512(numbers + two * GROUP));
        for (int i = 0; i <= two && minimum; i++) {
            __m512i least = _mm512_loadu_si512(numbers + (1 + two + i) * GROUP), odd = _mm512_srli_epi64(least, 32);
            for (int t = 0; t < TILE; t++) {
                const int32_t *some = all + t * (stride / HALF);
                __m512i sums = _mm512_set1_epi32(two ? some[i] : some[0] + some[1]);
                acc[t][0] = _mm512_add_epi64(acc[t][0], _mm512_mul_epi32(sums, least));
                acc[t][1] = _mm512_add_epi64(acc[t][1], _mm512_mul_epi32(sums, odd));
            }
        }
    }
    store512(TILE, acc, out);
}

static void dot_unpacked(const Matrix *w, const uint8_t *unpacked, const Rows *rows, int64_t first,
                         int64_t acc[TILE][GROUP]) {
    int64_t blocks = w->columns / BLOCK;
    if (has_two(w->kind) && has_minimum(w->kind))
        dot_of(1, 1, blocks, unpacked, rows, first, acc);
    else if (has_two(w->kind))
        dot_of(1, 0, blocks, unpacked, rows, first, acc);
    else if (has_minimum(w->kind))
        dot_of(0, 1, blocks, unpacked, rows, first, acc);
    else
        dot_of(0, 0, blocks, unpacked, rows, first, acc);
}

static const Unpacked unpacked = {unpacked_bytes, unpack512, dot_unpacked};

/* Types that most files have. Each number of tokens is code of its own, which takes seconds to compile; where there is
 * none for a number, more are multiplied, and what comes of those is of no use. */
INLINE int is_frequent(int64_t kind) {
    return kind == F16 || kind == Q4_0 || kind == Q8_0 || kind == Q4_K || kind == Q6_K;
}

/* So many tokens take less time one, two and four at a time than eight do. What is read of a float is little beside what a
 * token costs; of other types it is as much as two tokens or more. */
INLINE int eight_above(int64_t kind) { return is_float(kind) ? 6 : is_frequent(kind) ? 4 : 1; }

#define TOKENS(kind)                                                                                                  \
    case kind:                                                                                                        \
        if (tokens > eight_above(kind)) {                                                                             \
            dot512(kind, 8, w, group, rows, first, acc);                                                              \
            return;                                                                                                   \
        }                                                                                                             \
        for (int t = 0; t < tokens;)                                                                                  \
            if (tokens - t > 2 && is_frequent(kind)) {                                                                \
                dot512(kind, 4, w, group, rows, first + t, acc + t);                                                  \
                t += 4;                                                                                               \
            } else if (tokens - t == 2 && is_frequent(kind)) {                                                        \
                dot512(kind, 2, w, group, rows, first + t, acc + t);                                                  \
                t += 2;                                                                                               \
            } else {                                                                                                  \
                dot512(kind, 1, w, group, rows, first + t, acc + t);                                                  \
                t++;                                                                                                  \
            }                                                                                                         \
        return;

static void dot(const Matrix *w, const uint8_t *group, const Rows *rows, int64_t first, int tokens,
                int64_t acc[TILE][GROUP]) {
    switch (w->kind) { EACH_KIND(TOKENS) }
}

INLINE void dots_of(int queries, const int16_t *high, const int16_t *low, int64_t pairs, const int16_t *keys,
                    int64_t *out, int64_t stride) {
    for (int64_t first = 0; first < pairs; first += PARTIAL) {
        int64_t end = first + PARTIAL < pairs ? first + PARTIAL : pairs;
        __m512i a[QUERIES], b[QUERIES];
        for (int q = 0; q < queries; q++) a[q] = b[q] = _mm512_setzero_si512();
        for (int64_t p = first; p < end; p++) {
            __m512i key = _mm512_loadu_si512(keys + p * 2 * GROUP);
            for (int q = 0; q < queries; q++) {
                a[q] = _mm512_dpwssd_epi32(a[q], key, pair512(high + (q * pairs + p) * 2));
                b[q] = _mm512_dpwssd_epi32(b[q], key, pair512(low + (q * pairs + p) * 2));
            }
        }
        for (int q = 0; q < queries; q++)
            for (int half = 0; half < 2; half++) {
                __m256i h = half ? _mm512_extracti64x4_epi64(a[q], 1) : _mm512_castsi512_si256(a[q]);
                __m256i l = half ? _mm512_extracti64x4_epi64(b[q], 1) : _mm512_castsi512_si256(b[q]);
                __m512i sum = _mm512_add_epi64(_mm512_slli_epi64(_mm512_cvtepi32_epi64(h), 8), _mm512_cvtepi32_epi64(l));
                int64_t *at = out + q * stride + half * 8;
                if (first) sum = _mm512_add_epi64(sum, _mm512_loadu_si512(at));
                _mm512_storeu_si512(at, sum);
            }
    }
}

static void dots512(const int16_t *high, const int16_t *low, int64_t queries, int64_t pairs, const int16_t *keys,
                    int64_t *out, int64_t stride) {
    int64_t q = 0;
    for (; q + 4 <= queries; q += 4)
        dots_of(4, high + q * pairs * 2, low + q * pairs * 2, pairs, keys, out + q * stride, stride);
    high += q * pairs * 2, low += q * pairs * 2, out += q * stride;
    if (queries - q == 3) dots_of(3, high, low, pairs, keys, out, stride);
    if (queries - q == 2) dots_of(2, high, low, pairs, keys, out, stride);
    if (queries - q == 1) dots_of(1, high, low, pairs, keys, out, stride);
}

INLINE void mix_of(int queries, const int32_t *e, int64_t e_stride, const int32_t *v, int64_t width, int64_t count,
                   int64_t *out) {
    for (int64_t w = 0; w < width; w += GROUP) {
        __m512i sum[QUERIES][2];
        for (int q = 0; q < queries; q++) sum[q][0] = sum[q][1] = _mm512_setzero_si512();
        for (int64_t j = 0; j < count; j++) {
            __m512i value = _mm512_loadu_si512(v + j * width + w), odd = _mm512_srli_epi64(value, 32);
            for (int q = 0; q < queries; q++) {
                __m512i share = _mm512_set1_epi32(e[q * e_stride + j]);
                sum[q][0] = _mm512_add_epi64(sum[q][0], _mm512_mul_epi32(value, share));
                sum[q][1] = _mm512_add_epi64(sum[q][1], _mm512_mul_epi32(odd, share));
            }
        }
        for (int q = 0; q < queries; q++)
            for (int i = 0; i < 2; i++) {
                int64_t lanes[8];
                _mm512_storeu_si512(lanes, sum[q][i]);
                for (int j = 0; j < 8; j++) out[q * width + w + j * 2 + i] = lanes[j];
            }
    }
}

static void mix512(const int32_t *e, int64_t e_stride, int64_t queries, const int32_t *v, int64_t width, int64_t count,
                   int64_t *out) {
    int64_t q = 0;
    for (; q + 4 <= queries; q += 4) mix_of(4, e + q * e_stride, e_stride, v, width, count, out + q * width);
    e += q * e_stride, out += q * width;
    if (queries - q == 3) mix_of(3, e, e_stride, v, width, count, out);
    if (queries - q == 2) mix_of(2, e, e_stride, v, width, count, out);
    if (queries - q == 1) mix_of(1, e, e_stride, v, width, count, out);
}

const Variant avx512_variant = {"avx512", dot,   finish, normalize, quantize, quantize_wide, quantize_head, gated,
                                dots512,  score, share,     mix512,   divide,        keccak8,   &unpacked};
#endif
