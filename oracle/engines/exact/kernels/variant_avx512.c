#if defined(__x86_64__)
/* The AVX-512 VNNI variant. */
#pragma GCC target("avx2,f16c,fma,bmi,bmi2,lzcnt,popcnt,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")
#include "keccak.h"
#include "layout.h"
#include "operators.h"

#include <immintrin.h>

#define AHEAD 4096 /* bytes to prefetch ahead of the multiplication, measured on Zen 4 */
#define TOKENS(call)                                                                                                  \
    switch (tokens) {                                                                                                 \
    case 1: call(1); break;                                                                                           \
    case 2: call(2); break;                                                                                           \
    case 3: call(3); break;                                                                                           \
    default: call(4);                                                                                                 \
    }

#define MAC512(acc, a, even, odd)                                                                                     \
    do {                                                                                                              \
        (acc)[0] = _mm512_add_epi64((acc)[0], _mm512_mul_epi32(a, even));                                             \
        (acc)[1] = _mm512_add_epi64((acc)[1], _mm512_mul_epi32(_mm512_srli_epi64(a, 32), odd));                       \
    } while (0)

INLINE __m512i halves512(const uint8_t *p) {
    __m512 v = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
    return _mm512_cvtps_epi32(_mm512_mul_ps(v, _mm512_set1_ps(16777216.0f)));
}

INLINE __m512i bytes512(const uint8_t *p, int is_signed) {
    __m128i v = _mm_loadu_si128((const __m128i *)p);
    return is_signed ? _mm512_cvtepi8_epi32(v) : _mm512_cvtepu8_epi32(v);
}

INLINE __m512i four512(const uint8_t *p) {
    int32_t v;
    memcpy(&v, p, 4);
    return _mm512_set1_epi32(v);
}

INLINE void dot512(int64_t kind, int tokens, const Matrix *w, const uint8_t *group, const int64_t *fold,
                          const Rows *rows, int64_t first, int64_t out[TILE][GROUP]) {
    int64_t columns = w->columns, stride = rows->stride;
    __m512i acc[TILE][2];
    for (int t = 0; t < tokens; t++) acc[t][0] = acc[t][1] = _mm512_setzero_si512();
    if (kind == F16) {
        for (int64_t k = 0; k < columns; k++) {
            __m512i weight = halves512(group + k * 2 * GROUP), odd = _mm512_srli_epi64(weight, 32);
            for (int t = 0; t < tokens; t++) {
                __m512i v = _mm512_set1_epi32(rows->x[(first + t) * stride + k]);
                acc[t][0] = _mm512_add_epi64(acc[t][0], _mm512_mul_epi32(weight, v));
                acc[t][1] = _mm512_add_epi64(acc[t][1], _mm512_mul_epi32(odd, v));
            }
        }
    } else {
        const uint8_t *split = rows->split + first * stride * 2;
        const __m512i low4 = _mm512_set1_epi8(15), low2 = _mm512_set1_epi8(3);
        for (int64_t b = 0; b < columns / BLOCK; b++) {
            const uint8_t *p = block_start(kind, group, b), *super = super_start(kind, group, b);
            const __m512i *quants = (const __m512i *)(p + 2 * GROUP);
            __m512i q[8], scale[2], odd[2], min = low4;
            scale[0] = halves512(kind == Q8_0 || kind == Q4_0 ? p : super);
            scale[1] = scale[0];
            if (kind == Q4_K) {
                scale[0] = _mm512_mullo_epi32(scale[0], bytes512(p, 0));
                min = _mm512_mullo_epi32(halves512(super + 2 * GROUP), bytes512(p + GROUP, 0));
                min = _mm512_sub_epi32(_mm512_setzero_si512(), min);
            }
            if (kind == Q6_K) {
                scale[1] = _mm512_mullo_epi32(scale[0], bytes512(p + GROUP, 1));
                scale[0] = _mm512_mullo_epi32(scale[0], bytes512(p, 1));
            }
            odd[0] = _mm512_srli_epi64(scale[0], 32);
            odd[1] = _mm512_srli_epi64(scale[1], 32);
            for (int i = 0; i < 8; i++) {
                if (kind == Q8_0) {
                    if (tokens == 1) _mm_prefetch(p + AHEAD + i * 64, _MM_HINT_T0);
                    q[i] = _mm512_loadu_si512(quants + i);
                    continue;
                }
                __m512i nibbles = _mm512_loadu_si512(quants + i % 4);
                q[i] = _mm512_and_si512(i < 4 ? nibbles : _mm512_srli_epi16(nibbles, 4), low4);
                if (kind == Q6_K) {
                    __m512i pairs = _mm512_srli_epi16(_mm512_loadu_si512(quants + 4 + i / 4), 2 * (i % 4));
                    q[i] = _mm512_or_si512(q[i], _mm512_slli_epi16(_mm512_and_si512(pairs, low2), 4));
                }
                if (kind != Q4_K) q[i] = _mm512_sub_epi8(q[i], _mm512_set1_epi8(kind == Q6_K ? 32 : 8));
            }
            for (int t = 0; t < tokens; t++) {
                const uint8_t *x = split + (t * stride + b * BLOCK) * 2;
                for (int part = 0; part < 2; part++) { /* of the block; one pass when both share a scale */
                    if (kind != Q6_K && part) break;
                    int begin = part * 4, end = kind == Q6_K ? begin + 4 : 8;
                    __m512i high = _mm512_setzero_si512(), low = high;
                    for (int i = begin; i < end; i++) {
                        high = _mm512_dpbusd_epi32(high, four512(x + i * 4), q[i]);
                        low = _mm512_dpbusd_epi32(low, four512(x + BLOCK + i * 4), q[i]);
                    }
                    __m512i sum = _mm512_add_epi32(_mm512_slli_epi32(high, 8), low);
                    MAC512(acc[t], sum, scale[part], odd[part]);
                }
                if (kind == Q4_K) {
                    __m512i all = _mm512_set1_epi32(rows->sums[(first + t) * (stride / BLOCK) + b]);
                    MAC512(acc[t], all, min, _mm512_srli_epi64(min, 32));
                }
            }
        }
    }
    for (int t = 0; t < tokens; t++)
        for (int i = 0; i < 2; i++) {
            int64_t lanes[8];
            _mm512_storeu_si512(lanes, acc[t][i]);
            for (int j = 0; j < 8; j++) out[t][j * 2 + i] = (int64_t)((uint64_t)lanes[j] - (uint64_t)fold[j * 2 + i]);
        }
}

