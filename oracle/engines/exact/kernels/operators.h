/* The operators in portable C, compiled once for each instruction set; formulas and bounds: `operators.py`.
 *
 * Written for compilers to vectorize: no branches in loops, shifts that are the same for a row. Where the reference
 * divides, a double gives an estimate and integers correct it, so floating point never decides a bit.
 */
#ifndef DIDYMA_OPERATORS_H
#define DIDYMA_OPERATORS_H

#include "constants.h"
#include "fixed.h"
#include "kernels.h"
#include "powers.h"

#define PARTIAL 64 /* pairs whose products with a byte stay in int32: 128 * 32767 * 255 < 2^31 */

/* y = R(acc, down) + bias, saturated, for n rows of a group; with `add` then added to what `wide` holds. Written to `wide`,
 * or to `out` if that is NULL. bias: (n) or NULL; down >= 0. limited: products at their limit, then sums. */
INLINE void finish_rows(const int64_t *restrict acc, int64_t n, int down, const int64_t *restrict bias, int64_t largest, int add,
                   int32_t *restrict out, int64_t *restrict wide, int64_t limited[2]) {
    int64_t y[GROUP], half = down ? (int64_t)1 << (down - 1) : 0, products = 0, sums = 0;
    for (int r = 0; r < GROUP; r++) y[r] = (acc[r] + half) >> down;
    for (int64_t r = 0; r < n && bias; r++) y[r] += bias[r];
    for (int r = 0; r < GROUP; r++) {
        y[r] = saturate(y[r], largest);
        products += at_limit(y[r], largest);
    }
    if (!wide)
        for (int64_t r = 0; r < n; r++) out[r] = (int32_t)y[r];
    else if (!add)
        memcpy(wide, y, sizeof(int64_t) * (size_t)n);
    else
        for (int64_t r = 0; r < n; r++) {
            wide[r] = saturate(wide[r] + y[r], largest);
            sums += at_limit(wide[r], largest);
        }
    limited[0] += products;
    limited[1] += sums;
}

static void finish(const int64_t *restrict acc, int64_t n, int down, const int64_t *restrict bias, int64_t largest, int add,
                   int32_t *restrict out, int64_t *restrict wide, int64_t limited[2]) {
    if (n == GROUP) /* nearly always, and then without loops */
        finish_rows(acc, GROUP, down, bias, largest, add, out, wide, limited);
    else
        finish_rows(acc, n, down, bias, largest, add, out, wide, limited);
}

INLINE int shift_of(uint64_t bits) {
    int s = bit_length(bits) - 15;
    return s > 0 ? s : 0;
}

INLINE int row_shift(const int32_t *x, int64_t n) {
    uint32_t bits = 0;
    for (int64_t i = 0; i < n; i++) bits |= (uint32_t)(x[i] < 0 ? -x[i] : x[i]);
    return shift_of(bits);
}

/* R(x, s) without leaving int32: floor((floor(x / 2^(s-1)) + 1) / 2). */
INLINE int16_t mantissa32(int32_t x, int s) {
    int32_t m = s ? ((x >> (s - 1)) + 1) >> 1 : x;
    return (int16_t)(m > LARGEST_MANTISSA ? LARGEST_MANTISSA : m < -LARGEST_MANTISSA ? -LARGEST_MANTISSA : m);
}

INLINE int16_t mantissa64(int64_t x, int s) { return (int16_t)saturate(round_shift(x, s), LARGEST_MANTISSA); }

/* Row t's padding and sums of half blocks, from its mantissas. */
INLINE void complete(const Rows *rows, int64_t n, int64_t t) {
    int16_t *x = rows->x + t * rows->stride;
    for (int64_t k = n; k < rows->stride; k++) x[k] = 0;
    for (int64_t b = 0; b < rows->stride / HALF; b++) {
        int32_t sum = 0;
        for (int k = 0; k < HALF; k++) sum += x[b * HALF + k];
        rows->sums[t * (rows->stride / HALF) + b] = sum;
    }
}

static int quantize_head(const int32_t *x, int64_t n, int16_t *mantissa) {
    int s = row_shift(x, n);
    for (int64_t i = 0; i < n; i++) mantissa[i] = mantissa32(x[i], s);
    return s;
}

