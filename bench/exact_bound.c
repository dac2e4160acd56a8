// What a core can multiply and read, for the bound of checking's speed-up: `bench/exact_bound.py`.

#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif
#if defined(__AMX_INT8__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
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

// The same by tiles of bytes: weights of three bytes times mantissas of two, six products of bytes for one, all in registers.
// Returns how many there were by the sums: 0 where there are no tiles, or the system does not give them to this process.
// rounds: below 2^24.
int64_t tile_products(int64_t rounds) {
#if defined(__AMX_INT8__) && defined(__linux__)
    enum { ROWS = 16, DEPTH = 64, ASK = 0x1023, TILES = 18 };
    struct {
        uint8_t palette, start, none[14];
        uint16_t columns[16];
        uint8_t rows[16];
    } c = {.palette = 1};
    uint8_t ones[ROWS * DEPTH];
    int32_t sums[5][ROWS * ROWS];
    if (syscall(SYS_arch_prctl, ASK, TILES) != 0) return 0;
    for (int tile = 0; tile < 7; tile++) {
        c.columns[tile] = DEPTH;
        c.rows[tile] = ROWS;
    }
    memset(ones, 1, sizeof ones);
    __asm__ volatile("" ::: "memory"); // the intrinsics do not say that they read
    _tile_loadconfig(&c);
    _tile_loadd(5, ones, DEPTH);
    _tile_loadd(6, ones, DEPTH);
    for (int64_t round = 0; round < rounds; round++) {
        _tile_dpbuud(0, 5, 6);
        _tile_dpbsud(1, 5, 6);
        _tile_dpbuud(2, 5, 6);
        _tile_dpbsud(3, 5, 6);
        _tile_dpbusd(4, 5, 6);
        _tile_dpbssd(0, 5, 6);
    }
    _tile_stored(0, sums[0], 4 * ROWS);
    _tile_stored(1, sums[1], 4 * ROWS);
    _tile_stored(2, sums[2], 4 * ROWS);
    _tile_stored(3, sums[3], 4 * ROWS);
    _tile_stored(4, sums[4], 4 * ROWS);
    _tile_release();
    int64_t bytes = 0;
    for (int i = 0; i < 5 * ROWS * ROWS; i++) bytes += sums[i / (ROWS * ROWS)][i % (ROWS * ROWS)];
    return bytes / 6;
#else
    (void)rounds;
    return 0;
#endif
}

// Reads so many words. Returns their sum.
uint64_t read_words(const uint64_t *words, int64_t count) {
    uint64_t sum = 0;
    for (int64_t i = 0; i < count; i++) sum += words[i];
    return sum;
}
