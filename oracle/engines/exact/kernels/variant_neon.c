#include "kernels.h"
#if defined(ARM_VARIANTS)
/* The variant for ARM's 8-bit dot products (ARMv8.2 with DotProd). */
#pragma GCC target("arch=armv8.2-a+dotprod")
#include "neon.h"

const Variant neon_variant = NEON_VARIANT("neon");
#endif
