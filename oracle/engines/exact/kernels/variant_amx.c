#include "kernels.h"
#if defined(TILE_VARIANT) && !defined(EMULATED_TILES)
/* The tiles of Intel's AMX. All else is the AVX-512 variant's. */
#pragma GCC target("avx2,f16c,fma,bmi,bmi2,lzcnt,popcnt,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,amx-tile,amx-int8")
#pragma GCC target("prefer-vector-width=512")
#include <immintrin.h>

#define TILE_ZERO(tile) _tile_zero(tile)
#define TILE_LOAD(tile, from) _tile_loadd(tile, from, DEPTH)
#define TILE_STORE(tile, to) _tile_stored(tile, to, 4 * GROUP)
#define TILE_DOT(signs, to, a, b) _tile_dpb##signs##d(to, a, b)
#define TILES_BARRIER() __asm__ volatile("" ::: "memory")
#define WIDEN(from) (Pairs)_mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(from)))
#define ANY(words) (_mm512_test_epi32_mask((__m512i)(words), (__m512i)(words)) != 0)
#define HIGH_PRODUCT(a, b) (Pairs)_mm512_mulhi_epi16((__m512i)(a), (__m512i)(b))
#define TILES_CONFIGURE(tokens) configure(tokens)
#define TILES_RELEASE() _tile_release()

/* Tiles of so many rows of sums and mantissas, and of a chunk's weights. */
static void configure(int tokens) {
    struct {
        uint8_t palette, start, none[14];
        uint16_t columns[16];
        uint8_t rows[16];
    } c = {.palette = 1};
    for (int tile = 0; tile < 8; tile++) {
        c.columns[tile] = 64;
        c.rows[tile] = (uint8_t)(tile == 7 ? 16 : tokens);
    }
    TILES_BARRIER();
    _tile_loadconfig(&c);
}

#include "tiles.h"

const Tiles amx_tiles = {split, product, combine};
#endif
