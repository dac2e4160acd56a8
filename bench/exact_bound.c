// What a core can multiply and read, for the bound of checking's speed-up: `bench/exact_bound.py`.

#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define ACCUMULATORS 10
// Makes a value unknown to the compiler, so that it computes what follows.
#define OPAQUE(x) __asm__ volatile("" : "+x"(x))

#if defined(__AVX512VNNI__)
typedef __m512i Words;
#define LANES 32
#define ONES _mm512_set1_epi16(1)
#define ZERO _mm512_setzero_si512()
#define DOT(sum, a, b) _mm512_dpwssd_epi32(sum, a, b)
#elif defined(__AVX2__)
typedef __m256i Words;
#define LANES 16
#define ONES _mm256_set1_epi16(1)
#define ZERO _mm256_setzero_si256()
#define DOT(sum, a, b) _mm256_add_epi32(sum, _mm256_madd_epi16(a, b))
#elif defined(__x86_64__)
typedef __m128i Words;
#define LANES 8
#define ONES _mm_set1_epi16(1)
#define ZERO _mm_setzero_si128()
#define DOT(sum, a, b) _mm_add_epi32(sum, _mm_madd_epi16(a, b))
#endif

// Products of 16-bit ones, summed in 32 bits by the widest instruction that the kernels use, all in registers.
// Returns their sum: how many there were. rounds: below 2^25.
int64_t products(int64_t rounds) {
    Words sums[ACCUMULATORS], a = ONES, b = ONES;
    for (int k = 0; k < ACCUMULATORS; k++) sums[k] = ZERO;
    for (int64_t round = 0; round < rounds; round++) {
        OPAQUE(a);
        for (int k = 0; k < ACCUMULATORS; k++) sums[k] = DOT(sums[k], a, b);
    }
    int64_t total = 0;
    for (int k = 0; k < ACCUMULATORS; k++) {
        int32_t parts[LANES / 2];
        memcpy(parts, &sums[k], sizeof parts);
        for (int i = 0; i < LANES / 2; i++) total += parts[i];
    }
    return total;
}

// Reads so many words. Returns their sum.
uint64_t read_words(const uint64_t *words, int64_t count) {
    uint64_t sum = 0;
    for (int64_t i = 0; i < count; i++) sum += words[i];
    return sum;
}
