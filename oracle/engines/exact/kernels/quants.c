/* GGUF rows into the packed form (quants.h).
 *
 * `weights.load` has already refused scales that are not finite and rows whose sums could leave int64.
 */
#include "fixed.h"
#include "quants.h"

/* 32 columns of one GGUF row. */
typedef struct {
    uint8_t q[BLOCK]; /* as stored, before an offset or codes */
    uint16_t d, m;
    uint8_t scale[2], min[2];
} RowBlock;

INLINE void read_nibbles(const uint8_t *p, uint8_t q[BLOCK]) {
    for (int i = 0; i < HALF; i++) {
        q[i] = p[i] & 15;
        q[i + HALF] = p[i] >> 4;
    }
}

/* 32 of a super block of 256, as K-quants have them. */
INLINE void read_k(int64_t kind, const uint8_t *p, int j, RowBlock *out) {
    if (kind == Q4_K || kind == Q5_K) {
        const uint8_t *s = p + 4, *q = p + (kind == Q4_K ? 16 : 48) + j / 2 * 32;
        out->d = load16(p);
        out->m = load16(p + 2);
        out->scale[0] = j < 4 ? s[j] & 63 : (s[j + 4] & 15) | (s[j - 4] >> 6) << 4;
        out->min[0] = j < 4 ? s[j + 4] & 63 : s[j + 4] >> 4 | (s[j] >> 6) << 4;
        for (int i = 0; i < BLOCK; i++) {
            out->q[i] = q[i] >> 4 * (j % 2) & 15;
            if (kind == Q5_K) out->q[i] |= (p[16 + i] >> j & 1) << 4;
        }
    } else if (kind == IQ4_XS) {
        int low = p[4 + j / 2] >> 4 * (j % 2) & 15, high = p[2 + j / 4] >> 2 * (j % 4) & 3;
        out->d = load16(p);
        out->scale[0] = (uint8_t)((low | high << 4) - 32);
        read_nibbles(p + 8 + 16 * j, out->q);
    } else if (kind == Q6_K) {
        int half = j / 4, part = j % 4; /* 128 columns; then the 32 of them */
        out->d = load16(p + 208);
        memcpy(out->scale, p + 192 + j * 2, 2);
        for (int i = 0; i < BLOCK; i++) {
            int low = p[half * 64 + part % 2 * 32 + i] >> 4 * (part / 2) & 15;
            int high = p[128 + half * 32 + i] >> 2 * part & 3;
            out->q[i] = (uint8_t)(low | high << 4);
        }
    } else {
        const uint8_t *q = p + (kind == Q2_K ? 16 : 32) + j / 4 * 32;
        out->d = load16(p + (kind == Q2_K ? 80 : 108));
        if (kind == Q2_K) out->m = load16(p + 82);
        for (int i = 0; i < BLOCK; i++) {
            out->q[i] = q[i] >> 2 * (j % 4) & 3;
            if (kind == Q3_K) out->q[i] |= (p[i] >> j & 1) << 2;
        }
        for (int half = 0; half < 2; half++) {
            int g = 2 * j + half;
            if (kind == Q2_K) {
                out->scale[half] = p[g] & 15;
                out->min[half] = p[g] >> 4;
            } else {
                int low = p[96 + g % 8] >> 4 * (g / 8) & 15, high = p[104 + g % 4] >> 2 * (g / 4) & 3;
                out->scale[half] = (uint8_t)((low | high << 4) - 32);
            }
        }
    }
}

INLINE int64_t row_block_bytes(int64_t kind) {
    switch (kind) {
    case Q4_0:
    case IQ4_NL: return 18;
    case Q4_1: return 20;
    case Q5_0: return 22;
    case Q5_1: return 24;
    case Q8_0: return 34;
    case Q2_K: return 84;
    case Q3_K: return 110;
    case IQ4_XS: return 136;
    case Q4_K: return 144;
    case Q5_K: return 176;
    default: return 210;
    }
}

INLINE void read_block(int64_t kind, const uint8_t *row, int64_t b, RowBlock *out) {
    memset(out, 0, sizeof *out);
    const uint8_t *p = row + b / blocks_of(kind) * row_block_bytes(kind);
    if (blocks_of(kind) == 8) {
        read_k(kind, p, (int)(b % 8), out);
        return;
    }
    out->d = load16(p);
    p += 2;
    if (has_minimum(kind)) {
        out->m = load16(p);
        p += 2;
    }
    uint32_t fifth = has_bits(kind) ? (uint32_t)load32(p) : 0;
    p += has_bits(kind) * 4;
    if (kind == Q8_0)
        memcpy(out->q, p, BLOCK);
    else
        read_nibbles(p, out->q);
    for (int i = 0; has_bits(kind) && i < BLOCK; i++) out->q[i] |= (fifth >> i & 1) << 4;
}

