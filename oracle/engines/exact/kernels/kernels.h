/* The exact engine's CPU kernels: shared declarations.
 *
 * The operators are those of `operators.py`, and every result equals its bit for bit; docs/numerics.md says why nothing
 * overflows. A variant (plain C; AVX2, AVX-512 with VNNI; NEON with dot products, with I8MM) is the same operators for
 * another instruction set: it changes speed only. Whatever is added up in int32 says why it fits. The variant of Intel's AMX
 * has the AVX-512 variant's operators, and tiles for the products of many tokens.
 */
#ifndef DIDYMA_KERNELS_H
#define DIDYMA_KERNELS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
#define INLINE static inline __attribute__((always_inline))

#define GROUP 16 /* weight rows, or positions of keys, side by side: one per 32-bit lane of a 512-bit register */
#define BLOCK 32 /* columns of a packed block */
#define HALF 16  /* columns that may have a scale of their own */
#define TILE 8   /* most tokens that a kernel call multiplies with a group */
#define DEPTH 64 /* columns of a tile of bytes */
#define TILE_GROUPS 4   /* packed groups that are multiplied by tiles together: they share what is read of the rows */
#define TILE_TOKENS 256 /* most rows that they are multiplied with at once: the sums are on the stack, and rows stay near */

enum kind {
    F32 = 0,
    F16 = 1,
    Q4_0 = 2,
    Q4_1 = 3,
    Q5_0 = 6,
    Q5_1 = 7,
    Q8_0 = 8,
    Q2_K = 10,
    Q3_K = 11,
    Q4_K = 12,
    Q5_K = 13,
    Q6_K = 14,
    IQ4_NL = 20,
    IQ4_XS = 23,
    BF16 = 30
}; /* GGML's numbers */

/* One weight matrix, its rows packed in groups (quants.h). */
typedef struct {
    int64_t kind;
    int64_t wide; /* some |integer scale| does not fit int32: only the plain variant may multiply */
    int64_t rows; /* packed up to a multiple of 16 with zero rows */
    int64_t columns;
    int64_t bits; /* fraction bits of the weights: 24 but for floats */
    uint8_t *data;
} Matrix;

/* Rows of quantized activations; there is room for tokens up to a multiple of TILE. */
typedef struct {
    int64_t stride; /* columns rounded up to a multiple of 32; what is beyond the columns holds 0 */
    int16_t *x;     /* (tokens, stride): mantissas */
    int32_t *sums;  /* (tokens, stride / 16): sums of x over half blocks */
    int32_t *shift; /* (tokens) */
    uint8_t *bytes; /* (tokens up to 16, stride up to 64, 2): the mantissas' bytes, as tiles load them; or NULL */
    int64_t split;  /* tokens whose bytes are there */
} Rows;

/* What 16 tokens and 16 rows add up to: of[i] weighs 2^(8i). */
typedef struct {
    int32_t of[5][GROUP][GROUP];
} TileSums __attribute__((aligned(64)));

/* How many tokens are multiplied at once, where that is not `dot`. */
typedef struct {
    /* Writes the bytes of row t's mantissas. */
    void (*split)(const Rows *rows, int64_t t);
    /* Products of packed groups that follow one another with rows first, ..., first + tokens - 1, which are split, in sums
     * of 16 each; `first` is a multiple of 16. bytes: of a group's weights; or 0 where they are too large: `dot` does it. */
    void (*product)(const Matrix *w, const uint8_t *group, int64_t groups, const Rows *rows, int64_t first, int64_t tokens,
                    TileSums sums[TILE_GROUPS][TILE_TOKENS / GROUP], int bytes[TILE_GROUPS]);
    /* acc[t][lane] = exact products, from sums for weights of so many bytes. */
    void (*combine)(int bytes, int tokens, const TileSums *sums, int64_t acc[GROUP][GROUP]);
} Tiles;

/* Groups that are multiplied with many tokens, unpacked once for all of them. */
typedef struct {
    /* Of an unpacked group, a multiple of 64; 0 where packed ones are as good. */
    int64_t (*bytes)(const Matrix *w);
    void (*unpack)(const Matrix *w, const uint8_t *group, uint8_t *unpacked);
    /* acc[t][lane] = exact products with rows first, ..., first + TILE - 1. */
    void (*dot)(const Matrix *w, const uint8_t *unpacked, const Rows *rows, int64_t first, int64_t acc[TILE][GROUP]);
} Unpacked;

