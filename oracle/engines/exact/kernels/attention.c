/* Attention of a pass: each token's heads are prepared and extend its sequence's cache, then each attends to all up to itself.
 *
 * An item is what some neighbouring tokens of a sequence do with one key head and the query heads that share it: they read
 * the same keys and values, a block at a time. Where there are too few items for the threads, positions are cut into parts:
 * first the scores of every part, then its shares and their products with the values, then the parts' sums. Whatever is
 * added up is an integer, so neither blocks nor parts change a bit.
 */
#include "constants.h"
#include "fixed.h"
#include "kernels.h"

#include <stdlib.h>

#define TOKENS_AT_ONCE 4      /* of an item */
#define POSITIONS_AT_ONCE 256 /* of a block, a multiple of GROUP; a part has at least as many */
#define ITEMS_A_THREAD 2      /* at least, or positions are cut */

/* One layer's heads. */
typedef struct {
    int64_t layer, heads, kv_heads, width, pairs, interleaved; /* pairs: of rotated numbers */
    int64_t half;                                              /* (width + 1) / 2 */
    int64_t padded;                                            /* width up to a multiple of 16 */
    int64_t scale, epsilon;
    int64_t window; /* positions that a token sees, its own among them; 0 for all up to it */
    int64_t q_down, k_down;         /* shifts of normalised heads */
    const int64_t *q_norm, *k_norm; /* (width) or NULL */
} Heads;

/* How many tokens a pass adds to a sequence, and its cache. */
typedef struct {
    int64_t tokens, start; /* start: of the first one's position */
    int64_t capacity;      /* positions, a multiple of 16 */
    int16_t *keys;         /* (layers, kv_heads, capacity / 16, half, 16, 2) */
    int32_t *key_shift;    /* (layers, kv_heads, capacity) */
    int32_t *values;       /* (layers, kv_heads, capacity, padded) */
} Extension;

/* Some neighbouring tokens. row: of the first one, among all of the pass. */
typedef struct {
    const Extension *extension;
    int64_t row, position, tokens;
} Piece;

typedef struct {
    const Variant *variant;
    const Heads *h;
    int64_t group; /* query heads of a key head */
    const int32_t *q, *k, *v;
    const int64_t *cosines, *sines, *powers;
    const Piece *pieces, *rows; /* rows: of one token each */
    int64_t count;              /* of pieces */
    int16_t *high, *low;        /* (tokens, heads, half, 2) */
    int32_t *query_shift;
    int64_t parts, length; /* length: positions of a part */
    int64_t stride;        /* positions up to a multiple of 16 */
    uint8_t *rooms, *scratch;
    int64_t room_bytes, scratch_bytes;
    int32_t *out;
    int64_t *saturated; /* by `enum count` */
} Attention;

enum count { Q_NORM, Q_ROPE, K_NORM, K_ROPE, V, SCORE };

/* What an item's parts leave for one another. */
typedef struct {
    int64_t *sums;    /* (parts, tokens, group, padded) */
    int64_t *totals;  /* (parts, tokens, group) */
    int32_t *largest; /* (parts, tokens, group) */
    int32_t *z;       /* (tokens, group, stride): scores, then shares */
} Room;

