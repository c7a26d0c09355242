/* Loops over flat arrays.  Included once for each element type and level; see types.h. */

/* ---- Optimizers: one pass over the flat parameter vector; see cgru_update in jobs.h -------- */

/* numbers: learning rate, momentum, 1 for Nesterov; slots: the velocity, NULL without momentum. */
static void NAME(sgd)(void *argument, int thread, int threads)
{
    const cgru_update *job = argument;
    REAL *w = job->theta, *m = job->slots[0];
    const REAL *g = job->grad;
    const REAL rate = (REAL)job->numbers[0], mu = (REAL)job->numbers[1];
    ptrdiff_t first, last;
    cgru_share(job->size, STRIP, thread, threads, &first, &last);
    if (!m) {
        VECTOR_LOOP
        for (ptrdiff_t i = first; i < last; ++i)
            w[i] -= rate * g[i];
        return;
    }
    /* Nesterov's look-ahead is one more application of the new velocity. */
    const REAL ahead = job->numbers[2] ? mu : 1, now = job->numbers[2] ? rate : 0;
    VECTOR_LOOP
    for (ptrdiff_t i = first; i < last; ++i) {
        m[i] = mu * m[i] - rate * g[i];
        w[i] += ahead * m[i] - now * g[i];
    }
}

/* numbers: learning rate, rho, momentum, epsilon; slots: the mean square, the mean (NULL unless
 * centered) and the velocity (NULL without momentum). */
