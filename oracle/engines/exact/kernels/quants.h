/* How weight rows are packed, and how to read a packed block.
 *
 * Rows are packed 16 at a time, a vector lane each, with the bytes of two neighbouring columns together, because that
 * is the shape the dot-product instructions read. The packed matrix is as large as the original:
 *   F16    per column: half[16]
 *   Q8_0   per 32 columns: half scale[16], int8 q[16][16][2]
 *   Q4_0   per 32 columns: half scale[16], nibbles[8][16][2] (low: columns 0-15, high: 16-31)
 *   Q4_K   per 256 columns: half d[16], half dmin[16], then 8 of {uint8 scale[16], min[16], nibbles[8][16][2]}
 *   Q6_K   per 256 columns: half d[16], then 8 of {int8 scale[2][16], nibbles[8][16][2], bit pairs[4][16][2]}
 */
#ifndef DIDYMA_QUANTS_H
#define DIDYMA_QUANTS_H

#include "kernels.h"
#define NIBBLES (8 * GROUP * 2)
#define PAIRS (4 * GROUP * 2)
#define Q8_BLOCK (2 * GROUP + BLOCK * GROUP)
#define Q4_BLOCK (2 * GROUP + NIBBLES)
#define Q4K_SUB (2 * GROUP + NIBBLES)
#define Q4K_SUPER (4 * GROUP + 8 * Q4K_SUB)
#define Q6K_SUB (2 * GROUP + NIBBLES + PAIRS)
#define Q6K_SUPER (2 * GROUP + 8 * Q6K_SUB)

INLINE int64_t group_bytes(int64_t kind, int64_t columns) {
    switch (kind) {
    case F16: return columns * 2 * GROUP;
    case Q8_0: return columns / 32 * Q8_BLOCK;
    case Q4_0: return columns / 32 * Q4_BLOCK;
    case Q4_K: return columns / 256 * Q4K_SUPER;
    case Q6_K: return columns / 256 * Q6K_SUPER;
    default: return -1;
    }
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

/* Where block b of a packed group begins, and its superblock. */
INLINE const uint8_t *block_start(int64_t kind, const uint8_t *group, int64_t b) {
    switch (kind) {
    case Q8_0: return group + b * Q8_BLOCK;
    case Q4_0: return group + b * Q4_BLOCK;
    case Q4_K: return group + b / 8 * Q4K_SUPER + 4 * GROUP + b % 8 * Q4K_SUB;
    default: return group + b / 8 * Q6K_SUPER + 2 * GROUP + b % 8 * Q6K_SUB;
    }
}

INLINE const uint8_t *super_start(int64_t kind, const uint8_t *group, int64_t b) {
    return group + b / 8 * (kind == Q4_K ? Q4K_SUPER : Q6K_SUPER);
}

/* Where the sixteen fp16 scales of block b are, before what K-quants multiply them with. */
INLINE const uint8_t *scales_start(int64_t kind, const uint8_t *group, int64_t b) {
    return kind == Q8_0 || kind == Q4_0 ? block_start(kind, group, b) : super_start(kind, group, b);
}

/* Block b's quants as [16 column pairs][16 rows][2]: where they lie, or unpacked into `buffer`. */
INLINE const int8_t *quants(int64_t kind, const uint8_t *group, int64_t b, int8_t buffer[BLOCK * GROUP]) {
    const uint8_t *p = block_start(kind, group, b) + 2 * GROUP;
    if (kind == Q8_0) return (const int8_t *)p;
    int offset = kind == Q6_K ? 32 : kind == Q4_0 ? 8 : 0;
    for (int half = 0; half < 2; half++)
        for (int part = 0; part < 2; part++)
            for (int j = 0; j < PAIRS; j++) {
                int q = p[part * PAIRS + j] >> 4 * half & 15;
                if (kind == Q6_K) q |= (p[NIBBLES + j] >> 2 * (2 * half + part) & 3) << 4;
                buffer[half * NIBBLES + part * PAIRS + j] = (int8_t)(q - offset);
            }
    return buffer;
}

#endif
