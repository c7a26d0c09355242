/* The numeric code for float and for double, at the instruction level that levels.h has set. */

#define TYPE f32
#define REAL float
#define LOOPS cgru_loops_f32
#define ROOT sqrtf
#define BITS uint32_t
#define MANTISSA_BITS 23
#define EXPONENT_BIAS 127
#define ROUNDING_SHIFT 12582912.0f /* 1.5 * 2^23: adding it rounds a float to an integer */
#define LN2_HIGH 0.693359375f      /* ln 2 in two parts; the first times any exponent is exact */
#define LN2_LOW -2.12194440e-4f
/* (exp(r) - 1 - r) / r^2 for |r| <= ln(2) / 2: fitted (Lawson 1961) to 3e-9 of exp(r), a twentieth
 * of an ulp; Taylor's series for double. */
#define EXP_POLYNOMIAL \
    {1.39506023e-3f, 8.36895351e-3f, 4.16662041e-2f, 0.166665183f, 0.50000001f}
#define EXP_SHIFT 64               /* keeps exp(-104) away from subnormals until the last product */
#define EXP_TINY 5.42101086e-20f   /* 2^-64 */
#define EXP_ZERO -104.0f           /* exp of this and less rounds to 0 */
#define TANH_ONE 10.0f             /* tanh of this and more rounds to 1 */
#include "all.h"

#define TYPE f64
#define REAL double
#define LOOPS cgru_loops_f64
#define ROOT sqrt
#define BITS uint64_t
#define MANTISSA_BITS 52
#define EXPONENT_BIAS 1023
#define ROUNDING_SHIFT 6755399441055744.0 /* 1.5 * 2^52 */
#define LN2_HIGH 6.93147180369123816490e-01
#define LN2_LOW 1.90821492927058770002e-10
#define EXP_POLYNOMIAL                                                                     \
    {1 / 6227020800.0, 1 / 479001600.0, 1 / 39916800.0, 1 / 3628800.0, 1 / 362880.0,       \
     1 / 40320.0, 1 / 5040.0, 1 / 720.0, 1 / 120.0, 1 / 24.0, 1 / 6.0, 1 / 2.0}
#define EXP_SHIFT 512
#define EXP_TINY 7.458340731200207e-155 /* 2^-512 */
#define EXP_ZERO -746.0
#define TANH_ONE 20.0
#include "all.h"