static void quantize(const int32_t *x, int64_t n, const Rows *rows, int64_t t) {
    rows->shift[t] = quantize_head(x, n, rows->x + t * rows->stride);
    complete(rows, n, t);
}

static void quantize_wide(const int64_t *x, int64_t n, const Rows *rows, int64_t t) {
    uint64_t bits = 0;
    for (int64_t i = 0; i < n; i++) bits |= (uint64_t)(x[i] < 0 ? -x[i] : x[i]);
    int s = shift_of(bits);
    int16_t *m = rows->x + t * rows->stride;
    if (s == 0)
        for (int64_t i = 0; i < n; i++) m[i] = (int16_t)x[i];
    else if (s <= 16)
        for (int64_t i = 0; i < n; i++) m[i] = mantissa32((int32_t)x[i], s);
    else
        for (int64_t i = 0; i < n; i++) m[i] = mantissa64(x[i], s);
    rows->shift[t] = s;
    complete(rows, n, t);
}

static int64_t normalize(const int64_t *restrict x, int64_t n, const int64_t *restrict weight, int64_t epsilon, int down,
                         int64_t largest, int64_t *restrict y) {
    uint64_t bits = 0;
    for (int64_t i = 0; i < n; i++) bits |= (uint64_t)(x[i] < 0 ? -x[i] : x[i]);
    int s = shift_of(bits), spare = s > 16 ? s - 16 : 0;
    int64_t squares = 0, saturated = 0;
    for (int64_t i = 0; i < n; i++) {
        int32_t m = s > 16 ? mantissa64(x[i], s) : mantissa32((int32_t)x[i], s);
        squares += m * m;
    }
    int64_t r = root(((squares << 18) / n + (epsilon >> (2 * s < 62 ? 2 * s : 62))) << 14);
    int b = bit_length((uint64_t)r), by = b + s - spare - 10;
    int64_t inverse = ((int64_t)1 << (30 + b)) / r;
    int64_t half = by > 0 ? (int64_t)1 << (by - 1) : 0, end = (int64_t)1 << (down - 1);
    int64_t spared = spare ? (int64_t)1 << (spare - 1) : 0;
    int left = by < 0 ? -by : 0, right = by > 0 ? by : 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t unit = (int64_t)((uint64_t)((((x[i] + spared) >> spare) * inverse + half) >> right) << left);
        y[i] = saturate((unit * weight[i] + end) >> down, largest);
        saturated += at_limit(y[i], largest);
    }
    return saturated;
}

/* Look-ups do not vectorize, what is around them does: so numbers are taken in pieces. */
#define PIECE 64

static int64_t gated(const int32_t *restrict gate, const int32_t *restrict up, int64_t n, int gelu,
                     const int64_t *restrict powers, int64_t *restrict act) {
    int64_t t[PIECE], entry[PIECE], saturated = 0;
    for (int64_t first = 0; first < n; first += PIECE, gate += PIECE, up += PIECE, act += PIECE) {
        int64_t count = n - first < PIECE ? n - first : PIECE;
        if (gelu)
            for (int64_t i = 0; i < count; i++) {
                int64_t a = gate[i] < 0 ? -gate[i] : gate[i];
                a = a < LARGEST_GELU ? a : LARGEST_GELU;
                int64_t cube = (((a * a + (1 << 17)) >> 18) * a + (1 << 17)) >> 18;
                t[i] = (a * GELU_LINEAR + cube * GELU_CUBIC + (1 << 25)) >> 26;
            }
        else
            for (int64_t i = 0; i < count; i++)
                t[i] = ((int64_t)(gate[i] < 0 ? -gate[i] : gate[i]) * LOG2_E + (1 << 25)) >> 26;
        look_up(t, count, powers, entry);
        for (int64_t i = 0; i < count; i++) {
            int64_t g = gate[i], one = (int64_t)1 << 30, e = power(t[i], entry[i], 0);
            int64_t by = one + e, of = ((g < 0 ? e : one) << 24) + (by >> 1);
            int64_t sigma = (int64_t)((double)of / (double)by); /* off by one at most: below 2^25 */
            int64_t rest = of - sigma * by;
            sigma += (rest >= by) - (rest < 0);
            int64_t h = (g * sigma + (1 << 23)) >> 24;
            act[i] = saturate((h * up[i] + (1 << 11)) >> 12, LARGEST_ACT);
            saturated += at_limit(act[i], LARGEST_ACT);
        }
    }
    return saturated;
}

