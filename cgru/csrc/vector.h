/* One vector of REAL, as wide as the instruction level has them, and the functions of it that the
 * gates need.  Included once for each element type and level; see types.h.
 *
 * The width must be that of the level's registers: a wider type is legal, and fifty times slower.
 * Nothing here leaves the compiler a choice of which product to fuse with which sum, so that each
 * element comes out the same wherever the function is inlined.
 */
#define LANES ((ptrdiff_t)(VECTOR_BYTES / sizeof(REAL)))
#define VEC NAME(vector)
#define BITS_VEC NAME(bits_vector)

typedef REAL VEC __attribute__((vector_size(VECTOR_BYTES)));
typedef REAL NAME(unaligned) __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(REAL)),
                                            may_alias));
typedef BITS BITS_VEC __attribute__((vector_size(VECTOR_BYTES)));

static INLINE VEC NAME(load)(const REAL *from) { return *(const NAME(unaligned) *)from; }
static INLINE void NAME(store)(REAL *to, VEC value) { *(NAME(unaligned) *)to = value; }

/* The first `count` lanes; the others are 0, or not stored. */
static INLINE VEC NAME(load_some)(const REAL *from, ptrdiff_t count)
{
    if (count >= LANES)
        return NAME(load)(from);
    VEC value = {0};
    memcpy(&value, from, count * sizeof(REAL));
    return value;
}

static INLINE void NAME(store_some)(REAL *to, VEC value, ptrdiff_t count)
{
    if (count >= LANES)
        NAME(store)(to, value);
    else
        memcpy(to, &value, count * sizeof(REAL));
}

/* `mask` is all ones in the lanes that take `yes`, as comparisons make it. */
static INLINE VEC NAME(select)(BITS_VEC mask, VEC yes, VEC no)
{
    return (VEC)(((BITS_VEC)yes & mask) | ((BITS_VEC)no & ~mask));
}

#define SPLAT(number) ((VEC){0} + (REAL)(number))
#define SIGN ((BITS)1 << (8 * sizeof(REAL) - 1))

#if VECTOR_BYTES == 64 && MANTISSA_BITS == 23
/* AVX-512 divides and takes roots of 16 floats in the time of 30 multiplications, but has estimates
 * of 1 / b and 1 / sqrt(x) to 14 bits.  A step of Newton's doubles the bits; the division's last
 * line corrects by the remainder, and rounds as well as a division to within an ulp. */
#define ESTIMATE(function, x) ((VEC)__builtin_ia32_##function##ps512_mask(x, (VEC){0}, -1))

/* a / b, for b and 1 / b that are neither subnormal nor infinite. */
static INLINE VEC NAME(divide)(VEC a, VEC b)
{
    VEC r = ESTIMATE(rcp14, b);
    r = r + r * (1 - b * r);
    const VEC q = a * r;
    return q + r * (a - b * q);
}

static INLINE VEC NAME(root)(VEC x)
{
    const VEC r = ESTIMATE(rsqrt14, x), s = x * r;
    const VEC better = s + s * ((REAL)0.5 - (REAL)0.5 * s * r);
    /* Where 1 / sqrt(x) is no number, and x is its own root. */
    return NAME(select)((BITS_VEC)(x > 0) & (BITS_VEC)(x < (REAL)INFINITY), better, x);
}
#undef ESTIMATE
#else
static INLINE VEC NAME(divide)(VEC a, VEC b) { return a / b; }

static INLINE VEC NAME(root)(VEC x)
{
    REAL each[LANES];
    NAME(store)(each, x);
    for (ptrdiff_t i = 0; i < LANES; ++i)
        each[i] = ROOT(each[i]);
    return NAME(load)(each);
}
#endif

/* exp(u) = scale * (1 + p): u = k ln 2 + r with |r| <= ln(2) / 2, scale = 2^(k + shift), and
 * p = exp(r) - 1 by its Taylor series, so that p keeps its relative accuracy near u = 0. */
static INLINE VEC NAME(exp_parts)(VEC u, BITS shift, VEC *scale)
{
    const VEC rounded = u * (REAL)1.4426950408889634074 + (REAL)ROUNDING_SHIFT;
    const VEC k = rounded - (REAL)ROUNDING_SHIFT;
    const VEC r = (u - k * (REAL)LN2_HIGH) - k * (REAL)LN2_LOW;
    /* The low bits of `rounded` are k; those of ROUNDING_SHIFT leave by the shift. */
    *scale = (VEC)(((BITS_VEC)rounded + (shift + EXPONENT_BIAS)) << MANTISSA_BITS);
    VEC q;
#if EXP_TERMS == 13
    q = SPLAT(1 / 6227020800.0);
    q = q * r + (REAL)(1 / 479001600.0);
    q = q * r + (REAL)(1 / 39916800.0);
    q = q * r + (REAL)(1 / 3628800.0);
    q = q * r + (REAL)(1 / 362880.0);
    q = q * r + (REAL)(1 / 40320.0);
    q = q * r + (REAL)(1 / 5040.0);
#else
    q = SPLAT(1 / 5040.0);
#endif
    q = q * r + (REAL)(1 / 720.0);
    q = q * r + (REAL)(1 / 120.0);
    q = q * r + (REAL)(1 / 24.0);
    q = q * r + (REAL)(1 / 6.0);
    q = q * r + (REAL)(1 / 2.0);
    const VEC square = r * r;
    return square * q + r;
}

/* 1 / (1 + exp(-x)), from exp(-|x|) so that nothing overflows and both tails keep their digits. */
static INLINE VEC NAME(sigmoid)(VEC x)
{
    VEC scale;
    VEC u = (VEC)((BITS_VEC)x | SIGN);
    u = NAME(select)((BITS_VEC)(u < (REAL)EXP_ZERO), SPLAT(EXP_ZERO), u);
    const VEC p = NAME(exp_parts)(u, EXP_SHIFT, &scale);
    const VEC e = (scale * p + scale) * (REAL)EXP_TINY;
    const VEC one_plus_e = e + 1;
    return NAME(divide)(NAME(select)((BITS_VEC)(x < 0), e, SPLAT(1)), one_plus_e);
}

/* tanh(x) = (exp(2x) - 1) / (exp(2x) + 1), from exp(2x) - 1 itself: 2 sigmoid(2x) - 1 would lose
 * all its digits near 0. */
static INLINE VEC NAME(tanh)(VEC x)
{
    VEC scale;
    VEC u = (VEC)((BITS_VEC)x & ~SIGN);
    u = NAME(select)((BITS_VEC)(u > (REAL)TANH_ONE), SPLAT(TANH_ONE), u);
    const VEC p = NAME(exp_parts)(u + u, 0, &scale);
    const VEC less = scale - 1;
    const VEC expm1 = scale * p + less;
    const VEC y = NAME(divide)(expm1, expm1 + 2);
    return (VEC)(((BITS_VEC)y & ~SIGN) | ((BITS_VEC)x & SIGN));
}
