/* Keccak-256 of many short messages that differ in one counter, eight at a time: the draws behind sampling.
 *
 * Eight states lie side by side in vectors of eight 64-bit lanes; the compiler maps them to whatever registers the
 * variant has. A vocabulary of 128,000 tokens needs 16,000 hashes per sampled token.
 */
#ifndef DIDYMA_KECCAK_H
#define DIDYMA_KECCAK_H

#include "kernels.h"

typedef uint64_t lanes __attribute__((vector_size(64)));

static const uint64_t ROUND[24] = {
    0x0000000000000001, 0x0000000000008082, 0x800000000000808a, 0x8000000080008000, 0x000000000000808b, 0x0000000080000001,
    0x8000000080008081, 0x8000000000008009, 0x000000000000008a, 0x0000000000000088, 0x0000000080008009, 0x000000008000000a,
    0x000000008000808b, 0x800000000000008b, 0x8000000000008089, 0x8000000000008003, 0x8000000000008002, 0x8000000000000080,
    0x000000000000800a, 0x800000008000000a, 0x8000000080008081, 0x8000000000008080, 0x0000000080000001, 0x8000000080008008};
static const uint8_t ROTATION[25] = {0,  1,  62, 28, 27, 36, 44, 6,  55, 20, 3,  10, 43,
                                     25, 39, 41, 45, 15, 21, 8,  18, 2,  61, 56, 14};

#define ROTATE(v, n) ((n) ? (v) << (n) | (v) >> (64 - (n)) : (v))

INLINE void permute(lanes s[25]) {
    for (int round = 0; round < 24; round++) {
        lanes c[5], t[25];
#pragma GCC unroll 5
        for (int x = 0; x < 5; x++) c[x] = s[x] ^ s[x + 5] ^ s[x + 10] ^ s[x + 15] ^ s[x + 20];
#pragma GCC unroll 5
        for (int x = 0; x < 5; x++) {
            lanes d = c[(x + 4) % 5] ^ ROTATE(c[(x + 1) % 5], 1);
#pragma GCC unroll 5
            for (int y = 0; y < 5; y++) {
                lanes v = s[x + 5 * y] ^ d;
                t[y + 5 * ((2 * x + 3 * y) % 5)] = ROTATE(v, ROTATION[x + 5 * y]);
            }
        }
#pragma GCC unroll 5
        for (int y = 0; y < 25; y += 5)
#pragma GCC unroll 5
            for (int x = 0; x < 5; x++) s[y + x] = t[y + x] ^ (~t[y + (x + 1) % 5] & t[y + (x + 2) % 5]);
        s[0] ^= ROUND[round];
    }
}

/* Digests of `block`, padded, with counter, ..., counter + 7 as 8 big-endian bytes at `at`. */
static void keccak8(const uint8_t block[136], int at, uint64_t counter, uint8_t digests[8][32]) {
    lanes s[25];
    memset(s, 0, sizeof s);
    for (int lane = 0; lane < 8; lane++) {
        uint8_t bytes[136];
        uint64_t swapped = __builtin_bswap64(counter + (uint64_t)lane);
        memcpy(bytes, block, 136);
        memcpy(bytes + at, &swapped, 8);
        for (int i = 0; i < 17; i++) {
            uint64_t word;
            memcpy(&word, bytes + 8 * i, 8);
            s[i][lane] = word;
        }
    }
    permute(s);
    for (int lane = 0; lane < 8; lane++)
        for (int i = 0; i < 4; i++) {
            uint64_t word = s[i][lane];
            memcpy(digests[lane] + 8 * i, &word, 8);
        }
}

#endif