static int32_t score(const int64_t *restrict dots, int64_t scale, int query_shift, const int32_t *restrict key_shift,
                     int64_t count, int32_t *restrict z, int64_t *saturated) {
    int64_t at = 0;
    int32_t largest = -INT32;
    for (int64_t j = 0; j < count; j++) {
        int64_t down = 44 - query_shift - key_shift[j];
        int64_t v = saturate(((dots[j] * scale >> (down - 1)) + 1) >> 1, INT32);
        z[j] = (int32_t)v;
        at += at_limit(v, INT32);
        largest = z[j] > largest ? z[j] : largest;
    }
    *saturated += at;
    return largest;
}

static int64_t share(int32_t *restrict z, int32_t largest, int64_t count, const int64_t *restrict powers) {
    int64_t t[PIECE], entry[PIECE], total = 0;
    for (int64_t first = 0; first < count; first += PIECE, z += PIECE) {
        int64_t some = count - first < PIECE ? count - first : PIECE;
        for (int64_t j = 0; j < some; j++) {
            int64_t below = (int64_t)largest - z[j];
            below = below < 1 << 22 ? below : 1 << 22; /* e^-64 is 0 at 22 bits, and so is all below it */
            t[j] = (below * LOG2_E + (1 << 23)) >> 24;
        }
        look_up(t, some, powers, entry);
        for (int64_t j = 0; j < some; j++) {
            int64_t e = power(t[j], entry[j], 8);
            z[j] = (int32_t)e;
            total += e;
        }
    }
    return total;
}

__attribute__((unused)) static void dots(const int16_t *high, const int16_t *low, int64_t queries, int64_t pairs,
                                         const int16_t *keys, int64_t *out, int64_t stride) {
    for (int64_t q = 0; q < queries; q++) {
        int64_t *sum = out + q * stride;
        for (int i = 0; i < GROUP; i++) sum[i] = 0;
        for (int64_t first = 0; first < pairs; first += PARTIAL) {
            int32_t a[GROUP] = {0}, b[GROUP] = {0};
            for (int64_t p = first; p < pairs && p < first + PARTIAL; p++) {
                const int16_t *h = high + (q * pairs + p) * 2, *l = low + (q * pairs + p) * 2, *k = keys + p * 2 * GROUP;
                for (int i = 0; i < GROUP; i++) {
                    a[i] += h[0] * k[2 * i] + h[1] * k[2 * i + 1];
                    b[i] += l[0] * k[2 * i] + l[1] * k[2 * i + 1];
                }
            }
            for (int i = 0; i < GROUP; i++) sum[i] += (int64_t)a[i] * 256 + b[i];
        }
    }
}

__attribute__((unused)) static void mix(const int32_t *e, int64_t e_stride, int64_t queries, const int32_t *v,
                                        int64_t width, int64_t count, int64_t *out) {
    for (int64_t q = 0; q < queries; q++)
        for (int64_t w = 0; w < width; w += GROUP) {
            int64_t sum[GROUP] = {0};
            for (int64_t j = 0; j < count; j++) {
                int64_t share = e[q * e_stride + j];
                for (int i = 0; i < GROUP; i++) sum[i] += share * v[j * width + w + i];
            }
            memcpy(out + q * width + w, sum, sizeof sum);
        }
}

static void divide(const int64_t *sum, int64_t total, int64_t n, int32_t *out) {
    for (int64_t i = 0; i < n; i++) {
        int64_t of = (sum[i] < 0 ? -sum[i] : sum[i]) + (total >> 1);
        int64_t quotient = (int64_t)((double)of / (double)total); /* off by one at most: below 2^26 */
        int64_t rest = of - quotient * total;
        quotient += (rest >= total) - (rest < 0);
        out[i] = (int32_t)(sum[i] < 0 ? -quotient : quotient);
    }
}

#endif