/* The operators of one instruction set. */
typedef struct {
    const char *name;
    /* acc[t][lane] = exact products of a packed group with rows first, ..., first + tokens - 1; 1 to TILE tokens. May read
     * as many rows as TILE, and then fills up acc. */
    void (*dot)(const Matrix *w, const uint8_t *group, const Rows *rows, int64_t first, int tokens,
                int64_t acc[TILE][GROUP]);
    /* Rows of a product from `acc`: operators.h. */
    void (*finish)(const int64_t *acc, int64_t n, int down, const int64_t *bias, int64_t largest, int add, int32_t *out,
                   int64_t *wide, int64_t limited[2]);
    /* y = R(x / rms(x) * weight, down), saturated; returns how many are at the limit. */
    int64_t (*normalize)(const int64_t *x, int64_t n, const int64_t *weight, int64_t epsilon, int down, int64_t largest,
                         int64_t *y);
    /* Row t of `rows` from n numbers. */
    void (*quantize)(const int32_t *x, int64_t n, const Rows *rows, int64_t t);
    void (*quantize_wide)(const int64_t *x, int64_t n, const Rows *rows, int64_t t);
    /* Mantissas of one head; returns the shift. */
    int (*quantize_head)(const int32_t *x, int64_t n, int16_t *mantissa);
    /* act = SiLU(gate) * up, or GELU(gate) * up; returns how many are at the limit. */
    int64_t (*gated)(const int32_t *gate, const int32_t *up, int64_t n, int gelu, const int64_t *powers, int64_t *act);
    /* out[query * stride + lane] = query . key of 16 positions; queries in halves (x >> 8, x & 255), keys in pairs. */
    void (*dots)(const int16_t *high, const int16_t *low, int64_t queries, int64_t pairs, const int16_t *keys,
                 int64_t *out, int64_t stride);
    /* z = score of each position, saturated; returns the largest, and adds to `saturated` how many are at the limit. */
    int32_t (*score)(const int64_t *dots, int64_t scale, int query_shift, const int32_t *key_shift, int64_t count,
                     int32_t *z, int64_t *saturated);
    /* e = 2^22 exp(z - largest), in place; returns their sum. */
    int64_t (*share)(int32_t *z, int32_t largest, int64_t count, const int64_t *powers);
    /* out[query][w] = sum over positions of e v. e: rows of `e_stride`; v: (count, width), width a multiple of 16. */
    void (*mix)(const int32_t *e, int64_t e_stride, int64_t queries, const int32_t *v, int64_t width, int64_t count,
                int64_t *out);
    /* out = sum / total, to nearest, halves away from zero; |quotients| < 2^25. */
    void (*divide)(const int64_t *sum, int64_t total, int64_t n, int32_t *out);
    /* keccak256 of a padded block with a counter, ..., counter + 7 as 8 big-endian bytes at `at`. */
    void (*keccak8)(const uint8_t block[136], int at, uint64_t counter, uint8_t digests[8][32]);
    const Unpacked *unpacked; /* or NULL */
    const Tiles *tiles;       /* or NULL */
} Variant;

/* From the slowest to the fastest: the plain one first. */
extern const Variant *const VARIANTS[];
extern const Variant plain_variant;
#if defined(EMULATED_TILES) /* for tests on any processor: plain C, and tiles in C */
#define TILE_VARIANT
extern const Tiles emulated_tiles;
#elif defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) /* clang does not know `#pragma GCC target` */
#define X86_VARIANTS
extern const Variant avx2_variant, avx512_variant;
#if defined(__linux__) && __GNUC__ >= 11 && !defined(WITHOUT_AMX) /* setup.py: where the assembler does not know it */
#define TILE_VARIANT
extern const Tiles amx_tiles;
#endif
#elif defined(__aarch64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#define ARM_VARIANTS
extern const Variant neon_variant, i8mm_variant;
#endif

/* Run fn(context, item, thread) for every item in [0, items) on up to `threads` threads. */
typedef void item_fn(void *context, int64_t item, int thread);
#define MAX_THREADS 64
void parallel(int threads, int64_t items, item_fn *fn, void *context);

/* Threads that are worth waking for so many multiplications or so. */
INLINE int worth(int threads, int64_t work) { return work < 1 << 17 ? 1 : threads; }

/* Counts of several threads. */
INLINE void add_count(int64_t *total, int64_t count) {
    if (count) __atomic_fetch_add(total, count, __ATOMIC_RELAXED);
}

#endif
