#include "kernels.h"
#if defined(EMULATED_TILES)
/* Tiles in plain C, for tests where there are none: what each instruction does, by its definition. */
#include <stdlib.h>

#define TILE_ZERO(tile) memset(tiles[tile].bytes, 0, sizeof tiles[tile].bytes)
#define TILE_LOAD(tile, from) load(tile, from)
#define TILE_STORE(tile, to) store(tile, to)
#define TILE_DOT(signs, to, a, b) multiply_##signs(to, a, b)
#define TILES_BARRIER() (void)0
#define WIDEN(from) widen(from)
#define ANY(words) any(words)
#define HIGH_PRODUCT(a, b) high_product(a, b)
#define TILES_CONFIGURE(tokens) configure(tokens)
#define TILES_RELEASE() configure(0)

static __thread struct {
    int rows;
    uint8_t bytes[16][64];
} tiles[8];

/* Tiles of so many rows of sums and mantissas, and of a chunk's weights; all are 0 then. */
static void configure(int tokens) {
    memset(tiles, 0, sizeof tiles);
    for (int tile = 0; tile < 8 && tokens; tile++) tiles[tile].rows = tile == 7 ? 16 : tokens;
}

static void load(int tile, const void *from) {
    if (!tiles[tile].rows) abort(); /* as the processor would */
    memset(tiles[tile].bytes, 0, sizeof tiles[tile].bytes);
    memcpy(tiles[tile].bytes, from, 64 * (size_t)tiles[tile].rows);
}

static void store(int tile, void *to) { memcpy(to, tiles[tile].bytes, 64 * (size_t)tiles[tile].rows); }

#define MULTIPLY(signs, A, B)                                                                                         \
    static void multiply_##signs(int to, int a, int b) {                                                              \
        if (!tiles[to].rows || tiles[a].rows != tiles[to].rows || tiles[b].rows != 16) abort();                       \
        for (int m = 0; m < tiles[to].rows; m++)                                                                      \
            for (int n = 0; n < 16; n++) {                                                                            \
                uint32_t sum;                                                                                         \
                memcpy(&sum, tiles[to].bytes[m] + 4 * n, 4);                                                          \
                for (int k = 0; k < 64; k++)                                                                          \
                    sum += (uint32_t)((A)tiles[a].bytes[m][k] * (B)tiles[b].bytes[k / 4][4 * n + k % 4]);             \
                memcpy(tiles[to].bytes[m] + 4 * n, &sum, 4);                                                          \
            }                                                                                                         \
    }
MULTIPLY(ss, int8_t, int8_t)
MULTIPLY(su, int8_t, uint8_t)
MULTIPLY(us, uint8_t, int8_t)
MULTIPLY(uu, uint8_t, uint8_t)

typedef int16_t Sixteens __attribute__((vector_size(4 * GROUP)));
typedef uint32_t SixteenWords __attribute__((vector_size(4 * GROUP)));

static Sixteens high_product(Sixteens a, Sixteens b) {
    Sixteens c;
    for (int i = 0; i < 2 * GROUP; i++) c[i] = (int16_t)((int32_t)a[i] * b[i] >> 16);
    return c;
}

static Sixteens widen(const int8_t *from) {
    Sixteens c;
    for (int i = 0; i < 2 * GROUP; i++) c[i] = from[i];
    return c;
}

static int any(SixteenWords words) {
    uint32_t all = 0;
    for (int i = 0; i < GROUP; i++) all |= words[i];
    return all != 0;
}

#include "tiles.h"

const Tiles emulated_tiles = {split, product, combine};
#endif
