/* Limits and constants of the fixed-point formats; all of them, with their reasons: `constants.py`. */
#ifndef DIDYMA_CONSTANTS_H
#define DIDYMA_CONSTANTS_H

#include <stdint.h>

#define LARGEST_MANTISSA 32767
#define INT32 INT32_MAX /* saturated values are never INT32_MIN */
#define LARGEST_VALUE ((1 << 25) - 1)
#define LARGEST_ACT (((int64_t)1 << 47) - 1)
#define SCALE_BITS 24
#define LOG2_E 24204406
#define GELU_LINEAR 38624644
#define GELU_CUBIC 1727101
#define LARGEST_GELU (1 << 21)

#endif