static void NAME(rmsprop)(void *argument, int thread, int threads)
{
    const cgru_update *job = argument;
    REAL *w = job->theta, *s = job->slots[0], *a = job->slots[1], *m = job->slots[2];
    const REAL *g = job->grad;
    const REAL rate = (REAL)job->numbers[0], keep = (REAL)job->numbers[1];
    const REAL take = (REAL)(1 - job->numbers[1]), mu = (REAL)job->numbers[2];
    const REAL eps = (REAL)job->numbers[3];
    ptrdiff_t first, last;
    cgru_share(job->size, STRIP, thread, threads, &first, &last);
    VECTOR_LOOP
    for (ptrdiff_t i = first; i < last; ++i) {
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

/* numbers: the learning rate with both bias corrections, beta 1, beta 2, epsilon, and what Nadam
 * takes of the gradient itself; slots: both means and the largest second one (NULL unless
 * amsgrad). */
static INLINE void NAME(adam_step)(const int nesterov, const cgru_update *job, int thread, int threads)
{
    REAL *w = job->theta, *m = job->slots[0], *v = job->slots[1], *most = job->slots[2];
    const REAL *g = job->grad;
    const REAL rate = (REAL)job->numbers[0], eps = (REAL)job->numbers[3];
    const REAL take_1 = (REAL)(1 - job->numbers[1]), take_2 = (REAL)(1 - job->numbers[2]);
    const REAL ahead = (REAL)job->numbers[4];
    ptrdiff_t first, last;
    cgru_share(job->size, STRIP, thread, threads, &first, &last);
    for (ptrdiff_t i = first; i < last; i += LANES) {
        const ptrdiff_t count = last - i;
        const VEC grad = NAME(load_some)(g + i, count), mean = NAME(load_some)(m + i, count);
        const VEC square = NAME(load_some)(v + i, count);
        const VEC new_mean = mean + (grad - mean) * take_1;
        const VEC new_square = square + (grad * grad - square) * take_2;
        VEC scale = new_square;
        NAME(store_some)(m + i, new_mean, count);
        NAME(store_some)(v + i, new_square, count);
        if (most) {
            const VEC before = NAME(load_some)(most + i, count);
            scale = NAME(select)((BITS_VEC)(before > scale), before, scale);
            NAME(store_some)(most + i, scale, count);
        }
        VEC step = rate * new_mean;
        if (nesterov)
            step += ahead * grad;
        step /= NAME(root)(scale) + eps;
        NAME(store_some)(w + i, NAME(load_some)(w + i, count) - step, count);
    }
}

static void NAME(adam)(void *argument, int thread, int threads)
{
    NAME(adam_step)(0, argument, thread, threads);
}

static void NAME(nadam)(void *argument, int thread, int threads)
{
    NAME(adam_step)(1, argument, thread, threads);
}

/* numbers: the learning rate with its bias correction, beta 1, beta 2, epsilon; slots: the mean and
 * the largest, fading size. */
static void NAME(adamax)(void *argument, int thread, int threads)
{
    const cgru_update *job = argument;
    REAL *w = job->theta, *m = job->slots[0], *u = job->slots[1];
    const REAL *g = job->grad;
    const REAL rate = (REAL)job->numbers[0], take = (REAL)(1 - job->numbers[1]);
    const REAL keep = (REAL)job->numbers[2], eps = (REAL)job->numbers[3];
    ptrdiff_t first, last;
    cgru_share(job->size, STRIP, thread, threads, &first, &last);
    VECTOR_LOOP
    for (ptrdiff_t i = first; i < last; ++i) {
        const REAL size = g[i] < 0 ? -g[i] : g[i], faded = keep * u[i];
        m[i] += (g[i] - m[i]) * take;
        u[i] = faded > size ? faded : size;
        w[i] -= rate * m[i] / (u[i] + eps);
    }
}

/* numbers: learning rate, epsilon; slot: the sum of squares. */
static void NAME(adagrad)(void *argument, int thread, int threads)
{
    const cgru_update *job = argument;
    REAL *w = job->theta, *s = job->slots[0];
    const REAL *g = job->grad;
    const REAL rate = (REAL)job->numbers[0], eps = (REAL)job->numbers[1];
    ptrdiff_t first, last;
    cgru_share(job->size, STRIP, thread, threads, &first, &last);
    VECTOR_LOOP
    for (ptrdiff_t i = first; i < last; ++i) {
        s[i] += g[i] * g[i];
        w[i] -= rate * g[i] / ROOT(s[i] + eps);
    }
}

/* numbers: learning rate, rho, epsilon; slots: the mean squares of gradients and of steps. */
static void NAME(adadelta)(void *argument, int thread, int threads)
{
    const cgru_update *job = argument;
    REAL *w = job->theta, *s = job->slots[0], *d = job->slots[1];
    const REAL *g = job->grad;
    const REAL rate = (REAL)job->numbers[0], keep = (REAL)job->numbers[1];
    const REAL take = (REAL)(1 - job->numbers[1]), eps = (REAL)job->numbers[2];
    ptrdiff_t first, last;
    cgru_share(job->size, STRIP, thread, threads, &first, &last);
    VECTOR_LOOP
    for (ptrdiff_t i = first; i < last; ++i) {
        s[i] = keep * s[i] + take * g[i] * g[i];
        const REAL step = ROOT(d[i] + eps) * g[i] / ROOT(s[i] + eps);
        d[i] = keep * d[i] + take * step * step;
        w[i] -= rate * step;
    }
}

/* numbers: learning rate, beta 1, beta 2; slot: the mean. */
static void NAME(lion)(void *argument, int thread, int threads)
{
    const cgru_update *job = argument;
    REAL *w = job->theta, *m = job->slots[0];
    const REAL *g = job->grad;
    const REAL rate = (REAL)job->numbers[0];
    const REAL keep_1 = (REAL)job->numbers[1], take_1 = (REAL)(1 - job->numbers[1]);
    const REAL keep_2 = (REAL)job->numbers[2], take_2 = (REAL)(1 - job->numbers[2]);
    ptrdiff_t first, last;
    cgru_share(job->size, STRIP, thread, threads, &first, &last);
    VECTOR_LOOP
    for (ptrdiff_t i = first; i < last; ++i) {
        const REAL mixed = keep_1 * m[i] + take_1 * g[i];
        const REAL sign = mixed > 0 ? 1 : mixed < 0 ? -1 : mixed; /* 0 and NaN stay */
        w[i] -= rate * sign;
        m[i] = keep_2 * m[i] + take_2 * g[i];
    }
}

/* theta = numbers[0] theta + numbers[1] grad, which may be one array: weight decay, averages and
 * sums of gradients. */
static void NAME(blend)(void *argument, int thread, int threads)
{
    const cgru_update *job = argument;
    REAL *w = job->theta;
    const REAL *g = job->grad;
    const REAL keep = (REAL)job->numbers[0], take = (REAL)job->numbers[1];
    ptrdiff_t first, last;
    cgru_share(job->size, STRIP, thread, threads, &first, &last);
    VECTOR_LOOP
    for (ptrdiff_t i = first; i < last; ++i)
        w[i] = keep * w[i] + take * g[i];
}

/* ---- Small ones ----------------------------------------------------------------------------- */

#define ARRAY_OF(function)                                                            \
    static void NAME(function##_array)(ptrdiff_t size, const REAL *x, REAL *y)        \
    {                                                                                 \
        VEC values[WAYS];                                                             \
        ptrdiff_t i = 0;                                                              \
        for (; i + WAYS * LANES <= size; i += WAYS * LANES) {                         \
            UNROLL for (int w = 0; w < WAYS; ++w)                                     \
                values[w] = NAME(load)(x + i + w * LANES);                            \
            NAME(function)(WAYS, values);                                             \
            UNROLL for (int w = 0; w < WAYS; ++w)                                     \
                NAME(store)(y + i + w * LANES, values[w]);                            \
        }                                                                             \
        for (; i < size; i += LANES) {                                                \
            values[0] = NAME(load_some)(x + i, size - i);                             \
            NAME(function)(1, values);                                                \
            NAME(store_some)(y + i, values[0], size - i);                             \
        }                                                                             \
    }
ARRAY_OF(sigmoid)
ARRAY_OF(tanh)
#undef ARRAY_OF

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
