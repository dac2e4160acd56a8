/* What Python calls (`cpu_kernels.py`): the operators over many rows and heads, shared out to threads.
 *
 * All pointers are the caller's and stay valid during the call. Shapes are in the comments, the last axis contiguous.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "constants.h"
#include "fixed.h"
#include "quants.h"

#include <stdlib.h>
#if defined(ARM_VARIANTS)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#define GROUPS_AT_ONCE 4 /* packed groups that a thread takes at a time */

/* From the slowest to the fastest. */
static const Variant *const VARIANTS[] = {
    &plain_variant,
#if defined(X86_VARIANTS)
    &avx2_variant, &avx512_variant,
#elif defined(ARM_VARIANTS)
    &neon_variant, &i8mm_variant,
#endif
};

/* The name of a variant that was built, or NULL: there are no more. */
EXPORT const char *didyma_variant_name(int variant) {
    return variant < (int)(sizeof VARIANTS / sizeof *VARIANTS) ? VARIANTS[variant]->name : NULL;
}

/* The number of the fastest variant that this processor runs; those below it run as well. */
EXPORT int didyma_best_variant(void) {
#if defined(X86_VARIANTS)
    __builtin_cpu_init(); /* every processor with AVX2 and FMA also has F16C */
    int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
               __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt");
    int avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                 __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                 __builtin_cpu_supports("avx512vnni");
    return avx2 ? 1 + avx512 : 0;
#elif defined(ARM_VARIANTS)
    int dot = (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0, i8mm = (getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0;
    return dot ? 1 + i8mm : 0;
#else
    return 0;
#endif
}

/* Threads that are worth waking for so many multiplications or so. */
static int worth(int threads, int64_t work) { return work < 1 << 17 ? 1 : threads; }

/* LINEAR */

typedef struct {
    const Variant *variant;
    const Matrix *w;
    const Rows *rows;
    int64_t tokens;
    int down;
    const int64_t *bias;
    int64_t largest;
    int32_t *out;  /* or */
    int64_t *wide; /* the residual stream: written, or with `add` added to */
    int add;
    int64_t *saturated;
} Linear;

static void linear(void *context, int64_t item, int thread) {
    (void)thread;
    const Linear *l = context;
    const Matrix *w = l->w;
    int64_t groups = (w->rows + GROUP - 1) / GROUP, bytes = group_bytes(w->kind, w->columns);
    int64_t end = (item + 1) * GROUPS_AT_ONCE < groups ? (item + 1) * GROUPS_AT_ONCE : groups;
    int64_t products = 0, sums = 0;
    for (int64_t g = item * GROUPS_AT_ONCE; g < end; g++)
        for (int64_t first = 0, tokens; first < l->tokens; first += tokens) {
            int64_t acc[TILE][GROUP], left = l->tokens - first;
            tokens = left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
            l->variant->dot(w, w->data + g * bytes, l->rows, first, (int)tokens, acc);
            for (int t = 0; t < tokens; t++) {
                int64_t at = (first + t) * w->rows;
                int s = l->down - l->rows->shift[first + t];
                for (int64_t r = g * GROUP; r < (g + 1) * GROUP && r < w->rows; r++) {
                    int64_t y = round_shift(acc[t][r % GROUP], s);
                    y = saturate(l->bias ? y + l->bias[r] : y, l->largest);
                    products += at_limit(y, l->largest);
                    if (l->add) {
                        y = saturate(l->wide[at + r] + y, l->largest);
                        sums += at_limit(y, l->largest);
                    }
                    if (l->wide)
                        l->wide[at + r] = y;
                    else
                        l->out[at + r] = (int32_t)y;
                }
            }
        }
    add_count(l->saturated, products);
    add_count(l->saturated + 1, sums);
}

/* out (tokens, rows) = R(rows . weights, down - row's shift) + bias, at most `largest`. bias: (rows) or NULL. Either
 * `out` or `wide` is NULL; `add`: to what is there. saturated[0]: products at their limit, [1]: sums. */
EXPORT void didyma_linear(int variant, int threads, const Matrix *w, const Rows *rows, int64_t tokens, int down,
                          const int64_t *bias, int64_t largest, int add, int32_t *out, int64_t *wide,
                          int64_t *saturated) {
    Linear l = {VARIANTS[w->wide ? 0 : variant], w, rows, tokens, down, bias, largest, out, wide, add, saturated};
    int64_t groups = (w->rows + GROUP - 1) / GROUP;
    parallel(worth(threads, tokens * w->rows * w->columns), (groups + GROUPS_AT_ONCE - 1) / GROUPS_AT_ONCE, linear, &l);
}

/* ROWS */

typedef struct {
    const Variant *variant;
    const int32_t *x, *up;
    const int64_t *residual;
    int64_t columns, epsilon, largest;
    const int64_t *table; /* norm weights, or powers */
    int down;
    const Rows *rows;
    int64_t *wide; /* (threads, columns) */
    int64_t *saturated;
} Each;

static void normalize_row(void *context, int64_t t, int thread) {
    const Each *e = context;
    int64_t *y = e->wide + thread * e->columns;
    add_count(e->saturated, e->variant->normalize(e->residual + t * e->columns, e->columns, e->table, e->epsilon, e->down,
                                                  e->largest, y));
    e->variant->quantize_wide(y, e->columns, e->rows, t);
}

static void quantize_row(void *context, int64_t t, int thread) {
    (void)thread;
    const Each *e = context;
    e->variant->quantize(e->x + t * e->columns, e->columns, e->rows, t);
}

static void gate_row(void *context, int64_t t, int thread) {
    const Each *e = context;
    int64_t *act = e->wide + thread * e->columns, at = t * e->columns;
    add_count(e->saturated, e->variant->gated(e->x + at, e->up + at, e->columns, e->table, act));
    e->variant->quantize_wide(act, e->columns, e->rows, t);
}

/* rows = quantized R(x / rms(x) * weight, down). x: (tokens, columns). Returns 0, or -1 without memory. */
EXPORT int didyma_normalize(int variant, int threads, const int64_t *x, int64_t tokens, int64_t columns,
                            const int64_t *weight, int64_t epsilon, int down, int64_t largest, const Rows *rows,
                            int64_t *saturated) {
    int64_t *wide = malloc(sizeof(int64_t) * (size_t)columns * MAX_THREADS);
    if (!wide) return -1;
    Each e = {.variant = VARIANTS[variant], .residual = x, .columns = columns, .epsilon = epsilon, .largest = largest,
              .table = weight, .down = down, .rows = rows, .wide = wide, .saturated = saturated};
    parallel(worth(threads, 8 * tokens * columns), tokens, normalize_row, &e);
    free(wide);
    return 0;
}

EXPORT void didyma_quantize(int variant, int threads, const int32_t *x, int64_t tokens, int64_t columns,
                            const Rows *rows) {
    Each e = {.variant = VARIANTS[variant], .x = x, .columns = columns, .rows = rows};
    parallel(worth(threads, 4 * tokens * columns), tokens, quantize_row, &e);
}

/* rows = quantized SiLU(gate) * up. gate, up: (tokens, columns). Returns 0, or -1 without memory. */
EXPORT int didyma_gate(int variant, int threads, const int32_t *gate, const int32_t *up, int64_t tokens,
                       int64_t columns, const int64_t *powers, const Rows *rows, int64_t *saturated) {
    int64_t *wide = malloc(sizeof(int64_t) * (size_t)columns * MAX_THREADS);
    if (!wide) return -1;
    Each e = {.variant = VARIANTS[variant], .x = gate, .up = up, .columns = columns, .table = powers, .rows = rows,
              .wide = wide, .saturated = saturated};
    parallel(worth(threads, 16 * tokens * columns), tokens, gate_row, &e);
    free(wide);
    return 0;
}

/* ATTENTION */

/* One layer's heads and its share of a sequence's cache. */
typedef struct {
    int64_t heads, kv_heads, width, pairs, interleaved; /* pairs: of rotated numbers */
    int64_t half;                                       /* (width + 1) / 2 */
    int64_t padded;                                     /* width up to a multiple of 16 */
    int64_t capacity;                                   /* positions, a multiple of 16 */
    int64_t scale, epsilon;
    int64_t q_down, k_down;         /* shifts of normalised heads */
    const int64_t *q_norm, *k_norm; /* (width) or NULL */
    int16_t *keys;                  /* (kv_heads, capacity / 16, half, 16, 2) */
    int32_t *key_shift;             /* (kv_heads, capacity) */
    int32_t *values;                /* (kv_heads, capacity, padded) */
} Heads;

typedef struct {
    const Variant *variant;
    const Heads *h;
    int64_t tokens, start;
    const int32_t *q, *k, *v;
    const int64_t *cosines, *sines, *powers;
    int16_t *high, *low; /* (tokens, heads, half, 2) */
    int32_t *query_shift;
    int32_t *scratch;
    int64_t scratch_size; /* of a thread, in int32 */
    int32_t *out;
    int64_t *saturated; /* by `enum count` */
} Attention;

enum count { Q_NORM, Q_ROPE, K_NORM, K_ROPE, V, SCORE };

static int64_t rotate(int32_t *x, const Heads *h, const int64_t *c, const int64_t *s) {
    int64_t saturated = 0;
    for (int64_t i = 0; i < h->pairs; i++) {
        int64_t first = h->interleaved ? 2 * i : i, second = h->interleaved ? 2 * i + 1 : i + h->pairs;
        int64_t a = x[first], b = x[second];
        x[first] = (int32_t)saturate(round_shift(a * c[i] - b * s[i], SCALE_BITS), INT32);
        x[second] = (int32_t)saturate(round_shift(a * s[i] + b * c[i], SCALE_BITS), INT32);
    }
    for (int64_t i = 0; i < h->width; i++) saturated += at_limit(x[i], INT32);
    return saturated;
}

/* Normalised where the family does, rotated, quantized; returns the shift. saturated: of the norm, then of the rotation.
 * wide: room for two heads. */
static int prepare_head(const Attention *a, const int32_t *x, const int64_t *norm, int64_t down, int64_t t, int32_t *y,
                        int64_t *wide, int16_t *mantissa, int64_t *saturated) {
    const Heads *h = a->h;
    if (norm) {
        int64_t *z = wide + h->width;
        for (int64_t i = 0; i < h->width; i++) wide[i] = x[i];
        add_count(saturated, a->variant->normalize(wide, h->width, norm, h->epsilon, (int)down, INT32, z));
        for (int64_t i = 0; i < h->width; i++) y[i] = (int32_t)z[i];
    } else
        memcpy(y, x, sizeof(int32_t) * (size_t)h->width);
    add_count(saturated + 1, rotate(y, h, a->cosines + t * h->pairs, a->sines + t * h->pairs));
    mantissa[h->width] = 0;
    return a->variant->quantize_head(y, h->width, mantissa);
}

/* Everything of one token that attention reads. */
static void prepare(void *context, int64_t t, int thread) {
    const Attention *a = context;
    const Heads *h = a->h;
    int64_t *wide = (int64_t *)(a->scratch + thread * a->scratch_size);
    int32_t *y = (int32_t *)(wide + 2 * h->padded);
    int16_t *m = (int16_t *)(y + h->padded);
    int64_t position = a->start + t, limited = 0;
    for (int64_t i = 0; i < h->heads; i++) {
        int64_t at = t * h->heads + i;
        a->query_shift[at] = prepare_head(a, a->q + at * h->width, h->q_norm, h->q_down, t, y, wide, m, a->saturated + Q_NORM);
        for (int64_t w = 0; w < 2 * h->half; w++) {
            a->high[at * 2 * h->half + w] = (int16_t)(m[w] >> 8);
            a->low[at * 2 * h->half + w] = m[w] & 255;
        }
    }
    for (int64_t i = 0; i < h->kv_heads; i++) {
        const int32_t *v = a->v + (t * h->kv_heads + i) * h->width;
        h->key_shift[i * h->capacity + position] =
            prepare_head(a, a->k + (t * h->kv_heads + i) * h->width, h->k_norm, h->k_down, t, y, wide, m,
                         a->saturated + K_NORM);
        int16_t *keys = h->keys + (i * h->capacity + position / GROUP * GROUP) * 2 * h->half;
        for (int64_t p = 0; p < h->half; p++) memcpy(keys + (p * GROUP + position % GROUP) * 2, m + 2 * p, 4);
        int32_t *values = h->values + (i * h->capacity + position) * h->padded;
        for (int64_t w = 0; w < h->width; w++) {
            values[w] = (int32_t)saturate(v[w], LARGEST_VALUE);
            limited += at_limit(values[w], LARGEST_VALUE);
        }
    }
    add_count(a->saturated + V, limited);
}

/* One token's query heads that share a key head. */
static void attend(void *context, int64_t item, int thread) {
    const Attention *a = context;
    const Heads *h = a->h;
    int64_t kv = item % h->kv_heads, t = a->tokens - 1 - item / h->kv_heads; /* the longest first */
    int64_t group = h->heads / h->kv_heads, count = a->start + t + 1, padded = (count + GROUP - 1) / GROUP * GROUP;
    int64_t query = t * h->heads + kv * group;
    int64_t *dots = (int64_t *)(a->scratch + thread * a->scratch_size), *sum = dots + group * padded;
    int32_t *z = (int32_t *)(sum + group * h->padded);
    for (int64_t b = 0; b < padded; b += GROUP)
        a->variant->dots(a->high + query * 2 * h->half, a->low + query * 2 * h->half, group, h->half,
                         h->keys + (kv * h->capacity + b) * 2 * h->half, dots + b, padded);
    int64_t totals[group], saturated = 0;
    for (int64_t i = 0; i < group; i++) {
        int32_t *row = z + i * padded;
        int32_t largest = a->variant->score(dots + i * padded, h->scale, a->query_shift[query + i],
                                            h->key_shift + kv * h->capacity, count, row, &saturated);
        totals[i] = a->variant->share(row, largest, count, a->powers);
    }
    add_count(a->saturated + SCORE, saturated);
    a->variant->mix(z, padded, group, h->values + kv * h->capacity * h->padded, h->padded, count, sum);
    for (int64_t i = 0; i < group; i++)
        a->variant->divide(sum + i * h->padded, totals[i], h->width, a->out + (query + i) * h->width);
}

/* Extends the cache by `tokens` from position `start` on and lets each attend to all up to itself.
 *
 * q: (tokens, heads * width), k, v: (tokens, kv_heads * width); cosines, sines: (tokens, pairs);
 * out: (tokens, heads * width); saturated: as `enum count`. Returns 0, or -1 without memory.
 */
EXPORT int didyma_attend(int variant, int threads, const Heads *h, int64_t tokens, int64_t start, const int32_t *q,
                         const int32_t *k, const int32_t *v, const int64_t *cosines, const int64_t *sines,
                         const int64_t *powers, int32_t *out, int64_t *saturated) {
    int64_t group = h->heads / h->kv_heads, positions = (start + tokens + GROUP - 1) / GROUP * GROUP;
    int64_t queries = tokens * h->heads * h->half * 2;
    if (threads > MAX_THREADS) threads = MAX_THREADS;
    Attention a = {VARIANTS[variant], h, tokens, start, q, k, v, cosines, sines, powers, .out = out, .saturated = saturated};
    a.scratch_size = group * (3 * positions + 2 * h->padded) + 8 * h->padded;
    a.scratch = malloc(sizeof(int32_t) * (size_t)(a.scratch_size * threads));
    a.high = malloc(2 * sizeof(int16_t) * (size_t)queries + sizeof(int32_t) * (size_t)(tokens * h->heads));
    if (a.scratch && a.high) {
        a.low = a.high + queries;
        a.query_shift = (int32_t *)(a.low + queries);
        int64_t work = tokens * h->heads * h->width;
        parallel(worth(threads, 8 * work), tokens, prepare, &a);
        parallel(worth(threads, work * (start + tokens)), tokens * h->kv_heads, attend, &a);
    }
    int failed = !a.scratch || !a.high;
    free(a.scratch);
    free(a.high);
    return failed ? -1 : 0;
}

/* SAMPLING */

typedef struct {
    const Variant *variant;
    const uint8_t *block;
    uint8_t *digests;
} Draws;

static void draw(void *context, int64_t item, int thread) {
    (void)thread;
    const Draws *d = context;
    d->variant->keccak8(d->block, 88, (uint64_t)(item * 8), (uint8_t(*)[32])(d->digests + item * 256));
}

/* keccak256(head, counter as 32 bytes, big-endian) for counters 0, ..., 8 * eights - 1. head: 64 bytes. */
EXPORT void didyma_draws(int variant, int threads, const uint8_t *head, int64_t eights, uint8_t *digests) {
    uint8_t block[136] = {0};
    memcpy(block, head, 64);
    block[96] = 0x01;
    block[135] = 0x80;
    Draws d = {VARIANTS[variant], block, digests};
    parallel(threads, eights, draw, &d);
}

/* Python finds the shared library by importing it; it calls the functions above through ctypes. */
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_kernels", "CPU kernels, called through ctypes.", -1,
                                        NULL, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__kernels(void) { return PyModule_Create(&definition); }
