/* What Python calls (`cpu_kernels.py`): the operators over many rows, shared out to threads; attention is in attention.c.
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
#elif defined(X86_VARIANTS) && defined(TILE_VARIANT)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

/* `cpu_kernels.py` has the same number; it grows when a function here changes. */
EXPORT const int didyma_interface = 5;

#define GROUPS_AT_ONCE 4 /* packed groups that a thread takes at a time */
#define UNPACKED_FROM 16 /* fewest tokens for which they are unpacked before */

/* Fewest tokens that tiles multiply: for fewer, reading the weights as bytes takes longer. Tests change them. */
EXPORT int didyma_tiles_from = 32, didyma_tiles_from_floats = 16;
/* Groups that tiles multiplied, with however many tokens. */
EXPORT int64_t didyma_by_tiles;

#if defined(TILE_VARIANT)
static Variant tile_variant; /* another's operators, and tiles */

__attribute__((constructor)) static void add_tiles(void) {
#if defined(EMULATED_TILES)
    tile_variant = plain_variant;
    tile_variant.tiles = &emulated_tiles;
#else
    tile_variant = avx512_variant;
    tile_variant.tiles = &amx_tiles;
#endif
    tile_variant.name = "amx";
}
#endif

const Variant *const VARIANTS[] = {
    &plain_variant,
#if defined(X86_VARIANTS)
    &avx2_variant, &avx512_variant,
#endif
#if defined(TILE_VARIANT)
    &tile_variant,
#elif defined(ARM_VARIANTS)
    &neon_variant, &i8mm_variant,
#endif
};

/* The name of a variant that was built, or NULL: there are no more. */
EXPORT const char *didyma_variant_name(int variant) {
    return variant < (int)(sizeof VARIANTS / sizeof *VARIANTS) ? VARIANTS[variant]->name : NULL;
}

#if defined(X86_VARIANTS) && defined(TILE_VARIANT)
/* Whether this process may use AMX: 1, or why not: 0 if the processor has none, -1 if the system does not keep its
 * registers, -2 if it refuses them to this process. Linux gives them to who asks, for the whole process. */
static int amx(void) {
    enum { TILES = 1 << 24, INT8 = 1 << 25, SAVES = 1 << 27, STATES = 3 << 17, STATE = 18, ASK = 0x1023 };
    unsigned a, b, c, d, kept, above;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & TILES) || !(d & INT8)) return 0;
    if (!__get_cpuid_count(0x1d, 1, &a, &b, &c, &d) || a >> 16 != 1024 || (b & 0xffff) != 64 || b >> 16 < 8 ||
        (c & 0xffff) < 16)
        return 0; /* tiles of another shape */
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & SAVES)) return -1;
    __asm__("xgetbv" : "=a"(kept), "=d"(above) : "c"(0));
    if ((kept & STATES) != STATES) return -1;
    return syscall(SYS_arch_prctl, ASK, STATE) == 0 ? 1 : -2;
}
#endif

/* Whether this process may use tiles: 1; 0: none were built or the processor has none; -1, -2: as `amx` has it. */
EXPORT int didyma_tiles(void) {
#if defined(EMULATED_TILES)
    return 1;
#elif defined(X86_VARIANTS) && defined(TILE_VARIANT)
    return amx();
#else
    return 0;
#endif
}