INLINE int64_t up_to(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

INLINE int16_t *keys_of(const Heads *h, const Extension *s, int64_t kv) {
    return s->keys + (h->layer * h->kv_heads + kv) * s->capacity * 2 * h->half;
}

INLINE int32_t *shifts_of(const Heads *h, const Extension *s, int64_t kv) {
    return s->key_shift + (h->layer * h->kv_heads + kv) * s->capacity;
}

INLINE int32_t *values_of(const Heads *h, const Extension *s, int64_t kv) {
    return s->values + (h->layer * h->kv_heads + kv) * s->capacity * h->padded;
}

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
static void prepare(void *context, int64_t row, int thread) {
    const Attention *a = context;
    const Heads *h = a->h;
    int64_t *wide = (int64_t *)(a->scratch + thread * a->scratch_bytes);
    int32_t *y = (int32_t *)(wide + 2 * h->padded);
    int16_t *m = (int16_t *)(y + h->padded);
    const Extension *s = a->rows[row].extension;
    int64_t position = a->rows[row].position, limited = 0;
    for (int64_t i = 0; i < h->heads; i++) {
        int64_t at = row * h->heads + i;
        a->query_shift[at] = prepare_head(a, a->q + at * h->width, h->q_norm, h->q_down, row, y, wide, m, a->saturated + Q_NORM);
        for (int64_t w = 0; w < 2 * h->half; w++) {
            a->high[at * 2 * h->half + w] = (int16_t)(m[w] >> 8);
            a->low[at * 2 * h->half + w] = m[w] & 255;
        }
    }
    for (int64_t i = 0; i < h->kv_heads; i++) {
        const int32_t *v = a->v + (row * h->kv_heads + i) * h->width;
        shifts_of(h, s, i)[position] = prepare_head(a, a->k + (row * h->kv_heads + i) * h->width, h->k_norm, h->k_down,
                                                    row, y, wide, m, a->saturated + K_NORM);
        int16_t *keys = keys_of(h, s, i) + position / GROUP * GROUP * 2 * h->half;
        for (int64_t p = 0; p < h->half; p++) memcpy(keys + (p * GROUP + position % GROUP) * 2, m + 2 * p, 4);
        int32_t *values = values_of(h, s, i) + position * h->padded;
        for (int64_t w = 0; w < h->width; w++) {
            values[w] = (int32_t)saturate(v[w], LARGEST_VALUE);
            limited += at_limit(values[w], LARGEST_VALUE);
        }
    }
    add_count(a->saturated + V, limited);
}

static Room room(const Attention *a, int64_t number) {
    int64_t each = TOKENS_AT_ONCE * a->group;
    int64_t *sums = (int64_t *)(a->rooms + number * a->room_bytes), *totals = sums + a->parts * each * a->h->padded;
    int32_t *largest = (int32_t *)(totals + a->parts * each);
    return (Room){sums, totals, largest, largest + a->parts * each};
}

/* Positions from `first` on that token t of a piece sees before `end`, at most POSITIONS_AT_ONCE; may be negative. */
INLINE int64_t seen(const Piece *piece, int64_t t, int64_t first, int64_t end) {
    int64_t sees = piece->position + t + 1 < end ? piece->position + t + 1 : end;
    return sees - first < POSITIONS_AT_ONCE ? sees - first : POSITIONS_AT_ONCE;
}

/* The first position that token t of a piece sees, counted from `first`, or 0 if that is before. */
INLINE int64_t unseen(const Heads *h, const Piece *piece, int64_t t, int64_t first) {
    int64_t from = h->window ? piece->position + t + 1 - h->window - first : 0;
    return from > 0 ? from : 0;
}

/* The block that the first position which a piece sees is in, from `first` on. */
INLINE int64_t first_block(const Heads *h, const Piece *piece, int64_t first) {
    return first + unseen(h, piece, 0, first) / POSITIONS_AT_ONCE * POSITIONS_AT_ONCE;
}

static void score_part(const Attention *a, const Piece *piece, int64_t kv, int64_t part, Room room, int64_t *dots) {
    const Heads *h = a->h;
    int64_t end = (part + 1) * a->length, each = TOKENS_AT_ONCE * a->group, saturated = 0;
    int32_t *largest = room.largest + part * each;
    for (int64_t i = 0; i < each; i++) largest[i] = -INT32;
    for (int64_t b = first_block(h, piece, part * a->length); b < end; b += POSITIONS_AT_ONCE)
        for (int64_t t = 0; t < piece->tokens; t++) {
            int64_t count = seen(piece, t, b, end), query = (piece->row + t) * h->heads + kv * a->group;
            int64_t from = unseen(h, piece, t, b);
            for (int64_t i = from / GROUP * GROUP; i < count; i += GROUP)
                a->variant->dots(a->high + query * 2 * h->half, a->low + query * 2 * h->half, a->group, h->half,
                                 keys_of(h, piece->extension, kv) + (b + i) * 2 * h->half, dots + i, POSITIONS_AT_ONCE);
            for (int64_t i = 0; i < a->group && count > from; i++) {
                int64_t at = t * a->group + i;
                int32_t z = a->variant->score(dots + i * POSITIONS_AT_ONCE + from, h->scale, a->query_shift[query + i],
                                              shifts_of(h, piece->extension, kv) + b + from, count - from,
                                              room.z + at * a->stride + b + from, &saturated);
                largest[at] = z > largest[at] ? z : largest[at];
            }
        }
    add_count(a->saturated + SCORE, saturated);
}

static void share_part(const Attention *a, const Piece *piece, int64_t kv, int64_t part, Room room, int64_t *mixed) {
    const Heads *h = a->h;
    int64_t end = (part + 1) * a->length, each = TOKENS_AT_ONCE * a->group, numbers = a->group * h->padded;
    int64_t *sums = room.sums + part * each * h->padded, *totals = room.totals + part * each;
    memset(sums, 0, sizeof(int64_t) * (size_t)(each * h->padded));
    memset(totals, 0, sizeof(int64_t) * (size_t)each);
    int32_t largest[each];
    for (int64_t i = 0; i < each; i++) {
        largest[i] = room.largest[i];
        for (int64_t p = 1; p < a->parts; p++)
            if (room.largest[p * each + i] > largest[i]) largest[i] = room.largest[p * each + i];
    }
    for (int64_t b = first_block(h, piece, part * a->length); b < end; b += POSITIONS_AT_ONCE)
        for (int64_t t = 0; t < piece->tokens; t++) {
            int64_t from = unseen(h, piece, t, b), count = seen(piece, t, b, end) - from, at = t * a->group;
            if (count <= 0) continue;
            int32_t *z = room.z + at * a->stride + b + from;
            for (int64_t i = 0; i < a->group; i++)
                totals[at + i] += a->variant->share(z + i * a->stride, largest[at + i], count, a->powers);
            a->variant->mix(z, a->stride, a->group, values_of(h, piece->extension, kv) + (b + from) * h->padded, h->padded,
                            count, mixed);
            for (int64_t i = 0; i < numbers; i++) sums[at * h->padded + i] += mixed[i];
        }
}

static void add_parts(const Attention *a, const Piece *piece, int64_t kv, Room room) {
    const Heads *h = a->h;
    int64_t each = TOKENS_AT_ONCE * a->group;
    for (int64_t at = 0; at < piece->tokens * a->group; at++) {
        int64_t *sum = room.sums + at * h->padded, total = room.totals[at];
        for (int64_t p = 1; p < a->parts; p++) {
            total += room.totals[p * each + at];
            for (int64_t w = 0; w < h->padded; w++) sum[w] += sum[p * each * h->padded + w];
        }
        int64_t query = (piece->row + at / a->group) * h->heads + kv * a->group + at % a->group;
        a->variant->divide(sum, total, h->width, a->out + query * h->width);
    }
}

/* An item as a whole: one part. */
static void attend(void *context, int64_t item, int thread) {
    const Attention *a = context;
    const Piece *piece = a->pieces + item / a->h->kv_heads;
    int64_t kv = item % a->h->kv_heads, *scratch = (int64_t *)(a->scratch + thread * a->scratch_bytes);
    score_part(a, piece, kv, 0, room(a, thread), scratch);
    share_part(a, piece, kv, 0, room(a, thread), scratch);
    add_parts(a, piece, kv, room(a, thread));
}

/* Or part by part: `item` is of all items' parts. */
static void score_one(void *context, int64_t item, int thread) {
    const Attention *a = context;
    int64_t number = item / a->parts, kv = number % a->h->kv_heads;
    score_part(a, a->pieces + number / a->h->kv_heads, kv, item % a->parts, room(a, number),
               (int64_t *)(a->scratch + thread * a->scratch_bytes));
}

static void share_one(void *context, int64_t item, int thread) {
    const Attention *a = context;
    int64_t number = item / a->parts, kv = number % a->h->kv_heads;
    share_part(a, a->pieces + number / a->h->kv_heads, kv, item % a->parts, room(a, number),
               (int64_t *)(a->scratch + thread * a->scratch_bytes));
}

static void add_one(void *context, int64_t item, int thread) {
    (void)thread;
    const Attention *a = context;
    add_parts(a, a->pieces + item / a->h->kv_heads, item % a->h->kv_heads, room(a, item));
}

/* Into pieces of up to `at_once` tokens, of each sequence the last first: it takes longest. Returns how many. */
static int64_t cut(const Extension *extensions, int64_t count, int64_t at_once, Piece *pieces) {
    int64_t found = 0, row = 0;
    for (const Extension *s = extensions; s < extensions + count; row += s->tokens, s++)
        for (int64_t first = (s->tokens - 1) / at_once * at_once; first >= 0; first -= at_once) {
            int64_t tokens = s->tokens - first < at_once ? s->tokens - first : at_once;
            pieces[found++] = (Piece){s, row + first, s->start + first, tokens};
        }
    return found;
}

/* Extends each sequence's cache by its tokens and lets each of them attend to all up to itself.
 *
 * Rows are the tokens of all sequences, one after another. q: (rows, heads * width), k, v: (rows, kv_heads * width);
 * cosines, sines: (rows, pairs); out: (rows, heads * width); saturated: as `enum count`. Returns 0, or -1 without memory.
 */
EXPORT int didyma_attend(int variant, int threads, const Heads *h, const Extension *extensions, int64_t count,
                         const int32_t *q, const int32_t *k, const int32_t *v, const int64_t *cosines,
                         const int64_t *sines, const int64_t *powers, int32_t *out, int64_t *saturated) {
    int64_t tokens = 0, longest = 0, products = 0;
    for (const Extension *s = extensions; s < extensions + count; s++) {
        int64_t end = s->start + s->tokens;
        tokens += s->tokens;
        longest = end > longest ? end : longest;
        products += s->tokens * end * h->heads * h->width;
    }
    if (threads > MAX_THREADS) threads = MAX_THREADS;
    Attention a = {.variant = VARIANTS[variant], .h = h, .group = h->heads / h->kv_heads, .q = q, .k = k, .v = v,
                   .cosines = cosines, .sines = sines, .powers = powers, .stride = up_to(longest, GROUP), .out = out,
                   .saturated = saturated};
    Piece *rows = malloc(2 * sizeof(Piece) * (size_t)tokens);
    int64_t queries = tokens * h->heads * h->half * 2;
    a.high = malloc(2 * sizeof(int16_t) * (size_t)queries + sizeof(int32_t) * (size_t)(tokens * h->heads));
    int busy = worth(threads, products);
    if (rows) {
        for (int64_t i = 0, row = 0; i < count; i++)
            for (int64_t t = 0; t < extensions[i].tokens; t++, row++)
                rows[row] = (Piece){extensions + i, row, extensions[i].start + t, 1};
        int64_t at_once = tokens * h->kv_heads >= TOKENS_AT_ONCE * ITEMS_A_THREAD * busy ? TOKENS_AT_ONCE : 1;
        a.count = cut(extensions, count, at_once, rows + tokens);
        a.rows = rows;
        a.pieces = rows + tokens;
    }
    int64_t items = a.count * h->kv_heads;
    a.parts = 1;
    if (busy > 1 && items > 0 && items < ITEMS_A_THREAD * busy) {
        int64_t most = (longest + POSITIONS_AT_ONCE - 1) / POSITIONS_AT_ONCE;
        a.parts = (ITEMS_A_THREAD * busy + items - 1) / items;
        a.parts = a.parts < most ? a.parts : most;
    }
    a.length = up_to((longest + a.parts - 1) / a.parts, POSITIONS_AT_ONCE);
    int64_t each = TOKENS_AT_ONCE * a.group;
    a.room_bytes = up_to(a.parts * each * (8 * h->padded + 12) + 4 * each * a.stride, 64);
    a.scratch_bytes = 8 * (a.group * (POSITIONS_AT_ONCE + h->padded) + 4 * h->padded);
    a.rooms = malloc((size_t)(a.room_bytes * (a.parts > 1 ? items : threads)));
    a.scratch = malloc((size_t)(a.scratch_bytes * threads));
    int failed = !rows || !a.high || !a.rooms || !a.scratch;
    if (!failed) {
        a.low = a.high + queries;
        a.query_shift = (int32_t *)(a.low + queries);
        parallel(worth(threads, 8 * tokens * h->heads * h->width), tokens, prepare, &a);
        if (a.parts == 1)
            parallel(busy, items, attend, &a);
        else {
            parallel(busy, items * a.parts, score_one, &a);
            parallel(busy, items * a.parts, share_one, &a);
            parallel(busy, items, add_one, &a);
        }
    }
    free(rows);
    free(a.high);
    free(a.rooms);
    free(a.scratch);
    return failed ? -1 : 0;
}
