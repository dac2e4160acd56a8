/* The plain C variant. The only one for weights whose integer scales do not fit int32. */
#include "keccak.h"
#include "layout.h"
#include "operators.h"

static void dot(const Matrix *w, const uint8_t *group, const int64_t *fold, const Rows *rows, int64_t first,
                int tokens, int64_t acc[TILE][GROUP]) {
    (void)fold;
    int64_t columns = w->columns, stride = rows->stride;
    const int16_t *x = rows->x + first * rows->stride;
    memset(acc, 0, sizeof(int64_t[TILE][GROUP]));
    if (w->kind == F16) {
        for (int64_t k = 0; k < columns; k++)
            for (int r = 0; r < GROUP; r++) {
                int64_t weight = half_integer(load16(group + (k * GROUP + r) * 2));
                for (int t = 0; t < tokens; t++)
                    acc[t][r] = (int64_t)((uint64_t)acc[t][r] + (uint64_t)weight * (uint64_t)(int64_t)x[t * stride + k]);
            }
        return;
    }
    for (int64_t b = 0; b < columns / BLOCK; b++) {
        int8_t q[8][GROUP * 4];
        int64_t scale[2][GROUP], min[GROUP];
        switch (w->kind) {
        case Q8_0: unpack(Q8_0, group, b, q, scale, min); break;
        case Q4_0: unpack(Q4_0, group, b, q, scale, min); break;
        case Q4_K: unpack(Q4_K, group, b, q, scale, min); break;
        default: unpack(Q6_K, group, b, q, scale, min); break;
        }
        for (int t = 0; t < tokens; t++) {
            int32_t sum[2][GROUP] = {{0}};
            for (int k = 0; k < BLOCK; k++)
                for (int r = 0; r < GROUP; r++)
                    sum[k / 16][r] += (int32_t)q[k / 4][r * 4 + k % 4] * x[t * stride + b * BLOCK + k];
            int64_t all = rows->sums[(first + t) * (stride / BLOCK) + b];
            for (int r = 0; r < GROUP; r++)
                acc[t][r] = (int64_t)((uint64_t)acc[t][r] + (uint64_t)scale[0][r] * (uint64_t)(int64_t)sum[0][r] +
                                      (uint64_t)scale[1][r] * (uint64_t)(int64_t)sum[1][r] -
                                      (uint64_t)min[r] * (uint64_t)all);
        }
    }
}

const Variant plain_variant = {dot,   normalize, quantize, quantize_wide, quantize_head, gated,
                               dots,  score,     share,    mix,           divide, keccak8};