INLINE int64_t row_bytes(int64_t kind, int64_t columns) {
    if (is_float(kind)) return columns * (kind == F32 ? 4 : 2);
    return columns / BLOCK / blocks_of(kind) * row_block_bytes(kind);
}

typedef struct {
    Matrix *w;
    const uint8_t *raw;
    int64_t first, count;
    int wide[MAX_THREADS];
} Packing;

/* Pack one row of floats, or zeros where `row` is NULL. */
INLINE void pack_floats(int64_t kind, const Matrix *w, int64_t r, uint8_t *group, const uint8_t *row, int *wide) {
    for (int64_t k = 0; k < w->columns; k++) {
        if (kind == F32) {
            int32_t v = row ? float_integer((uint32_t)load32(row + 4 * k), w->bits) : 0;
            memcpy(group + (k * GROUP + r) * 4, &v, 4);
        } else {
            uint16_t h = row ? load16(row + 2 * k) : 0;
            memcpy(group + (k * GROUP + r) * 2, &h, 2);
            *wide |= kind == F16 && magnitude(half_integer(h)) > INT32_MAX;
        }
    }
}

/* Pack one row, or a row of zeros where `row` is NULL. */
INLINE void pack_row(int64_t kind, const Matrix *w, int64_t at_row, const uint8_t *row, int *wide) {
    int64_t r = at_row % GROUP;
    uint8_t *group = w->data + at_row / GROUP * group_bytes(kind, w->columns);
    if (is_float(kind)) {
        pack_floats(kind, w, r, group, row, wide);
        return;
    }
    for (int64_t b = 0; b < w->columns / BLOCK; b++) {
        RowBlock x = {0};
        if (row) read_block(kind, row, b, &x);
        uint8_t *p = (uint8_t *)block_start(kind, group, b), *super = (uint8_t *)super_start(kind, group, b);
        memcpy(super + 2 * r, &x.d, 2);
        if (has_minimum(kind)) memcpy(super + 2 * GROUP + 2 * r, &x.m, 2);
        int scales = has_two(kind) ? 2 : 1, factors = bytes16(kind);
        for (int i = 0; i < factors; i++) p[i * GROUP + r] = i < scales ? x.scale[i] : x.min[i - scales];
        p += factors * GROUP;
        uint8_t *pairs = p + has_nibbles(kind) * NIBBLES, *bits = pairs + has_pairs(kind) * PAIRS;
        for (int i = 0; i < BLOCK; i++) {
            int64_t at = i / 2 * GROUP * 2 + r * 2 + i % 2;
            uint8_t q = x.q[i];
            if (kind == Q8_0) p[at] = q;
            if (has_nibbles(kind)) p[at % NIBBLES] = (uint8_t)(at < NIBBLES ? q & 15 : p[at % NIBBLES] | (q & 15) << 4);
            if (has_pairs(kind)) {
                int shift = 2 * (int)(at / PAIRS);
                uint8_t *pair = pairs + at % PAIRS;
                *pair = (uint8_t)((shift ? *pair : 0) | ((has_nibbles(kind) ? q >> 4 : q) & 3) << shift);
            }
            if (has_bits(kind)) {
                int shift = (int)(at / BITS);
                uint8_t *bit = bits + at % BITS;
                *bit = (uint8_t)((shift ? *bit : 0) | (q >> (has_pairs(kind) ? 2 : 4) & 1) << shift);
            }
        }
        int64_t d = half_integer(x.d), m = half_integer(x.m);
        for (int half = 0; half < 2; half++) {
            int64_t factor = signed_factors(kind) ? (int8_t)x.scale[half] : x.scale[half];
            *wide |= magnitude(factors ? d * factor : d) > INT32_MAX;
            *wide |= magnitude(factors ? m * x.min[half] : m) > INT32_MAX;
        }
    }
}

static void pack_groups(void *context, int64_t item, int thread) {
    Packing *p = context;
    int64_t bytes = row_bytes(p->w->kind, p->w->columns);
    for (int64_t n = item * GROUP; n < (item + 1) * GROUP; n++) {
        const uint8_t *row = n < p->count ? p->raw + n * bytes : NULL;
        switch (p->w->kind) {
#define AS(kind) case kind: pack_row(kind, p->w, p->first + n, row, &p->wide[thread]); break;
            EACH_KIND(AS)
        }
    }
}

/* Pack rows [first, first + count) from their GGUF bytes; `first` is a multiple of 16. Sets w->wide where needed. */
EXPORT void didyma_pack(Matrix *w, const uint8_t *raw, int64_t first, int64_t count, int threads) {
    Packing p = {.w = w, .raw = raw, .first = first, .count = count};
    parallel(threads, (count + GROUP - 1) / GROUP, pack_groups, &p);
    for (int i = 0; i < MAX_THREADS; i++) w->wide |= p.wide[i];
}

EXPORT int64_t didyma_packed_bytes(int64_t kind, int64_t rows, int64_t columns) {
    return (rows + GROUP - 1) / GROUP * group_bytes(kind, columns);
}
