/* The numeric loops, written once for REAL in {float, double} and compiled for every instruction
 * level (see levels.h).  Plain loops over contiguous rows that the compiler turns into vector
 * code; no allocation, no call, no branch inside a row.
 *
 * Layout of `gates`, one row of four blocks of `units` per time step and sequence.  It holds first
 * the input projection, then the gate values, then (in the backward pass) their gradients, so that
 * one buffer serves them all:
 *
 *     block           0            1           2           3
 *     on entry        -            x W_z       x W_r       x W_n
 *     after forward   n            z           r           h U_n + c_n   (Cho: r * h_prev)
 *     after backward  dn           dz          dr          r * dn        (Cho: r * h_prev)
 *
 * Blocks 1-3 have the order of the recurrent kernel's columns, so each of the products with it is
 * one call.  Gradients are those of the values before the activation.
 */

static inline REAL NAME(from_bits)(BITS bits)
{
    REAL value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline BITS NAME(to_bits)(REAL value)
{
    BITS bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* exp(u) = scale * (1 + p): u = k ln 2 + r with |r| <= ln(2) / 2, scale = 2^(k + shift), and
 * p = exp(r) - 1 by its Taylor series, so that p keeps its relative accuracy near u = 0. */
static inline REAL NAME(exp_parts)(REAL u, BITS shift, REAL *scale)
{
    const REAL rounded = u * (REAL)1.4426950408889634074 + (REAL)ROUNDING_SHIFT;
    const BITS k = NAME(to_bits)(rounded) - NAME(to_bits)((REAL)ROUNDING_SHIFT);
    const REAL k_real = rounded - (REAL)ROUNDING_SHIFT;
    const REAL r = (u - k_real * (REAL)LN2_HIGH) - k_real * (REAL)LN2_LOW;
    REAL q;
#if EXP_TERMS == 13
    q = (REAL)(1 / 6227020800.0);
    q = q * r + (REAL)(1 / 479001600.0);
    q = q * r + (REAL)(1 / 39916800.0);
    q = q * r + (REAL)(1 / 3628800.0);
    q = q * r + (REAL)(1 / 362880.0);
    q = q * r + (REAL)(1 / 40320.0);
    q = q * r + (REAL)(1 / 5040.0);
#else
    q = (REAL)(1 / 5040.0);
#endif
    q = q * r + (REAL)(1 / 720.0);
    q = q * r + (REAL)(1 / 120.0);
    q = q * r + (REAL)(1 / 24.0);
    q = q * r + (REAL)(1 / 6.0);
    q = q * r + (REAL)(1 / 2.0);
    *scale = NAME(from_bits)((k + shift + EXPONENT_BIAS) << MANTISSA_BITS);
    return r * r * q + r;
}

/* 1 / (1 + exp(-x)), from exp(-|x|) so that nothing overflows and both tails keep their digits. */
static inline REAL NAME(sigmoid)(REAL x)
{
    REAL scale, u = x < 0 ? x : -x;
    u = u < (REAL)EXP_ZERO ? (REAL)EXP_ZERO : u;
    const REAL p = NAME(exp_parts)(u, EXP_SHIFT, &scale);
    const REAL e = (scale * p + scale) * (REAL)EXP_TINY;
    return (x < 0 ? e : (REAL)1) / ((REAL)1 + e);
}

/* tanh(x) = (exp(2x) - 1) / (exp(2x) + 1), from exp(2x) - 1 itself: 2 sigmoid(2x) - 1 would lose
 * all its digits near 0. */
static inline REAL NAME(tanh)(REAL x)
{
    REAL scale, u = x < 0 ? -x : x;
    u = u > (REAL)TANH_ONE ? (REAL)TANH_ONE : u;
    const REAL p = NAME(exp_parts)(u + u, 0, &scale);
    const REAL expm1 = scale * p + (scale - 1);
    const REAL y = expm1 / (expm1 + 2);
    const BITS sign = (BITS)1 << (8 * sizeof(REAL) - 1);
    return NAME(from_bits)((NAME(to_bits)(y) & ~sign) | (NAME(to_bits)(x) & sign));
}

/* The start of a row's backward pass.  The loss's own gradient at this step's output joins what
 * comes back from later steps; a masked step passes that on and has no gradients itself. */
static inline int NAME(begin_row_grad)(ptrdiff_t units, int kept, const REAL *dy, REAL *gates,
                                       REAL *dh)
{
    if (dy) {
        VECTOR_LOOP
        for (ptrdiff_t j = 0; j < units; ++j)
            dh[j] += dy[j];
    }
    if (!kept)
        memset(gates, 0, 4 * units * sizeof(REAL));
    return kept;
}

/* ---- GRU, reset_after=True ---------------------------------------------------------------- */

/* One step of `rows` sequences.  bias [2][3 units] (input row, recurrent row); mask [rows] or NULL:
 * where it is 0 the state stays as it was; hu [rows][3 units] = h_prev U; h_prev, h [rows][units];
 * gates [rows][4 units], see above. */
static void NAME(gru_gates)(ptrdiff_t rows, ptrdiff_t units, const REAL *bias, const uint8_t *mask,
                            const REAL *hu, const REAL *h_prev, REAL *gates, REAL *h)
{
    const REAL *b_z = bias, *c_z = bias + 3 * units;
    const REAL *b_r = b_z + units, *c_r = c_z + units;
    const REAL *b_n = b_r + units, *c_n = c_r + units;
    for (ptrdiff_t i = 0; i < rows; ++i) {
        const REAL *hu_z = hu + 3 * units * i;
        const REAL *hu_r = hu_z + units, *hu_n = hu_r + units;
        const REAL *old = h_prev + units * i;
        REAL *gate_n = gates + 4 * units * i, *gate_z = gate_n + units;
        REAL *gate_r = gate_z + units, *gate_u = gate_r + units;
        REAL *new = h + units * i;
        if (mask && !mask[i]) {
            memcpy(new, old, units * sizeof(REAL));
            continue;
        }
        VECTOR_LOOP
        for (ptrdiff_t j = 0; j < units; ++j) {
            /* [update gate] */
            const REAL z = NAME(sigmoid)(gate_z[j] + b_z[j] + hu_z[j] + c_z[j]);
            /* [reset gate] */
            const REAL r = NAME(sigmoid)(gate_r[j] + b_r[j] + hu_r[j] + c_r[j]);
            /* [current memory content] */
            const REAL u = hu_n[j] + c_n[j];
            const REAL n = NAME(tanh)(gate_u[j] + b_n[j] + r * u);
            /* [final memory] */
            new[j] = z * old[j] + (1 - z) * n;
            /* [end] */
            gate_n[j] = n;
            gate_z[j] = z;
            gate_r[j] = r;
            gate_u[j] = u;
        }
    }
}

/* The step's backward pass up to the product with U.  dy [rows][units] or NULL: what the loss adds
 * at this step's output; dh [rows][units]: on entry the gradient that comes back from the later
 * steps, on exit what reaches h_prev past the gates; gates: values in, gradients out;
 * dbias [4 units]: sums over the rows, in the order of the blocks, are added. */
static void NAME(gru_gates_grad)(ptrdiff_t rows, ptrdiff_t units, const uint8_t *mask,
                                 const REAL *h_prev, const REAL *dy, REAL *gates, REAL *dh,
                                 REAL *dbias)
{
    REAL *sum_n = dbias, *sum_z = sum_n + units;
    REAL *sum_r = sum_z + units, *sum_u = sum_r + units;
    for (ptrdiff_t i = 0; i < rows; ++i) {
        const REAL *old = h_prev + units * i;
        REAL *gate_n = gates + 4 * units * i, *gate_z = gate_n + units;
        REAL *gate_r = gate_z + units, *gate_u = gate_r + units;
        REAL *carry = dh + units * i;
        if (!NAME(begin_row_grad)(units, !mask || mask[i], dy ? dy + units * i : NULL, gate_n,
                                  carry))
            continue;
        VECTOR_LOOP
        for (ptrdiff_t j = 0; j < units; ++j) {
            const REAL n = gate_n[j], z = gate_z[j], r = gate_r[j], u = gate_u[j];
            const REAL d = carry[j];
            const REAL dn = d * (1 - z) * (1 - n * n);
            const REAL dz = d * (old[j] - n) * z * (1 - z);
            const REAL du = dn * r;
            const REAL dr = dn * u * r * (1 - r);
            carry[j] = d * z;
            gate_n[j] = dn;
            gate_z[j] = dz;
            gate_r[j] = dr;
            gate_u[j] = du;
            sum_n[j] += dn;
            sum_z[j] += dz;
            sum_r[j] += dr;
            sum_u[j] += du;
        }
    }
}

/* ---- GRU, reset_after=False (Cho et al. 2014) --------------------------------------------- */

/* First half of a step, before the product of r * h_prev with U_n.  On entry blocks 1 and 2 of
 * gates hold x W + h_prev U; bias [3 units]. */
static void NAME(cho_reset)(ptrdiff_t rows, ptrdiff_t units, const REAL *bias, const REAL *h_prev,
                            REAL *gates)
{
    const REAL *b_z = bias, *b_r = b_z + units, *b_n = b_r + units;
    for (ptrdiff_t i = 0; i < rows; ++i) {
        const REAL *old = h_prev + units * i;
        REAL *gate_n = gates + 4 * units * i, *gate_z = gate_n + units;
        REAL *gate_r = gate_z + units, *gate_u = gate_r + units;
        VECTOR_LOOP
        for (ptrdiff_t j = 0; j < units; ++j) {
            const REAL r = NAME(sigmoid)(gate_r[j] + b_r[j]);
            gate_z[j] = NAME(sigmoid)(gate_z[j] + b_z[j]);
            gate_r[j] = r;
            gate_n[j] = gate_u[j] + b_n[j];
            gate_u[j] = r * old[j];
        }
    }
}

/* Second half: on entry block 0 holds x W_n + b_n + (r * h_prev) U_n. */
static void NAME(cho_update)(ptrdiff_t rows, ptrdiff_t units, const uint8_t *mask,
                             const REAL *h_prev, REAL *gates, REAL *h)
{
    for (ptrdiff_t i = 0; i < rows; ++i) {
        const REAL *old = h_prev + units * i;
        REAL *gate_n = gates + 4 * units * i;
        const REAL *gate_z = gate_n + units;
        REAL *new = h + units * i;
        if (mask && !mask[i]) {
            memcpy(new, old, units * sizeof(REAL));
            continue;
        }
        VECTOR_LOOP
        for (ptrdiff_t j = 0; j < units; ++j) {
            const REAL z = gate_z[j], n = NAME(tanh)(gate_n[j]);
            new[j] = z * old[j] + (1 - z) * n;
            gate_n[j] = n;
        }
    }
}

/* Backward of the second half; arguments as in gru_gates_grad.  A masked row leaves r = 0 behind,
 * with which cho_reset_grad adds nothing. */
static void NAME(cho_update_grad)(ptrdiff_t rows, ptrdiff_t units, const uint8_t *mask,
                                  const REAL *h_prev, const REAL *dy, REAL *gates, REAL *dh,
                                  REAL *dbias)
{
    REAL *sum_n = dbias, *sum_z = sum_n + units;
    for (ptrdiff_t i = 0; i < rows; ++i) {
        const REAL *old = h_prev + units * i;
        REAL *gate_n = gates + 4 * units * i, *gate_z = gate_n + units;
        REAL *carry = dh + units * i;
        if (!NAME(begin_row_grad)(units, !mask || mask[i], dy ? dy + units * i : NULL, gate_n,
                                  carry))
            continue;
        VECTOR_LOOP
        for (ptrdiff_t j = 0; j < units; ++j) {
            const REAL n = gate_n[j], z = gate_z[j], d = carry[j];
            const REAL dn = d * (1 - z) * (1 - n * n);
            const REAL dz = d * (old[j] - n) * z * (1 - z);
            carry[j] = d * z;
            gate_n[j] = dn;
            gate_z[j] = dz;
            sum_n[j] += dn;
            sum_z[j] += dz;
        }
    }
}

/* Backward of the first half; drh [rows][units] = dn U_n', the gradient of r * h_prev. */
static void NAME(cho_reset_grad)(ptrdiff_t rows, ptrdiff_t units, const REAL *h_prev,
                                 const REAL *drh, REAL *gates, REAL *dh, REAL *dbias)
{
    REAL *sum_r = dbias + 2 * units;
    for (ptrdiff_t i = 0; i < rows; ++i) {
        const REAL *old = h_prev + units * i, *d = drh + units * i;
        REAL *gate_r = gates + 4 * units * i + 2 * units, *carry = dh + units * i;
        VECTOR_LOOP
        for (ptrdiff_t j = 0; j < units; ++j) {
            const REAL r = gate_r[j], dr = d[j] * old[j] * r * (1 - r);
            carry[j] += d[j] * r;
            gate_r[j] = dr;
            sum_r[j] += dr;
        }
    }
}

/* ---- Optimizers: one pass over the flat parameter vector ----------------------------------- */

/* velocity: NULL without momentum. */
static void NAME(sgd)(ptrdiff_t size, REAL *theta, const REAL *grad, REAL *velocity,
                      double learning_rate, double momentum, int nesterov)
{
    REAL *w = theta, *m = velocity;
    const REAL *g = grad;
    const REAL rate = (REAL)learning_rate, mu = (REAL)momentum;
    if (!velocity) {
        VECTOR_LOOP
        for (ptrdiff_t i = 0; i < size; ++i)
            w[i] -= rate * g[i];
        return;
    }
    /* Nesterov's look-ahead is one more application of the new velocity. */
    const REAL ahead = nesterov ? mu : 1, now = nesterov ? rate : 0;
    VECTOR_LOOP
    for (ptrdiff_t i = 0; i < size; ++i) {
        m[i] = mu * m[i] - rate * g[i];
        w[i] += ahead * m[i] - now * g[i];
    }
}

/* mean: NULL unless centered; velocity: NULL without momentum. */
static void NAME(rmsprop)(ptrdiff_t size, REAL *theta, const REAL *grad, REAL *square, REAL *mean,
                          REAL *velocity, double learning_rate, double rho, double momentum,
                          double epsilon)
{
    REAL *w = theta, *s = square, *a = mean, *m = velocity;
    const REAL *g = grad;
    const REAL rate = (REAL)learning_rate, keep = (REAL)rho, take = (REAL)(1 - rho);
    const REAL mu = (REAL)momentum, eps = (REAL)epsilon;
    VECTOR_LOOP
    for (ptrdiff_t i = 0; i < size; ++i) {
        s[i] = keep * s[i] + take * g[i] * g[i];
        REAL variance = s[i];
        if (a) {
            a[i] = keep * a[i] + take * g[i];
            variance -= a[i] * a[i];
        }
        REAL step = rate * g[i] / ROOT(variance + eps);
        if (m)
            step = m[i] = mu * m[i] + step;
        w[i] -= step;
    }
}

/* step_size: the learning rate with both bias corrections; v_max: NULL unless amsgrad. */
static void NAME(adam)(ptrdiff_t size, REAL *theta, const REAL *grad, REAL *m, REAL *v, REAL *v_max,
                       double step_size, double beta_1, double beta_2, double epsilon)
{
    REAL *w = theta, *first = m, *second = v, *most = v_max;
    const REAL *g = grad;
    const REAL rate = (REAL)step_size, eps = (REAL)epsilon;
    const REAL take_1 = (REAL)(1 - beta_1), take_2 = (REAL)(1 - beta_2);
    VECTOR_LOOP
    for (ptrdiff_t i = 0; i < size; ++i) {
        first[i] += (g[i] - first[i]) * take_1;
        second[i] += (g[i] * g[i] - second[i]) * take_2;
        REAL scale = second[i];
        if (most)
            scale = most[i] = most[i] > scale ? most[i] : scale;
        w[i] -= rate * first[i] / (ROOT(scale) + eps);
    }
}

/* ---- Small ones ----------------------------------------------------------------------------- */

static void NAME(sigmoid_array)(ptrdiff_t size, const REAL *x, REAL *y)
{
    VECTOR_LOOP
    for (ptrdiff_t i = 0; i < size; ++i)
        y[i] = NAME(sigmoid)(x[i]);
}

static void NAME(tanh_array)(ptrdiff_t size, const REAL *x, REAL *y)
{
    VECTOR_LOOP
    for (ptrdiff_t i = 0; i < size; ++i)
        y[i] = NAME(tanh)(x[i]);
}

/* Infinities and NaN are the values whose exponent bits are all set. */
static int NAME(all_finite)(ptrdiff_t size, const REAL *x)
{
    const BITS exponent = (BITS)(2 * EXPONENT_BIAS + 1) << MANTISSA_BITS;
    BITS bad = 0;
    VECTOR_LOOP
    for (ptrdiff_t i = 0; i < size; ++i)
        bad |= (NAME(to_bits)(x[i]) & exponent) == exponent;
    return !bad;
}

static const LOOPS NAME(loops) = {
    NAME(gru_gates),      NAME(gru_gates_grad), NAME(cho_reset), NAME(cho_update),
    NAME(cho_update_grad), NAME(cho_reset_grad), NAME(sgd),       NAME(rmsprop),
    NAME(adam),           NAME(sigmoid_array),  NAME(tanh_array), NAME(all_finite),
};

#undef TYPE
#undef REAL
#undef LOOPS
#undef ROOT
#undef BITS
#undef MANTISSA_BITS
#undef EXPONENT_BIAS
#undef ROUNDING_SHIFT
#undef LN2_HIGH
#undef LN2_LOW
#undef EXP_TERMS
#undef EXP_SHIFT
#undef EXP_TINY
#undef EXP_ZERO
#undef TANH_ONE
