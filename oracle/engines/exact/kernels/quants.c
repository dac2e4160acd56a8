/* GGUF rows into the packed form (quants.h).
 *
 * `weights.load` has already refused scales that are not finite and rows whose sums could leave int64.
 */
#include "quants.h"

/* 32 columns of one GGUF row. */
typedef struct {
    int8_t q[BLOCK];
    uint16_t d, dmin;
    uint8_t scale[2], min;
} RowBlock;

INLINE void read_block(int64_t kind, const uint8_t *row, int64_t b, RowBlock *out) {
    memset(out, 0, sizeof *out);
    if (kind == Q8_0) {
        const uint8_t *p = row + b * 34;
        out->d = load16(p);
        memcpy(out->q, p + 2, BLOCK);
    } else if (kind == Q4_0) {
        const uint8_t *p = row + b * 18;
        out->d = load16(p);
        for (int i = 0; i < 16; i++) {
            out->q[i] = p[2 + i] & 15;
            out->q[i + 16] = p[2 + i] >> 4;
        }
    } else if (kind == Q4_K) {
        const uint8_t *p = row + b / 8 * 144, *s = p + 4;
        int j = (int)(b % 8);
        out->d = load16(p);
        out->dmin = load16(p + 2);
        out->scale[0] = j < 4 ? s[j] & 63 : (s[j + 4] & 15) | (s[j - 4] >> 6) << 4;
        out->min = j < 4 ? s[j + 4] & 63 : s[j + 4] >> 4 | (s[j] >> 6) << 4;
        for (int i = 0; i < BLOCK; i++) out->q[i] = p[16 + j / 2 * 32 + i] >> 4 * (j % 2) & 15;
    } else {
        const uint8_t *p = row + b / 8 * 210;
        int half = (int)(b % 8) / 4, j = (int)(b % 4); /* 128 columns; then the 32 of them */
        out->d = load16(p + 208);
        memcpy(out->scale, p + 192 + b % 8 * 2, 2);
        for (int i = 0; i < BLOCK; i++) {
            int low = p[half * 64 + j % 2 * 32 + i] >> 4 * (j / 2) & 15;
            int high = p[128 + half * 32 + i] >> 2 * j & 3;
            out->q[i] = (int8_t)(low | high << 4);
        }
    }
}

INLINE int64_t row_bytes(int64_t kind, int64_t columns) {
    switch (kind) {
    case F16: return columns * 2;
    case Q8_0: return columns / 32 * 34;
    case Q4_0: return columns / 32 * 18;
    case Q4_K: return columns / 256 * 144;
    default: return columns / 256 * 210;
    }
}

typedef struct {
    Matrix *w;
    const uint8_t *raw;
    int64_t first, count;
    int wide[MAX_THREADS];
} Packing;

/* Pack one row, or a row of zeros where `row` is NULL. */
INLINE void pack_row(int64_t kind, const Matrix *w, int64_t at_row, const uint8_t *row, int *wide) {
    int64_t r = at_row % GROUP;
    uint8_t *group = w->data + at_row / GROUP * group_bytes(kind, w->columns);
    for (int64_t k = 0; kind == F16 && k < w->columns; k++) {
        uint16_t h = row ? load16(row + 2 * k) : 0;
        memcpy(group + (k * GROUP + r) * 2, &h, 2);
        *wide |= magnitude(half_integer(h)) > INT32_MAX;
    }
    for (int64_t b = 0; kind != F16 && b < w->columns / BLOCK; b++) {
        RowBlock x = {0};
        if (row) read_block(kind, row, b, &x);
        uint8_t *p = (uint8_t *)block_start(kind, group, b), *super = (uint8_t *)super_start(kind, group, b);
        memcpy((kind == Q8_0 || kind == Q4_0 ? p : super) + 2 * r, &x.d, 2);
        if (kind == Q4_K) {
            memcpy(super + 2 * GROUP + 2 * r, &x.dmin, 2);
            p[r] = x.scale[0];
            p[GROUP + r] = x.min;
        }
        if (kind == Q6_K) {
            p[r] = x.scale[0];
            p[GROUP + r] = x.scale[1];
        }
        p += 2 * GROUP;
        for (int i = 0; kind == Q8_0 && i < BLOCK; i += 2) memcpy(p + i * GROUP + r * 2, x.q + i, 2);
        for (int i = 0; kind != Q8_0 && i < BLOCK; i++) {
            int64_t at = i / 2 * GROUP * 2 + r * 2 + i % 2, low = at % NIBBLES;
            uint8_t q = (uint8_t)x.q[i];
            p[low] = (uint8_t)(i < 16 ? q & 15 : p[low] | (q & 15) << 4);
            if (kind != Q6_K) continue;
            uint8_t *pair = p + NIBBLES + at % PAIRS;
            int shift = 2 * (int)(at / PAIRS);
            *pair = (uint8_t)((shift ? *pair : 0) | (q >> 4) << shift);
        }
        int64_t d = half_integer(x.d);
        *wide |= magnitude(half_integer(x.dmin) * x.min) > INT32_MAX;
        for (int half = 0; half < 2; half++) {
            int64_t scale = kind == Q6_K ? d * (int8_t)x.scale[half] : kind == Q4_K ? d * x.scale[0] : d;
            *wide |= magnitude(scale) > INT32_MAX;
        }
    }
}

static void pack_groups(void *context, int64_t item, int thread) {
    Packing *p = context;
    int64_t bytes = row_bytes(p->w->kind, p->w->columns);
    for (int64_t n = item * GROUP; n < (item + 1) * GROUP; n++) {
        const uint8_t *row = n < p->count ? p->raw + n * bytes : NULL;
#define AS(kind) pack_row(kind, p->w, p->first + n, row, &p->wide[thread])
        switch (p->w->kind) {
        case F16: AS(F16); break;
        case Q8_0: AS(Q8_0); break;
        case Q4_0: AS(Q4_0); break;
        case Q4_K: AS(Q4_K); break;
        default: AS(Q6_K);
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
