/* Products of many tokens by tiles of 8-bit integers: Intel's AMX, or the same in C.
 *
 * A weight is an integer in units of 2^-24, scale, minimum and all: below a half in magnitude it has three bytes, below 128
 * four. A mantissa has two. So a product is the sum of six or eight products of bytes, each added up in a tile of 16 tokens
 * and 16 rows; products that weigh the same share a tile. Nothing is rounded, and int32 holds every sum: two products of
 * bytes a column, 2 * 255 * 255 * COLUMNS < 2^31. A group with a larger weight, or one whose scales are so large that it
 * might have one, is left to the variant's `dot`.
 *
 * A chunk of a group's weights is read as bytes, multiplied with all tokens, and the sums wait in memory for the next chunk.
 * Bytes of four neighbouring columns lie together as 0, 2, 1, 3, in weights and mantissas alike: words of two 16-bit
 * numbers become bytes by masks.
 *
 * Whoever includes this defines TILE_LOAD and so on, for tiles 0 to 7; TILES_BARRIER: what was written before it is what a
 * tile loads; and what compilers make too little of: WIDEN: 32 bytes as 16-bit numbers; HIGH_PRODUCT: the upper halves of
 * their products; ANY: whether a bit of 16 words is set.
 */
#ifndef DIDYMA_TILES_H
#define DIDYMA_TILES_H

#include "quants.h"

#define COLUMNS 16384     /* whose sums fit int32 */
#define CHUNK 512         /* columns whose weights stay in the first-level cache */
#define QUADS (DEPTH / 4) /* of columns in a tile */

typedef int32_t Words __attribute__((vector_size(4 * GROUP)));
typedef uint32_t Bits __attribute__((vector_size(4 * GROUP)));
typedef int16_t Shorts __attribute__((vector_size(2 * GROUP)));
typedef int16_t Pairs __attribute__((vector_size(4 * GROUP)));
typedef uint16_t Halves __attribute__((vector_size(2 * GROUP)));
typedef uint16_t PairBits __attribute__((vector_size(4 * GROUP)));
typedef int8_t Chars __attribute__((vector_size(GROUP)));
typedef uint8_t Octets __attribute__((vector_size(GROUP)));

#define BYTE (QUADS * GROUP * 4)

/* A chunk's weights, [DEPTH columns][byte][QUADS][16 rows][4]. */
typedef struct {
    uint8_t bytes[CHUNK / DEPTH][4][BYTE];
} Weights __attribute__((aligned(64)));