static void dot(const Matrix *w, const uint8_t *group, const int64_t *fold, const Rows *rows, int64_t first,
                int tokens, int64_t acc[TILE][GROUP]) {
#define CALL(kind, n) dot512(kind, n, w, group, fold, rows, first, acc)
#define Q8(n) CALL(Q8_0, n)
#define Q4(n) CALL(Q4_0, n)
#define Q4K(n) CALL(Q4_K, n)
#define Q6K(n) CALL(Q6_K, n)
#define HALF(n) CALL(F16, n)
    switch (w->kind) {
    case Q8_0: TOKENS(Q8) break;
    case Q4_0: TOKENS(Q4) break;
    case Q4_K: TOKENS(Q4K) break;
    case Q6_K: TOKENS(Q6K) break;
    default: TOKENS(HALF)
    }
}

INLINE void dots_of(int queries, const int16_t *high, const int16_t *low, int64_t pairs, const int16_t *keys,
                    int64_t *out, int64_t stride) {
    for (int64_t first = 0; first < pairs; first += PARTIAL) {
        int64_t end = first + PARTIAL < pairs ? first + PARTIAL : pairs;
        __m512i a[TILE], b[TILE];
        for (int q = 0; q < queries; q++) a[q] = b[q] = _mm512_setzero_si512();
        for (int64_t p = first; p < end; p++) {
            __m512i key = _mm512_loadu_si512(keys + p * 2 * GROUP);
            for (int q = 0; q < queries; q++) {
                a[q] = _mm512_dpwssd_epi32(a[q], key, four512((const uint8_t *)(high + (q * pairs + p) * 2)));
                b[q] = _mm512_dpwssd_epi32(b[q], key, four512((const uint8_t *)(low + (q * pairs + p) * 2)));
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
    for (int64_t q = 0; q < queries; q += TILE) {
        int tokens = (int)(queries - q);
#define DOTS(n) dots_of(n, high + q * pairs * 2, low + q * pairs * 2, pairs, keys, out + q * stride, stride)
        TOKENS(DOTS)
    }
}

INLINE void mix_of(int queries, const int32_t *e, int64_t e_stride, const int32_t *v, int64_t width, int64_t count,
                   int64_t *out) {
    for (int64_t w = 0; w < width; w += GROUP) {
        __m512i sum[TILE][2];
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
    for (int64_t q = 0; q < queries; q += TILE) {
        int tokens = (int)(queries - q);
#define MIX(n) mix_of(n, e + q * e_stride, e_stride, v, width, count, out + q * width)
        TOKENS(MIX)
    }
}

const Variant avx512_variant = {dot,     normalize, quantize, quantize_wide, quantize_head, gated,
                                dots512, score,     share,    mix512,        divide,        keccak8};
#endif