/* The number of the fastest variant that this processor runs; those below it run as well. */
EXPORT int didyma_best_variant(void) {
#if defined(EMULATED_TILES)
    return 1;
#elif defined(X86_VARIANTS)
    __builtin_cpu_init(); /* every processor with AVX2 and FMA also has F16C */
    int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
               __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt");
    int avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                 __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                 __builtin_cpu_supports("avx512vnni");
    return avx2 ? 1 + avx512 + (avx512 && didyma_tiles() == 1) : 0;
#elif defined(ARM_VARIANTS)
    int dot = (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0, i8mm = (getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0;
    return dot ? 1 + i8mm : 0;
#else
    return 0;
#endif
}

/* LINEAR */

typedef struct {
    const Variant *variant;
    const Matrix *w;
    const Rows *rows;
    int64_t tokens;
    const Tiles *tiles; /* or NULL */
    int down;
    const int64_t *bias;
    int64_t largest;
    int32_t *out;  /* or */
    int64_t *wide; /* the residual stream: written, or with `add` added to */
    int add;
    int64_t *saturated;
    uint8_t *unpacked;      /* (threads, GROUPS_AT_ONCE, unpacked_bytes), or NULL */
    int64_t unpacked_bytes; /* of a group */
} Linear;

/* Rows `first`, ... of group g's products, from `acc`. */
static void finish_group(const Linear *l, int64_t g, int64_t first, int64_t tokens, int64_t (*acc)[GROUP], int64_t limited[2]) {
    int64_t row = g * GROUP, count = l->w->rows - row < GROUP ? l->w->rows - row : GROUP;
    for (int64_t t = first; t < first + tokens; t++) {
        int64_t at = t * l->w->rows + row;
        l->variant->finish(acc[t - first], count, l->down - l->rows->shift[t], l->bias ? l->bias + row : NULL, l->largest,
                           l->add, l->out ? l->out + at : NULL, l->wide ? l->wide + at : NULL, limited);
    }
}

/* All rows of some groups that follow one another: what is read of the rows is near for all of them. unpacked: room for
 * as many, or NULL. */
static void linear_groups(const Linear *l, int64_t g, int64_t end, uint8_t *unpacked, int64_t limited[2]) {
    int64_t size = group_bytes(l->w->kind, l->w->columns);
    for (int64_t i = g; i < end && unpacked; i++)
        l->variant->unpacked->unpack(l->w, l->w->data + i * size, unpacked + (i - g) * l->unpacked_bytes);
    for (int64_t first = 0; first < l->tokens; first += TILE) {
        int64_t acc[TILE][GROUP], tokens = l->tokens - first < TILE ? l->tokens - first : TILE;
        for (int64_t i = g; i < end; i++) {
            if (unpacked)
                l->variant->unpacked->dot(l->w, unpacked + (i - g) * l->unpacked_bytes, l->rows, first, acc);
            else
                l->variant->dot(l->w, l->w->data + i * size, l->rows, first, (int)tokens, acc);
            finish_group(l, i, first, tokens, acc, limited);
        }
    }
}

static void linear(void *context, int64_t item, int thread) {
    const Linear *l = context;
    int64_t groups = (l->w->rows + GROUP - 1) / GROUP, limited[2] = {0, 0};
    int64_t end = (item + 1) * GROUPS_AT_ONCE < groups ? (item + 1) * GROUPS_AT_ONCE : groups;
    uint8_t *unpacked = l->unpacked ? l->unpacked + thread * GROUPS_AT_ONCE * l->unpacked_bytes : NULL;
    linear_groups(l, item * GROUPS_AT_ONCE, end, unpacked, limited);
    add_count(l->saturated, limited[0]);
    add_count(l->saturated + 1, limited[1]);
}

/* The same by tiles, where weights are small enough for them. */
static void linear_tiles(void *context, int64_t item, int thread) {
    (void)thread;
    const Linear *l = context;
    const uint8_t *group = l->w->data + item * TILE_GROUPS * group_bytes(l->w->kind, l->w->columns);
    int64_t all = (l->w->rows + GROUP - 1) / GROUP, left = all - item * TILE_GROUPS, limited[2] = {0, 0};
    int64_t groups = left < TILE_GROUPS ? left : TILE_GROUPS, multiplied = 0;
    for (int64_t first = 0; first < l->tokens; first += TILE_TOKENS) {
        TileSums sums[TILE_GROUPS][TILE_TOKENS / GROUP];
        int bytes[TILE_GROUPS];
        int64_t tokens = l->tokens - first < TILE_TOKENS ? l->tokens - first : TILE_TOKENS;
        l->tiles->product(l->w, group, groups, l->rows, first, tokens, sums, bytes);
        for (int64_t g = 0; g < groups; g++) {
            for (int64_t t = 0; t < tokens && bytes[g]; t += GROUP) {
                int64_t acc[GROUP][GROUP], some = tokens - t < GROUP ? tokens - t : GROUP;
                l->tiles->combine(bytes[g], (int)some, &sums[g][t / GROUP], acc);
                finish_group(l, item * TILE_GROUPS + g, first + t, some, acc, limited);
            }
            multiplied += bytes[g] && first == 0;
            if (!bytes[g] && first == 0) /* all tokens */
                linear_groups(l, item * TILE_GROUPS + g, item * TILE_GROUPS + g + 1, NULL, limited);
        }
    }
    add_count(l->saturated, limited[0]);
    add_count(l->saturated + 1, limited[1]);
    add_count(&didyma_by_tiles, multiplied);
}

static void split_row(void *context, int64_t t, int thread) {
    (void)thread;
    const Linear *l = context;
    l->tiles->split(l->rows, t);
}

/* out (tokens, rows) = R(rows . weights, down - row's shift) + bias, at most `largest`. bias: (rows) or NULL. Either
 * `out` or `wide` is NULL; `add`: to what is there. saturated[0]: products at their limit, [1]: sums. */
EXPORT void didyma_linear(int variant, int threads, const Matrix *w, Rows *rows, int64_t tokens, int down,
                          const int64_t *bias, int64_t largest, int add, int32_t *out, int64_t *wide,
                          int64_t *saturated) {
    const Variant *v = VARIANTS[w->wide ? 0 : variant];
    Linear l = {v, w, rows, tokens, v->tiles, down, bias, largest, out, wide, add, saturated, NULL, 0};
    int64_t groups = (w->rows + GROUP - 1) / GROUP;
    int some = worth(threads, tokens * w->rows * w->columns);
    if (!l.tiles || !rows->bytes || tokens < (is_float(w->kind) ? didyma_tiles_from_floats : didyma_tiles_from)) {
        uint8_t *room = NULL;
        if (v->unpacked && tokens >= UNPACKED_FROM) l.unpacked_bytes = v->unpacked->bytes(w);
        if (l.unpacked_bytes) room = malloc((size_t)(l.unpacked_bytes * GROUPS_AT_ONCE * some + 64)); /* or do without */
        if (room) l.unpacked = room + (-(uintptr_t)room & 63);
        parallel(some, (groups + GROUPS_AT_ONCE - 1) / GROUPS_AT_ONCE, linear, &l);
        free(room);
        return;
    }
    if (rows->split < tokens) parallel(some, tokens, split_row, &l);
    rows->split = tokens;
    parallel(some, (groups + TILE_GROUPS - 1) / TILE_GROUPS, linear_tiles, &l);
}

/* ROWS */

typedef struct {
    const Variant *variant;
    const int32_t *x, *up;
    const int64_t *residual;
    int64_t columns, epsilon, largest;
    int gelu;
    const int64_t *table; /* norm weights, or powers */
    int down;
    const Rows *rows;
    int64_t *wide; /* (threads, columns) */
    int64_t *sum;  /* (tokens, columns): the residual stream */
    int64_t *saturated;
} Each;

static void normalize_row(void *context, int64_t t, int thread) {
    const Each *e = context;
    int64_t *y = e->wide + thread * e->columns;
    add_count(e->saturated, e->variant->normalize(e->residual + t * e->columns, e->columns, e->table, e->epsilon, e->down,
                                                  e->largest, y));
    e->variant->quantize_wide(y, e->columns, e->rows, t);
}

static void add_normalized_row(void *context, int64_t t, int thread) {
    const Each *e = context;
    int64_t *y = e->wide + thread * e->columns, *sum = e->sum + t * e->columns, limited = 0;
    add_count(e->saturated, e->variant->normalize(e->residual + t * e->columns, e->columns, e->table, e->epsilon, e->down,
                                                  e->largest, y));
    for (int64_t i = 0; i < e->columns; i++) {
        sum[i] = saturate(sum[i] + y[i], e->largest);
        limited += at_limit(sum[i], e->largest);
    }
    add_count(e->saturated + 1, limited);
}

static void quantize_row(void *context, int64_t t, int thread) {
    (void)thread;
    const Each *e = context;
    e->variant->quantize(e->x + t * e->columns, e->columns, e->rows, t);
}

static void gate_row(void *context, int64_t t, int thread) {
    const Each *e = context;
    int64_t *act = e->wide + thread * e->columns, at = t * e->columns;
    add_count(e->saturated, e->variant->gated(e->x + at, e->up + at, e->columns, e->gelu, e->table, act));
    e->variant->quantize_wide(act, e->columns, e->rows, t);
}

/* rows = quantized R(x / rms(x) * weight, down). x: (tokens, columns). Returns 0, or -1 without memory. */
EXPORT int didyma_normalize(int variant, int threads, const int64_t *x, int64_t tokens, int64_t columns,
                            const int64_t *weight, int64_t epsilon, int down, int64_t largest, Rows *rows,
                            int64_t *saturated) {
    rows->split = 0;
    int64_t *wide = malloc(sizeof(int64_t) * (size_t)columns * MAX_THREADS);
    if (!wide) return -1;
    Each e = {.variant = VARIANTS[variant], .residual = x, .columns = columns, .epsilon = epsilon, .largest = largest,
              .table = weight, .down = down, .rows = rows, .wide = wide, .saturated = saturated};
    parallel(worth(threads, 8 * tokens * columns), tokens, normalize_row, &e);
    free(wide);
    return 0;
}

/* sum += R(x / rms(x) * weight, down). x, sum: (tokens, columns). saturated[0]: normalised numbers at their limit, [1]: sums.
 * Returns 0, or -1 without memory. */
EXPORT int didyma_add_normalized(int variant, int threads, const int64_t *x, int64_t tokens, int64_t columns,
                                 const int64_t *weight, int64_t epsilon, int down, int64_t largest, int64_t *sum,
                                 int64_t *saturated) {
    int64_t *wide = malloc(sizeof(int64_t) * (size_t)columns * MAX_THREADS);
    if (!wide) return -1;
    Each e = {.variant = VARIANTS[variant], .residual = x, .columns = columns, .epsilon = epsilon, .largest = largest,
              .table = weight, .down = down, .wide = wide, .sum = sum, .saturated = saturated};
    parallel(worth(threads, 8 * tokens * columns), tokens, add_normalized_row, &e);
    free(wide);
    return 0;
}

EXPORT void didyma_quantize(int variant, int threads, const int32_t *x, int64_t tokens, int64_t columns, Rows *rows) {
    rows->split = 0;
    Each e = {.variant = VARIANTS[variant], .x = x, .columns = columns, .rows = rows};
    parallel(worth(threads, 4 * tokens * columns), tokens, quantize_row, &e);
}

/* rows = quantized SiLU(gate) * up, or GELU(gate) * up. gate, up: (tokens, columns). Returns 0, or -1 without memory. */
EXPORT int didyma_gate(int variant, int threads, const int32_t *gate, const int32_t *up, int64_t tokens,
                       int64_t columns, int gelu, const int64_t *powers, Rows *rows, int64_t *saturated) {
    rows->split = 0;
    int64_t *wide = malloc(sizeof(int64_t) * (size_t)columns * MAX_THREADS);
    if (!wide) return -1;
    Each e = {.variant = VARIANTS[variant], .x = gate, .up = up, .columns = columns, .gelu = gelu, .table = powers,
              .rows = rows, .wide = wide, .saturated = saturated};
    parallel(worth(threads, 16 * tokens * columns), tokens, gate_row, &e);
    free(wide);
    return 0;
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
