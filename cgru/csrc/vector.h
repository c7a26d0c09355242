/* One vector of REAL, as wide as the instruction level has them, and the functions of it that the
 * gates need.  Included once for each element type and level; see types.h.
 *
 * The width must be that of the level's registers: a wider type is legal, and fifty times slower.
 * Nothing here leaves the compiler a choice of which product to fuse with which sum, so that each
 * element comes out the same wherever the function is inlined.
 */
#define LANES ((ptrdiff_t)(VECTOR_BYTES / sizeof(REAL)))
#define STRIP ((ptrdiff_t)(64 / sizeof(REAL))) /* elements of a cache line */
#define VEC NAME(vector)
#define BITS_VEC NAME(bits_vector)

typedef REAL VEC __attribute__((vector_size(VECTOR_BYTES)));
typedef REAL NAME(unaligned) __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(REAL)),
                                            may_alias));
typedef BITS BITS_VEC __attribute__((vector_size(VECTOR_BYTES)));

static INLINE VEC NAME(load)(const REAL *from) { return *(const NAME(unaligned) *)from; }
static INLINE void NAME(store)(REAL *to, VEC value) { *(NAME(unaligned) *)to = value; }

/* How many lanes of a vector there are where `left` elements are left, or less than none. */
static INLINE ptrdiff_t NAME(lanes)(ptrdiff_t left)
{
    return left < 0 ? 0 : left < LANES ? left : LANES;
}

/* The first `count` lanes, which may be none; the others are 0, or not stored. */
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

/* A product that is rounded before anything is added to it: of a sum of two products the compiler
 * may fuse either one, and not the same one wherever it inlines a function. */
static INLINE VEC NAME(rounded)(VEC product)
{
#if defined(__x86_64__)
    __asm__("" : "+v"(product));
#elif defined(__aarch64__)
    __asm__("" : "+w"(product));
#else
    __asm__("" : "+m"(product));
#endif
    return product;
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
 * of 1 / b and 1 / sqrt(x) to 14 bits, whose number a step of Newton's doubles. */
#define ESTIMATE(function, x) ((VEC)__builtin_ia32_##function##ps512_mask(x, (VEC){0}, -1))

/* a / b, for b and 1 / b that are neither subnormal nor infinite. */
static INLINE VEC NAME(divide)(VEC a, VEC b)
{
    const VEC r = ESTIMATE(rcp14, b), q = a * r;
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

/* ---- Of several vectors at once ----
 * Each function below is one long chain of operations, of which a CPU has room for little more than
 * one in flight: so they take up to WAYS vectors, whose chains go side by side. */

#if VECTOR_BYTES == 64 || defined(__aarch64__)
#define WAYS 4
#else
#define WAYS 2 /* 16 registers hold no more */
#endif
#define EACH(i) UNROLL for (int i = 0; i < ways; ++i)

/* exp(u) = scale * (1 + p): u = k ln 2 + r with |r| <= ln(2) / 2, scale = 2^(k + shift), and
 * p = exp(r) - 1 as r + r^2 (a polynomial), so that it keeps its relative accuracy near u = 0. */
static INLINE void NAME(exp_parts)(const int ways, const VEC *u, BITS shift, VEC *p, VEC *scale)
{
    static const REAL polynomial[] = EXP_POLYNOMIAL;
    enum { TERMS = sizeof polynomial / sizeof *polynomial };
    VEC r[WAYS];
    EACH(i) {
        const VEC rounded = u[i] * (REAL)1.4426950408889634074 + (REAL)ROUNDING_SHIFT;
        const VEC k = rounded - (REAL)ROUNDING_SHIFT;
        r[i] = (u[i] - k * (REAL)LN2_HIGH) - k * (REAL)LN2_LOW;
        /* The low bits of `rounded` are k; those of ROUNDING_SHIFT leave by the shift. */
        scale[i] = (VEC)(((BITS_VEC)rounded + (shift + EXPONENT_BIAS)) << MANTISSA_BITS);
        p[i] = SPLAT(polynomial[0]);
    }
    UNROLL for (int term = 1; term < TERMS; ++term)
        EACH(i) p[i] = p[i] * r[i] + polynomial[term];
    EACH(i) p[i] = r[i] * r[i] * p[i] + r[i];
}

/* x = 1 / (1 + exp(-x)), from exp(-|x|) so that nothing overflows and both tails keep their
 * digits. */
static INLINE void NAME(sigmoid)(const int ways, VEC *x)
{
    VEC u[WAYS], p[WAYS], scale[WAYS];
    EACH(i) {
        u[i] = (VEC)((BITS_VEC)x[i] | SIGN);
        u[i] = NAME(select)((BITS_VEC)(u[i] < (REAL)EXP_ZERO), SPLAT(EXP_ZERO), u[i]);
    }
    NAME(exp_parts)(ways, u, EXP_SHIFT, p, scale);
    EACH(i) {
        const VEC e = (scale[i] * p[i] + scale[i]) * (REAL)EXP_TINY, one_plus_e = e + 1;
        x[i] = NAME(divide)(NAME(select)((BITS_VEC)(x[i] < 0), e, SPLAT(1)), one_plus_e);
    }
}

/* x = (exp(2x) - 1) / (exp(2x) + 1), from exp(2x) - 1 itself: 2 sigmoid(2x) - 1 would lose all its
 * digits near 0. */
static INLINE void NAME(tanh)(const int ways, VEC *x)
{
    VEC u[WAYS], p[WAYS], scale[WAYS];
    EACH(i) {
        u[i] = (VEC)((BITS_VEC)x[i] & ~SIGN);
        u[i] = NAME(select)((BITS_VEC)(u[i] > (REAL)TANH_ONE), SPLAT(TANH_ONE), u[i]);
        u[i] += u[i];
    }
    NAME(exp_parts)(ways, u, 0, p, scale);
    EACH(i) {
        const VEC less = scale[i] - 1, expm1 = scale[i] * p[i] + less;
        const VEC y = NAME(divide)(expm1, expm1 + 2);
        x[i] = (VEC)(((BITS_VEC)y & ~SIGN) | ((BITS_VEC)x[i] & SIGN));
    }
}
