/* Loops over flat arrays.  Included once for each element type and level; see types.h. */

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
    for (ptrdiff_t i = 0; i < size; i += LANES)
        NAME(store_some)(y + i, NAME(sigmoid)(NAME(load_some)(x + i, size - i)), size - i);
}

static void NAME(tanh_array)(ptrdiff_t size, const REAL *x, REAL *y)
{
    for (ptrdiff_t i = 0; i < size; i += LANES)
        NAME(store_some)(y + i, NAME(tanh)(NAME(load_some)(x + i, size - i)), size - i);
}

/* y [columns] += the sum of the rows of x. */
static void NAME(sum_rows)(ptrdiff_t rows, ptrdiff_t columns, const REAL *x, ptrdiff_t step, REAL *y)
{
    for (ptrdiff_t j = 0; j < columns; j += LANES) {
        VEC sum = NAME(load_some)(y + j, columns - j);
        for (ptrdiff_t i = 0; i < rows; ++i)
            sum += NAME(load_some)(x + i * step + j, columns - j);
        NAME(store_some)(y + j, sum, columns - j);
    }
}

/* Infinities and NaN are the values whose exponent bits are all set. */
static int NAME(all_finite)(ptrdiff_t size, const REAL *x)
{
    const BITS exponent = (BITS)(2 * EXPONENT_BIAS + 1) << MANTISSA_BITS;
    BITS_VEC bad = {0};
    for (ptrdiff_t i = 0; i < size; i += LANES) {
        const BITS_VEC bits = (BITS_VEC)NAME(load_some)(x + i, size - i) & exponent;
        bad |= (BITS_VEC)(bits == exponent);
    }
    BITS any = 0;
    for (ptrdiff_t i = 0; i < LANES; ++i)
        any |= bad[i];
    return !any;
}
