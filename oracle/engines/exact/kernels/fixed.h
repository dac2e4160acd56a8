/* Rounding and saturation of 64-bit integers; definitions: `fixed.py`. */
#ifndef DIDYMA_FIXED_H
#define DIDYMA_FIXED_H

#include "kernels.h"

#include <math.h>

/* R(v, s), `shift` of the reference. */
INLINE int64_t round_shift(int64_t v, int s) {
    return s <= 0 ? (int64_t)((uint64_t)v << -s) : (v + ((int64_t)1 << (s - 1))) >> s;
}

INLINE int64_t saturate(int64_t v, int64_t largest) { return v > largest ? largest : v < -largest ? -largest : v; }

INLINE int at_limit(int64_t v, int64_t largest) { return (v == largest) | (v == -largest); }

INLINE int bit_length(uint64_t v) { return v ? 64 - __builtin_clzll(v) : 0; }

INLINE uint64_t magnitude(int64_t v) { return v < 0 ? -(uint64_t)v : (uint64_t)v; }

/* floor(sqrt(v)), v < 2^63. */
INLINE int64_t root(int64_t v) {
    int64_t r = (int64_t)sqrt((double)v);
    while ((uint64_t)r * (uint64_t)r > (uint64_t)v) r--;
    while ((uint64_t)(r + 1) * (uint64_t)(r + 1) <= (uint64_t)v) r++;
    return r;
}

#endif
