/* Powers of two with negative exponents, by a table and interpolation; formulas and bounds: `powers.py`. */
#ifndef DIDYMA_POWERS_H
#define DIDYMA_POWERS_H

#include "kernels.h"

/* Entry i of powers: T[i+1] - T[i] above T[i]. */
INLINE void look_up(const int64_t *t, int64_t count, const int64_t *powers, int64_t *entry) {
    for (int64_t i = 0; i < count; i++) entry[i] = powers[t[i] >> 8 & 255];
}

/* 2^-t with t at 16 fraction bits, 0 <= t < 2^37: R(E, extra + k). */
INLINE int64_t power(int64_t t, int64_t entry, int extra) {
    int64_t k = t >> 16, f = t & 255;
    k = (k < 32 ? k : 32) + extra;
    int64_t exact = (entry & UINT32_MAX) + (((entry >> 32) * f + 128) >> 8);
    return ((2 * exact >> k) + 1) >> 1;
}

#endif
