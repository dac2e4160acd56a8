/* How weight rows are packed, and how to read a packed block.
 *
 * Rows are packed 16 at a time, a vector lane each, with the bytes of two neighbouring columns together, because that
 * is the shape the dot-product instructions read. The packed matrix is as large as the original, but for BF16's twin F32,
 * which is rounded to int32:
 *   F16, BF16   per column: two bytes [16];  F32: int32[16]
 *   the others  per super block (256 columns for K-quants and IQ4_XS, else 32): half d[16], and half m[16] where there are
 *               minima; then for each 32 columns small factors, uint8 or int8 [16] each (`bytes16`), and the quants.
 * Quants, in the order [16 column pairs][16 rows][2]: Q8_0 int8; else those of their bits that there are, low ones first:
 *   nibbles[8][16][2]     (low: columns 0-15, high: 16-31)
 *   bit pairs[4][16][2]   (columns 0-7, 8-15, 16-23, 24-31 from the lowest bits up)
 *   single bits[2][16][2] (four columns a bit)
 */
#ifndef DIDYMA_QUANTS_H
#define DIDYMA_QUANTS_H

#include "kernels.h"
#define NIBBLES (8 * GROUP * 2)
#define PAIRS (4 * GROUP * 2)
#define BITS (2 * GROUP * 2)

INLINE int is_float(int64_t kind) { return kind == F16 || kind == BF16 || kind == F32; }

/* Blocks of 32 columns that share their fp16 numbers. */
INLINE int blocks_of(int64_t kind) {
    return kind == Q2_K || kind == Q3_K || kind == Q4_K || kind == Q5_K || kind == Q6_K || kind == IQ4_XS ? 8 : 1;
}

/* Whether there is an fp16 minimum beside the scale: added for Q4_1 and Q5_1, times a small factor subtracted for others. */
INLINE int has_minimum(int64_t kind) {
    return kind == Q4_1 || kind == Q5_1 || kind == Q2_K || kind == Q4_K || kind == Q5_K;
}

/* Whether each 16 columns have a factor of their own. */
INLINE int has_two(int64_t kind) { return kind == Q2_K || kind == Q3_K || kind == Q6_K; }

/* Small factors of a block: of the scale, one or two; then of the minimum. */
INLINE int bytes16(int64_t kind) {
    return kind == Q2_K ? 4 : kind == Q3_K || kind == Q4_K || kind == Q5_K || kind == Q6_K ? 2 : kind == IQ4_XS ? 1 : 0;
}

INLINE int signed_factors(int64_t kind) { return kind == Q3_K || kind == Q6_K || kind == IQ4_XS; }

INLINE int has_nibbles(int64_t kind) { return kind != Q8_0 && kind != Q2_K && kind != Q3_K; }

INLINE int has_pairs(int64_t kind) { return kind == Q2_K || kind == Q3_K || kind == Q6_K; }

INLINE int has_bits(int64_t kind) { return kind == Q5_0 || kind == Q5_1 || kind == Q5_K || kind == Q3_K; }

INLINE int has_codes(int64_t kind) { return kind == IQ4_NL || kind == IQ4_XS; }

/* What is taken off a stored quant. */
INLINE int offset_of(int64_t kind) {
    return kind == Q6_K ? 32 : kind == Q5_0 ? 16 : kind == Q4_0 ? 8 : kind == Q3_K ? 4 : 0;
}

INLINE int64_t block_bytes(int64_t kind) {
    if (kind == Q8_0) return BLOCK * GROUP;
    return bytes16(kind) * GROUP + has_nibbles(kind) * NIBBLES + has_pairs(kind) * PAIRS + has_bits(kind) * BITS;
}

INLINE int64_t super_bytes(int64_t kind) {
    return 2 * GROUP * (1 + has_minimum(kind)) + blocks_of(kind) * block_bytes(kind);
}

INLINE int64_t group_bytes(int64_t kind, int64_t columns) {
    if (is_float(kind)) return columns * GROUP * (kind == F32 ? 4 : 2);
    return columns / BLOCK / blocks_of(kind) * super_bytes(kind);
}

