/* How weight rows are packed, and how to read a packed block.
 *
 * Rows are packed 16 at a time, a vector lane each, with the bytes of four neighbouring columns together, because
 * that is the shape the dot-product instructions read. The packed matrix is as large as the original:
 *   F16    per column: half[16]
 *   Q8_0   per 32 columns: half scale[16], int8 q[8][16][4]
 *   Q4_0   per 32 columns: half scale[16], nibbles[4][16][4] (low: columns 0-15, high: 16-31)
 *   Q4_K   per 256 columns: half d[16], half dmin[16], then 8 of {uint8 scale[16], min[16], nibbles[4][16][4]}
 *   Q6_K   per 256 columns: half d[16], then 8 of {int8 scale[2][16], nibbles[4][16][4], bit pairs[2][16][4]}
 */
#ifndef DIDYMA_LAYOUT_H
#define DIDYMA_LAYOUT_H

#include "kernels.h"
#define NIBBLES (4 * GROUP * 4)
#define PAIRS (2 * GROUP * 4)
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

/* Block b of a packed group in plain form: quants, integer scale of each half block, integer minimum. */
INLINE void unpack(int64_t kind, const uint8_t *group, int64_t b, int8_t q[8][GROUP * 4], int64_t scale[2][GROUP],
                   int64_t min[GROUP]) {
    const uint8_t *p = block_start(kind, group, b), *super = super_start(kind, group, b);
    for (int r = 0; r < GROUP; r++) {
        int64_t d = half_integer(load16((kind == Q8_0 || kind == Q4_0 ? p : super) + 2 * r));
        min[r] = 0;
        if (kind == Q4_K) {
            min[r] = half_integer(load16(super + 2 * GROUP + 2 * r)) * p[GROUP + r];
            d *= p[r];
        }
        scale[0][r] = kind == Q6_K ? d * (int8_t)p[r] : d;
        scale[1][r] = kind == Q6_K ? d * (int8_t)p[GROUP + r] : d;
    }
    p += 2 * GROUP;
    if (kind == Q8_0) {
        memcpy(q, p, BLOCK * GROUP);
        return;
    }
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < GROUP * 4; j++) {
            uint8_t byte = p[i * GROUP * 4 + j];
            int low = byte & 15, high = byte >> 4;
            if (kind == Q6_K) {
                const uint8_t *pairs = p + NIBBLES + j;
                low |= (pairs[0] >> 2 * i & 3) << 4;
                high |= (pairs[GROUP * 4] >> 2 * i & 3) << 4;
            }
            int offset = kind == Q6_K ? 32 : kind == Q4_0 ? 8 : 0;
            q[i][j] = (int8_t)(low - offset);
            q[i + 4][j] = (int8_t)(high - offset);
        }
}

#endif
