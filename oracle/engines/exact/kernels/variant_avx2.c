#if defined(__x86_64__)
/* The AVX2 variant. */
#pragma GCC target("avx2,f16c,fma,bmi,bmi2,popcnt")
#include "keccak.h"
#include "layout.h"
#include "operators.h"

#include <immintrin.h>

/* acc[0..1] (rows 0-7 even, odd) += a * scale; both vectors hold eight int32. */
#define MAC256(acc, a, scale)                                                                                         \
    do {                                                                                                              \
        (acc)[0] = _mm256_add_epi64((acc)[0], _mm256_mul_epi32(a, scale));                                            \
        (acc)[1] = _mm256_add_epi64(                                                                                  \
            (acc)[1], _mm256_mul_epi32(_mm256_srli_epi64(a, 32), _mm256_srli_epi64(scale, 32)));                      \
    } while (0)

INLINE __m256i halves256(const uint8_t *p) {
    __m256 v = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
    return _mm256_cvtps_epi32(_mm256_mul_ps(v, _mm256_set1_ps(16777216.0f)));
}

INLINE void dot256(int64_t kind, int tokens, const Matrix *w, const uint8_t *group, const Rows *rows, int64_t first,
                        int64_t out[TILE][GROUP]) {
    int64_t columns = w->columns, stride = rows->stride;
    const int16_t *x = rows->x + first * rows->stride;
    __m256i acc[TILE][2][2];
    for (int t = 0; t < tokens; t++)
        for (int i = 0; i < 4; i++) acc[t][i / 2][i % 2] = _mm256_setzero_si256();
    if (kind == F16) {
        for (int64_t k = 0; k < columns; k++)
            for (int h = 0; h < 2; h++) {
                __m256i weight = halves256(group + k * 2 * GROUP + h * GROUP);
                for (int t = 0; t < tokens; t++) {
                    __m256i v = _mm256_set1_epi32(x[t * stride + k]);
                    MAC256(acc[t][h], weight, v);
                }
            }
    } else {
        for (int64_t b = 0; b < columns / BLOCK; b++) {
            const uint8_t *p = block_start(kind, group, b);
            int8_t buffer[8][GROUP * 4];
            const int8_t *q = &buffer[0][0];
            __m256i scale[2][2], min[2]; /* [half of the block][half of the rows] */
            if (kind == Q8_0) {
                q = (const int8_t *)p + 2 * GROUP;
                for (int h = 0; h < 2; h++) scale[0][h] = scale[1][h] = halves256(p + h * GROUP);
            } else {
                int64_t wide_scale[2][GROUP], wide_min[GROUP];
                int32_t narrow[3][GROUP];
                unpack(kind, group, b, buffer, wide_scale, wide_min);
                for (int r = 0; r < GROUP; r++) {
                    narrow[0][r] = (int32_t)wide_scale[0][r];
                    narrow[1][r] = (int32_t)wide_scale[1][r];
                    narrow[2][r] = (int32_t)-wide_min[r];
                }
                for (int h = 0; h < 2; h++) {
                    scale[0][h] = _mm256_loadu_si256((const __m256i *)&narrow[0][8 * h]);
                    scale[1][h] = _mm256_loadu_si256((const __m256i *)&narrow[1][8 * h]);
                    min[h] = _mm256_loadu_si256((const __m256i *)&narrow[2][8 * h]);
                }
            }
            for (int half = 0; half < 2; half++) { /* of the rows */
                for (int part = 0; part < 2; part++) { /* of the block; one pass when both share a scale */
                    if (kind != Q6_K && part) break;
                    int begin = part * 4, end = kind == Q6_K ? begin + 4 : 8;
                    __m256i sum[TILE][2];
                    for (int t = 0; t < tokens; t++) sum[t][0] = sum[t][1] = _mm256_setzero_si256();
                    for (int i = begin; i < end; i++)
                        for (int j = 0; j < 2; j++) {
                            __m256i weight = _mm256_cvtepi8_epi16(
                                _mm_loadu_si128((const __m128i *)(q + i * 64 + half * 32 + j * 16)));
                            for (int t = 0; t < tokens; t++) {
                                int64_t four;
                                memcpy(&four, x + t * stride + b * BLOCK + i * 4, 8);
                                sum[t][j] = _mm256_add_epi32(sum[t][j],
                                                             _mm256_madd_epi16(weight, _mm256_set1_epi64x(four)));
                            }
                        }
                    for (int t = 0; t < tokens; t++) {
                        __m256i rows = _mm256_permute4x64_epi64(_mm256_hadd_epi32(sum[t][0], sum[t][1]), 0xd8);
                        MAC256(acc[t][half], rows, scale[part][half]);
                    }
                }
                if (kind == Q4_K)
                    for (int t = 0; t < tokens; t++) {
                        __m256i all = _mm256_set1_epi32(rows->sums[(first + t) * (stride / BLOCK) + b]);
                        MAC256(acc[t][half], all, min[half]);
                    }
            }
        }
    }
    for (int t = 0; t < tokens; t++)
        for (int i = 0; i < 4; i++) {
            int64_t lanes[4];
            _mm256_storeu_si256((__m256i *)lanes, acc[t][i / 2][i % 2]);
            for (int j = 0; j < 4; j++) out[t][i / 2 * 8 + j * 2 + i % 2] = lanes[j];
        }
}

#define TOKENS(call)                                                                                                  \
    switch (tokens) {                                                                                                 \
    case 1: call(1); break;                                                                                           \
    case 2: call(2); break;                                                                                           \
    case 3: call(3); break;                                                                                           \
    default: call(4);                                                                                                 \
    }

static void dot(const Matrix *w, const uint8_t *group, const int64_t *fold, const Rows *rows, int64_t first,
                int tokens, int64_t acc[TILE][GROUP]) {
    (void)fold;
#define Q8(n) dot256(Q8_0, n, w, group, rows, first, acc)
    switch (w->kind) {
    case F16: dot256(F16, tokens, w, group, rows, first, acc); break;
    case Q4_0: dot256(Q4_0, tokens, w, group, rows, first, acc); break;
    case Q4_K: dot256(Q4_K, tokens, w, group, rows, first, acc); break;
    case Q6_K: dot256(Q6_K, tokens, w, group, rows, first, acc); break;
    default: TOKENS(Q8)
    }
#undef Q8
}

const Variant avx2_variant = {dot,   normalize, quantize, quantize_wide, quantize_head, gated,
                               dots,  score,     share,    mix,           divide, keccak8};
#endif