/* A finite half-precision number in units of 2^-24. */
INLINE int64_t half_integer(uint16_t h) {
    int exponent = (h >> 10) & 31;
    int64_t mantissa = h & 1023;
    int64_t v = exponent ? (mantissa | 1024) << (exponent - 1) : mantissa;
    return h & 0x8000 ? -v : v;
}

INLINE uint16_t load16(const uint8_t *p) {
    uint16_t v;
    memcpy(&v, p, 2);
    return v;
}

INLINE int32_t load32(const uint8_t *p) {
    int32_t v;
    memcpy(&v, p, 4);
    return v;
}

/* A float times 2^bits, to nearest, halves upward. Below 2^31, as weights are that load. */
INLINE int32_t float_integer(uint32_t raw, int64_t bits) {
    float f;
    memcpy(&f, &raw, 4);
    double v = (double)f * (double)((int64_t)1 << bits) + 0.5; /* tiny numbers become 1/2: the floor is right */
    int64_t down = (int64_t)v;
    return (int32_t)(down - ((double)down > v));
}

/* Where the sixteen fp16 scales of block b are, before what K-quants multiply them with; minima follow them. */
INLINE const uint8_t *super_start(int64_t kind, const uint8_t *group, int64_t b) {
    return group + b / blocks_of(kind) * super_bytes(kind);
}

/* Where block b's own bytes begin. */
INLINE const uint8_t *block_start(int64_t kind, const uint8_t *group, int64_t b) {
    return super_start(kind, group, b) + 2 * GROUP * (1 + has_minimum(kind)) + b % blocks_of(kind) * block_bytes(kind);
}

/* What the nibbles of IQ4_NL and IQ4_XS stand for. */
static const int8_t CODES[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

INLINE void decode(int8_t q[BLOCK * GROUP]) {
#if defined(__GNUC__) && !defined(__clang__)
    typedef int8_t sixteen __attribute__((vector_size(16)));
    sixteen codes, some;
    memcpy(&codes, CODES, 16);
#pragma GCC unroll 32
    for (int i = 0; i < BLOCK * GROUP; i += 16) {
        memcpy(&some, q + i, 16);
        some = __builtin_shuffle(codes, some);
        memcpy(q + i, &some, 16);
    }
#else
    for (int i = 0; i < BLOCK * GROUP; i++) q[i] = CODES[q[i]];
#endif
}

/* Block b's quants as [16 column pairs][16 rows][2]: where they lie, or unpacked into `buffer`. */
INLINE const int8_t *quants(int64_t kind, const uint8_t *group, int64_t b, int8_t buffer[BLOCK * GROUP]) {
    const uint8_t *p = block_start(kind, group, b) + bytes16(kind) * GROUP;
    if (kind == Q8_0) return (const int8_t *)p;
    const uint8_t *pairs = p + has_nibbles(kind) * NIBBLES, *bits = pairs + has_pairs(kind) * PAIRS;
    int above = has_nibbles(kind) ? 4 : 0, offset = offset_of(kind);
#pragma GCC unroll 8
    for (int part = 0; part < 8; part++) /* 64 quants */
        for (int j = 0; j < BITS; j++) {
            int at = part * BITS + j, q = 0;
            if (has_nibbles(kind)) q = p[at % NIBBLES] >> 4 * (part / 4) & 15;
            if (has_pairs(kind)) q |= (pairs[at % PAIRS] >> 2 * (part / 2) & 3) << above;
            if (has_bits(kind)) q |= (bits[j] >> part & 1) << (has_pairs(kind) ? 2 : 4);
            buffer[at] = (int8_t)(q - offset);
        }
    if (has_codes(kind)) decode(buffer);
    return buffer;
}

#define EACH_KIND(of)                                                                                                 \
    of(F32) of(F16) of(BF16) of(Q4_0) of(Q4_1) of(Q5_0) of(Q5_1) of(Q8_0) of(Q2_K) of(Q3_K) of(Q4_K) of(Q5_K) of(Q6_K) \
    of(IQ4_NL) of(IQ4_XS)

#endif
