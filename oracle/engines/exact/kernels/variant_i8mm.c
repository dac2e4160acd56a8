#include "kernels.h"
#if defined(ARM_VARIANTS)
/* The variant for ARM's 8-bit matrix products (I8MM). */
#pragma GCC target("arch=armv8.2-a+dotprod+i8mm")
#define HAS_I8MM
#include "neon.h"

const Variant i8mm_variant = NEON_VARIANT("i8mm");
#endif