INLINE Words words_of(const void *p) {
    Words v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* Writes the low and the high bytes of four columns' 16-bit numbers, a column pair a vector. high: NULL for none. */
INLINE void put_bytes(Bits a, Bits b, uint8_t *low, uint8_t *high) {
    const Bits even = (Bits){0} + 0x00ff00ffu;
    Bits first = (a & even) | (b & even) << 8, second = (a >> 8 & even) | (b & ~even);
    memcpy(low, &first, sizeof first);
    if (high) memcpy(high, &second, sizeof second);
}

/* Writes byte 0 to 3 of four columns' weights; adds their magnitudes' bits to `bits`. to: of byte 0. */
INLINE void put_quad(const Words w[4], uint8_t *to, Bits *bits) {
    Bits v[4];
    for (int i = 0; i < 4; i++) {
        *bits |= (Bits)(w[i] ^ (w[i] >> 31));
        v[i] = (Bits)w[i];
    }
    put_bytes((v[0] & 0xffffu) | v[1] << 16, (v[2] & 0xffffu) | v[3] << 16, to, to + BYTE);
    put_bytes(v[0] >> 16 | (v[1] & 0xffff0000u), v[2] >> 16 | (v[3] & 0xffff0000u), to + 2 * BYTE, to + 3 * BYTE);
}

/* Sixteen halves, each below 2^7, in units of 2^-24. */
INLINE Words halves_of(const uint8_t *p) {
    Halves h;
    memcpy(&h, p, sizeof h);
    Bits v = __builtin_convertvector(h, Bits), exponent = v >> 10 & 31, fraction = v & 1023;
    Bits normal = (Bits)(exponent != 0);
    Words w = (Words)((fraction | (normal & 1024)) << (exponent - (normal & 1)));
    Words negative = (Words)(v >> 15 != 0);
    return (w ^ negative) - negative;
}

/* Small factors, or ones. */
INLINE Words factors_of(int64_t kind, const uint8_t *p, int is_signed) {
    Words one = (Words){0} + 1;
    if (!bytes16(kind)) return one;
    Chars c;
    Octets o;
    memcpy(&c, p, sizeof c);
    memcpy(&o, p, sizeof o);
    return is_signed ? __builtin_convertvector(c, Words) : __builtin_convertvector(o, Words);
}

INLINE Words floats_of(int64_t kind, const uint8_t *column, int64_t bits) {
    if (kind == F32) return words_of(column);
    if (kind == F16) return halves_of(column);
    int32_t w[GROUP];
    for (int r = 0; r < GROUP; r++) w[r] = float_integer((uint32_t)load16(column + 2 * r) << 16, bits);
    return words_of(w);
}

/* A block's scales times its factors, and its minima, for each half. */
typedef struct {
    Words scale[2], least[2];
} Scales;

INLINE Scales scales_of(int64_t kind, const uint8_t *group, int64_t b) {
    const uint8_t *p = block_start(kind, group, b), *d = super_start(kind, group, b);
    int scales = has_two(kind) ? 2 : 1;
    Scales s = {0};
    for (int i = 0; i < scales; i++) {
        s.scale[i] = halves_of(d) * factors_of(kind, p + i * GROUP, signed_factors(kind));
        if (has_minimum(kind)) {
            Words m = halves_of(d + 2 * GROUP), times = factors_of(kind, p + (scales + i) * GROUP, 0);
            s.least[i] = bytes16(kind) ? -(m * times) : m;
        }
    }
    if (scales == 1) {
        s.scale[1] = s.scale[0];
        s.least[1] = s.least[0];
    }
    return s;
}

/* Whether a number is not below 2^bits in magnitude, for any row. */
INLINE int is_large(Words a, Words b, int bits) {
    return ANY((Bits)(a ^ (a >> 31)) >> bits | (Bits)(b ^ (b >> 31)) >> bits);
}

/* A pair of 16-bit numbers for each row: both the lower halves. */
INLINE Pairs twice(Words w) { return (Pairs)(((Bits)w & 0xffffu) | (Bits)w << 16); }

/* Blocks [first, first + count) of a group as three bytes a weight, in 16-bit steps. Returns 0 where scales have more than 15
 * bits or minima more than 22: only without them is every weight surely below 2^23. */
INLINE int decode_small(int64_t kind, const uint8_t *group, int64_t first, int64_t count, Weights *out) {
    for (int64_t b = first; b < first + count; b++) {
        int8_t buffer[BLOCK * GROUP];
        const int8_t *q = quants(kind, group, b, buffer);
        Scales s = scales_of(kind, group, b);
        if (is_large(s.scale[0], s.scale[1], 15)) return 0;
        if (has_minimum(kind) && is_large(s.least[0], s.least[1], 22)) return 0;
        Pairs scale[2], low[2], high[2];
        for (int i = 0; i < 2; i++) {
            scale[i] = twice(s.scale[i]);
            low[i] = twice(s.least[i]);
            high[i] = twice(s.least[i] >> 16);
        }
        uint8_t *to = out->bytes[(b - first) * BLOCK / DEPTH][0] + (b - first) * BLOCK % DEPTH * GROUP;
#pragma GCC unroll 8
        for (int quad = 0; quad < BLOCK / 4; quad++) {
            Pairs lower[2], upper[2];
            int half = quad / 4;
            for (int pair = 0; pair < 2; pair++) {
                Pairs v = WIDEN(q + (quad * 2 + pair) * 2 * GROUP);
                lower[pair] = v * scale[half];
                upper[pair] = HIGH_PRODUCT(v, scale[half]);
                if (has_minimum(kind)) {
                    lower[pair] += low[half];
                    upper[pair] += high[half] - (Pairs)((PairBits)lower[pair] < (PairBits)low[half]); /* the carry */
                }
            }
            put_bytes((Bits)lower[0], (Bits)lower[1], to + quad * GROUP * 4, to + quad * GROUP * 4 + BYTE);
            put_bytes((Bits)upper[0], (Bits)upper[1], to + quad * GROUP * 4 + 2 * BYTE, NULL);
        }
    }
    return 1;
}

/* The same as four bytes a weight. Returns the bits of all magnitudes, or ~0 if a weight may not fit: a scale below 2^23
 * times a quant's 128, and a minimum below 2^29, do. */
INLINE uint32_t decode_blocks(int64_t kind, const uint8_t *group, int64_t first, int64_t count, Weights *out) {
    Bits bits = {0};
    for (int64_t b = first; b < first + count; b++) {
        int8_t buffer[BLOCK * GROUP];
        const int8_t *q = quants(kind, group, b, buffer);
        Scales s = scales_of(kind, group, b);
        if (is_large(s.scale[0], s.scale[1], 23) || is_large(s.least[0], s.least[1], 29)) return ~0u;
        uint8_t *to = out->bytes[(b - first) * BLOCK / DEPTH][0] + (b - first) * BLOCK % DEPTH * GROUP;
        for (int quad = 0; quad < BLOCK / 4; quad++) {
            Words w[4];
            for (int pair = 0; pair < 2; pair++) {
                Shorts c;
                memcpy(&c, q + (quad * 2 + pair) * 2 * GROUP, sizeof c);
                Words both = __builtin_convertvector(c, Words);
                w[2 * pair] = (both << 24 >> 24) * s.scale[quad / 4] + s.least[quad / 4];
                w[2 * pair + 1] = (both >> 8) * s.scale[quad / 4] + s.least[quad / 4];
            }
            put_quad(w, to + quad * GROUP * 4, &bits);
        }
    }
    uint32_t all = 0;
    for (int r = 0; r < GROUP; r++) all |= bits[r];
    return all;
}

/* Columns [first, first + count) of a group of floats as bytes; else as above. */
INLINE uint32_t decode_floats(int64_t kind, const uint8_t *group, int64_t bits, int64_t first, int64_t count, Weights *out) {
    Bits found = {0};
    int size = kind == F32 ? 4 : 2;
    for (int64_t k = 0; k < count; k += 4) {
        Words w[4];
        for (int i = 0; i < 4; i++)
            w[i] = k + i < count ? floats_of(kind, group + (first + k + i) * GROUP * size, bits) : (Words){0};
        put_quad(w, out->bytes[k / DEPTH][0] + k % DEPTH * GROUP, &found);
    }
    uint32_t all = 0;
    for (int r = 0; r < GROUP; r++) all |= found[r];
    return all;
}

/* Columns [first, first + count) of a group. Returns how many bytes a weight has: 3 or 4, or 0 for more. */
static int decode_chunk(const Matrix *w, const uint8_t *group, int64_t first, int64_t count, Weights *out) {
    for (int64_t after = (count + 3) / 4 * 4; after % DEPTH; after += 4) /* mantissas are 0 there */
        for (int byte = 0; byte < 4; byte++)
            memset(out->bytes[after / DEPTH][byte] + after % DEPTH * GROUP, 0, 4 * GROUP);
    uint32_t bits = ~0u;
    switch (w->kind) {
#define DECODE(kind)                                                                                                  \
    case kind:                                                                                                        \
        if (is_float(kind))                                                                                           \
            bits = decode_floats(kind, group, w->bits, first, count, out);                                            \
        else if (decode_small(kind, group, first / BLOCK, count / BLOCK, out))                                        \
            return 3;                                                                                                 \
        else                                                                                                          \
            bits = decode_blocks(kind, group, first / BLOCK, count / BLOCK, out);                                     \
        break;
        EACH_KIND(DECODE)
    }
    return bits < 1u << 23 ? 3 : bits < 1u << 31 ? 4 : 0;
}

/* Rows t of mantissas as bytes, the low ones of 16 tokens and 64 columns, then the high ones. */
static void split(const Rows *rows, int64_t t) {
    const int16_t *x = rows->x + t * rows->stride;
    int64_t depths = (rows->stride + DEPTH - 1) / DEPTH;
    for (int64_t k = 0; k < depths * DEPTH; k += 4) {
        uint32_t v[2] = {0};
        if (k < rows->stride) memcpy(v, x + k, sizeof v);
        uint32_t low = (v[0] & 0x00ff00ffu) | (v[1] & 0x00ff00ffu) << 8;
        uint32_t high = (v[0] >> 8 & 0x00ff00ffu) | (v[1] & 0xff00ff00u);
        uint8_t *to = rows->bytes + (t / GROUP * depths + k / DEPTH) * 2 * GROUP * DEPTH + t % GROUP * DEPTH + k % DEPTH;
        memcpy(to, &low, 4);
        memcpy(to + GROUP * DEPTH, &high, 4);
    }
}

/* sums (+)= products of up to 16 tokens over `depths` tiles: tile i of what weighs 2^(8i). x: of the first token, as `split`
 * writes them. had: bytes of the weights before, 0 for none. */
INLINE void multiply(int bytes, int had, const uint8_t *x, const Weights *w, int64_t depths, TileSums *sums) {
    if (had) {
        TILE_LOAD(0, sums->of[0]);
        TILE_LOAD(1, sums->of[1]);
        TILE_LOAD(2, sums->of[2]);
        TILE_LOAD(3, sums->of[3]);
    } else {
        TILE_ZERO(0);
        TILE_ZERO(1);
        TILE_ZERO(2);
        TILE_ZERO(3);
    }
    if (bytes == 4 && had == 4) TILE_LOAD(4, sums->of[4]);
    if (bytes == 4 && had != 4) TILE_ZERO(4);
    for (int64_t d = 0; d < depths; d++, x += 2 * GROUP * DEPTH) {
        TILE_LOAD(5, x);
        TILE_LOAD(6, x + GROUP * DEPTH);
        TILE_LOAD(7, w->bytes[d][0]);
        TILE_DOT(uu, 0, 5, 7);
        TILE_DOT(su, 1, 6, 7);
        TILE_LOAD(7, w->bytes[d][1]);
        TILE_DOT(uu, 1, 5, 7);
        TILE_DOT(su, 2, 6, 7);
        TILE_LOAD(7, w->bytes[d][2]);
        if (bytes == 3) {
            TILE_DOT(us, 2, 5, 7);
            TILE_DOT(ss, 3, 6, 7);
        } else {
            TILE_DOT(uu, 2, 5, 7);
            TILE_DOT(su, 3, 6, 7);
            TILE_LOAD(7, w->bytes[d][3]);
            TILE_DOT(us, 3, 5, 7);
            TILE_DOT(ss, 4, 6, 7);
        }
    }
    TILE_STORE(0, sums->of[0]);
    TILE_STORE(1, sums->of[1]);
    TILE_STORE(2, sums->of[2]);
    TILE_STORE(3, sums->of[3]);
    if (bytes == 4) TILE_STORE(4, sums->of[4]);
}

/* Asks for what is read next; tiles are multiplied meanwhile. */
INLINE void prefetch(const uint8_t *p, int64_t bytes) {
    for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(p + i, 0, 2);
}

static void product(const Matrix *w, const uint8_t *group, int64_t groups, const Rows *rows, int64_t start, int64_t tokens,
                    TileSums sums[TILE_GROUPS][TILE_TOKENS / GROUP], int bytes[TILE_GROUPS]) {
    Weights weights;
    int64_t row_bytes = (rows->stride + DEPTH - 1) / DEPTH * 2 * GROUP * DEPTH, size = group_bytes(w->kind, w->columns);
    int fits[TILE_GROUPS];
    for (int g = 0; g < groups; g++) {
        bytes[g] = 0;
        fits[g] = w->columns <= COLUMNS;
    }
    for (int64_t first = 0; first < w->columns; first += CHUNK) {
        int64_t left = w->columns - first, count = left < CHUNK ? left : CHUNK, depths = (count + DEPTH - 1) / DEPTH;
        for (int g = 0; g < groups; g++) {
            const uint8_t *at = group + g * size, *chunk = at + group_bytes(w->kind, first);
            int had = bytes[g], some = fits[g] ? decode_chunk(w, at, first, count, &weights) : 0;
            fits[g] = some > 0;
            bytes[g] = fits[g] ? some > had ? some : had : 0;
            if (!fits[g]) continue;
            if (g + 1 < groups)
                prefetch(chunk + size, group_bytes(w->kind, count));
            else if (left > CHUNK)
                prefetch(chunk + group_bytes(w->kind, CHUNK) - g * size,
                         group_bytes(w->kind, left - CHUNK < CHUNK ? left - CHUNK : CHUNK));
            TILES_BARRIER();
            for (int64_t t = 0; t < tokens; t += GROUP) {
                int together = tokens - t < GROUP ? (int)(tokens - t) : GROUP;
                const uint8_t *x = rows->bytes + (start + t) / GROUP * row_bytes + first / DEPTH * 2 * GROUP * DEPTH;
                if (t == 0 || together < GROUP) TILES_CONFIGURE(together);
                multiply(some, had, x, &weights, depths, &sums[g][t / GROUP]);
            }
        }
    }
    TILES_RELEASE();
}

static void combine(int bytes, int tokens, const TileSums *sums, int64_t acc[GROUP][GROUP]) {
    for (int t = 0; t < tokens; t++)
        for (int r = 0; r < GROUP; r++) {
            int64_t low = sums->of[0][t][r] + ((int64_t)sums->of[1][t][r] << 8);
            int64_t high = sums->of[2][t][r] + ((int64_t)sums->of[3][t][r] << 8);
            acc[t][r] = low + (high << 16);
        }
    for (int t = 0; t < tokens && bytes == 4; t++)
        for (int r = 0; r < GROUP; r++) acc[t][r] += (int64_t)((uint64_t)(int64_t)sums->of[4][t][r] << 32);
}

#endif
