/* Matrix products in register tiles.  Included once for each element type and level; see types.h.
 *
 * Every product here is  c[row][column] += sum over k of a[row][k] * b[k][column]  for a tile of a
 * few rows by a few vectors of columns, which stays in registers while k runs.  Each entry of c is
 * one chain of additions in the order of k, whatever else is in its tile: so a row of the result
 * does not depend on how many rows are computed with it, nor on which thread computes them.
 *
 * b is packed: the columns of one tile lie together, k by k, so that the tile reads whole lines.
 */

/* Rows of a full tile of 2 or 3 vectors a row: AVX-512 and NEON have 32 registers for the sums, the
 * others 16, of which twelve sums leave enough (without multiply-add, fewer). */
#if VECTOR_BYTES == 64 || defined(__aarch64__)
#define ROWS(width) 8
#elif VECTOR_BYTES == 32
#define ROWS(width) ((width) == 2 ? 6 : 4)
#else
#define ROWS(width) 4
#endif
#define MOST_ROWS ROWS(2)
#define FEWER_ROWS(width) (ROWS(width) > 4 ? 4 : 2) /* of a tile that is not full */
#define DEALT ROWS(3) /* rows in which work is dealt to threads */
#define ABREAST 4 /* panels that a single row takes together, or 2, to have sums enough in flight */
#define TILE NAME(tile)

typedef struct {
    int rows;                  /* 1 to ROWS(width) */
    int panels;                /* of b, side by side; more than 1 only with a single row */
    ptrdiff_t runs, inner;     /* k runs over `runs` stretches of `inner` */
    ptrdiff_t a_step, a_run;   /* in a: from one k to the next, from one run to the next */
    const REAL *b;
    ptrdiff_t b_step, b_run, b_panel;
    const REAL *start;         /* what c is before: a row for each panel; NULL: what c holds */
    ptrdiff_t c_at[3], c_panel;  /* in c: where each vector stands, and from panel to panel */
    const ptrdiff_t *counts;   /* lanes of each vector that exist in c; NULL: all */
    const REAL *a[MOST_ROWS];
    REAL *c[MOST_ROWS];
} TILE;

/* sum [rows][panels][width] += a b, for `inner` k. */
static INLINE void NAME(accumulate)(const int rows, const int panels, const int width, VEC *sum,
                                    const REAL *const *a, ptrdiff_t a_at, ptrdiff_t a_step,
                                    const REAL *b, ptrdiff_t b_step, ptrdiff_t b_panel,
                                    ptrdiff_t inner)
{
    CGRU_PRAGMA(GCC unroll 4) /* or a tenth of the instructions only count and compare */
    for (ptrdiff_t k = 0; k < inner; ++k) {
        VEC v[ABREAST * 3];
        UNROLL
        for (int p = 0; p < panels; ++p)
            UNROLL
            for (int w = 0; w < width; ++w) {
                v[p * width + w] = NAME(load)(b + p * b_panel + w * LANES);
                /* Each line once; a single row reads as fast as memory gives anyway. */
                if (rows > 1 && w * VECTOR_BYTES % 64 == 0)
                    __builtin_prefetch(b + p * b_panel + w * LANES + 24 * width * LANES);
            }
        UNROLL
        for (int i = 0; i < rows; ++i)
            UNROLL
            for (int p = 0; p < panels * width; ++p)
                sum[i * panels * width + p] += v[p] * a[i][a_at];
        a_at += a_step;
        b += b_step;
    }
}

static INLINE void NAME(tile_body)(const int rows, const int panels, const int width, const TILE *t)
{
    VEC sum[(MOST_ROWS > ABREAST ? MOST_ROWS : ABREAST) * 3];
    const REAL *a[MOST_ROWS];
    const ptrdiff_t from_panel = t->start ? width * LANES : t->c_panel;
    UNROLL
    for (int i = 0; i < rows; ++i) {
        const REAL *from = t->start ? t->start : t->c[i];
        a[i] = t->a[i];
        UNROLL
        for (int p = 0; p < panels; ++p)
            UNROLL
            for (int w = 0; w < width; ++w)
                sum[(i * panels + p) * width + w] = NAME(load)(
                    from + p * from_panel + (t->start ? w * LANES : t->c_at[w]));
    }
    for (ptrdiff_t run = 0; run < t->runs; ++run)
        NAME(accumulate)(rows, panels, width, sum, a, run * t->a_run, t->a_step,
                         t->b + run * t->b_run, t->b_step, t->b_panel, t->inner);
    UNROLL
    for (int i = 0; i < rows; ++i)
        UNROLL
        for (int p = 0; p < panels; ++p)
            UNROLL
            for (int w = 0; w < width; ++w)
                NAME(store)(t->c[i] + p * t->c_panel + t->c_at[w],
                            sum[(i * panels + p) * width + w]);
}

/* A tile at the edge of c, where some lanes do not exist: through a whole one. */
static void NAME(run_edge_tile)(const TILE *t, int width, void (*run)(const TILE *))
{
    REAL whole[MOST_ROWS][3 * LANES];
    TILE inside = *t;
    inside.counts = NULL;
    for (int i = 0; i < ROWS(width); ++i) {
        inside.c[i] = whole[i];
        for (int w = 0; w < width && !t->start; ++w)
            NAME(store)(whole[i] + w * LANES, NAME(load_some)(t->c[i] + t->c_at[w], t->counts[w]));
    }
    for (int w = 0; w < width; ++w)
        inside.c_at[w] = w * LANES;
    run(&inside);
    for (int i = 0; i < t->rows; ++i)
        for (int w = 0; w < width; ++w)
            NAME(store_some)(t->c[i] + t->c_at[w], NAME(load)(whole[i] + w * LANES), t->counts[w]);
}

#define TILES_OF(width)                                                              \
    static void NAME(tile_full_##width)(const TILE *t)                               \
    {                                                                                \
        NAME(tile_body)(ROWS(width), 1, width, t);                                   \
    }                                                                                \
    static void NAME(tile_fewer_##width)(const TILE *t)                              \
    {                                                                                \
        NAME(tile_body)(FEWER_ROWS(width), 1, width, t);                             \
    }                                                                                \
    static void NAME(tile_two_##width)(const TILE *t)                                \
    {                                                                                \
        NAME(tile_body)(2, 1, width, t);                                             \
    }                                                                                \
    static void NAME(tile_row_##width)(const TILE *t)                                \
    {                                                                                \
        NAME(tile_body)(1, 1, width, t);                                             \
    }                                                                                \
    static void NAME(tile_pair_##width)(const TILE *t)                               \
    {                                                                                \
        NAME(tile_body)(1, 2, width, t);                                             \
    }                                                                                \
    static void NAME(tile_abreast_##width)(const TILE *t)                            \
    {                                                                                \
        NAME(tile_body)(1, ABREAST, width, t);                                       \
    }                                                                                \
    static void NAME(run_whole_tile_##width)(const TILE *t)                          \
    {                                                                                \
        if (t->rows > FEWER_ROWS(width))                                             \
            NAME(tile_full_##width)(t);                                              \
        else if (t->rows > 2)                                                        \
            NAME(tile_fewer_##width)(t);                                             \
        else if (t->rows > 1)                                                        \
            NAME(tile_two_##width)(t);                                               \
        else if (t->panels == 1)                                                     \
            NAME(tile_row_##width)(t);                                               \
        else if (t->panels == 2)                                                     \
            NAME(tile_pair_##width)(t);                                              \
        else                                                                         \
            NAME(tile_abreast_##width)(t);                                           \
    }                                                                                \
    static INLINE void NAME(run_tile_##width)(TILE *t)                               \
    {                                                                                \
        for (int i = t->rows; i < ROWS(width); ++i) {                                \
            t->a[i] = t->a[t->rows - 1]; /* computed several times, stored in one */ \
            t->c[i] = t->c[t->rows - 1]; /* place */                                 \
        }                                                                            \
        if (t->counts)                                                               \
            NAME(run_edge_tile)(t, width, NAME(run_whole_tile_##width));             \
        else                                                                         \
            NAME(run_whole_tile_##width)(t);                                         \
    }
TILES_OF(2)
TILES_OF(3)
#undef TILES_OF

static INLINE void NAME(run_tile)(const int width, TILE *t)
{
    if (width == 2)
        NAME(run_tile_2)(t);
    else
        NAME(run_tile_3)(t);
}

/* How many of `left` rows the next tile takes: all it can, but rather twice four than six and two,
 * whose few sums would wait for each other. */
static INLINE int NAME(height)(const int width, ptrdiff_t left)
{
    if (ROWS(width) == 6 && (left == 7 || left == 8))
        return 4;
    return (int)(left < ROWS(width) ? left : ROWS(width));
}

/* How many of `left` panels a tile of `rows` rows may take together. */
static INLINE int NAME(abreast)(ptrdiff_t rows, ptrdiff_t left)
{
    return rows > 1 || left == 1 ? 1 : left < ABREAST ? 2 : ABREAST;
}

/* ---- Packing ------------------------------------------------------------------------------ */

/* One vector's width of columns of b, k by k: to[k][lane] = from[k][lane], 0 beyond `lanes`. */
static void NAME(pack_columns)(ptrdiff_t inner, ptrdiff_t lanes, const REAL *from, ptrdiff_t step,
                               REAL *to, ptrdiff_t to_step)
{
    for (ptrdiff_t k = 0; k < inner && lanes >= LANES; ++k)
        NAME(store)(to + k * to_step, NAME(load)(from + k * step));
    for (ptrdiff_t k = 0; k < inner && lanes < LANES; ++k) {
        NAME(store)(to + k * to_step, SPLAT(0));
        for (ptrdiff_t lane = 0; lane < lanes; ++lane)
            to[k * to_step + lane] = from[k * step + lane];
    }
}

/* The same of b's transpose: to[k][lane] = from[lane][k]. */
static void NAME(pack_rows)(ptrdiff_t inner, ptrdiff_t lanes, const REAL *from, ptrdiff_t step,
                            REAL *to, ptrdiff_t to_step)
{
    for (ptrdiff_t k = 0; k < inner; ++k) {
        REAL *row = to + k * to_step;
        for (ptrdiff_t lane = 0; lane < lanes; ++lane)
            row[lane] = from[lane * step + k];
        for (ptrdiff_t lane = lanes; lane < LANES; ++lane)
            row[lane] = 0;
    }
}

/* ---- Products of plain row-major matrices ------------------------------------------------- */

/* The sum of a[i] * b[i], in an order that depends on `count` alone. */
static REAL NAME(dot)(const REAL *a, const REAL *b, ptrdiff_t count)
{
    VEC sums[4] = {{0}};
    REAL lanes[LANES], sum = 0;
    for (ptrdiff_t i = 0, n = 0; i < count; i += LANES, ++n)
        sums[n % 4] += NAME(load_some)(a + i, count - i) * NAME(load_some)(b + i, count - i);
    NAME(store)(lanes, (sums[0] + sums[1]) + (sums[2] + sums[3]));
    for (ptrdiff_t i = 0; i < LANES; ++i)
        sum += lanes[i];
    return sum;
}

/* The rows top .. bottom - 1 of a product with a matrix of one column, as Dense(1) has it: in tiles
 * it would be one lane of many.  Whatever has one column lies in memory without gaps. */
static void NAME(column)(const cgru_product *job, ptrdiff_t top, ptrdiff_t bottom)
{
    const REAL *a = job->a, *b = job->b;
    REAL *c = job->c;
    if (!job->turn_a) {
        for (ptrdiff_t i = top; i < bottom; ++i)
            c[i] = (job->add ? c[i] : 0) + NAME(dot)(a + i * job->a_step, b, job->inner);
        return;
    }
    for (ptrdiff_t i = top; i < bottom; i += LANES) {
        VEC sum = job->add ? NAME(load_some)(c + i, bottom - i) : SPLAT(0);
        for (ptrdiff_t k = 0; k < job->inner; ++k)
            sum += NAME(load_some)(a + k * job->a_step + i, bottom - i) * b[k];
        NAME(store_some)(c + i, sum, bottom - i);
    }
}

/* The part of a product that falls to one thread; see cgru_product in jobs.h. */
static void NAME(product)(void *argument, int thread, int threads)
{
    const cgru_product *job = argument;
    enum { DEPTH = 8192 / VECTOR_BYTES }; /* a slice of b is then 16 kB and stays in L1 */
    const ptrdiff_t M = job->rows, N = job->columns, K = job->inner;
    const ptrdiff_t width = 2 * LANES, panels = (N + width - 1) / width;
    const REAL *a = job->a, *b = job->b;
    REAL *c = job->c;
    REAL slice[DEPTH * 2 * LANES] __attribute__((aligned(VECTOR_BYTES)));
    REAL zeros[2 * LANES] = {0};
    ptrdiff_t first, last, top = 0, bottom = M;
    if (panels >= threads) {
        cgru_share(panels, 1, thread, threads, &first, &last);
    } else {
        first = 0, last = panels;
        cgru_share(M, DEALT, thread, threads, &top, &bottom);
    }
    if (N == 1 && job->c_step == 1 && (job->turn_b || job->b_step == 1)) {
        NAME(column)(job, top, bottom);
        return;
    }
    for (ptrdiff_t p = first; p < last; ++p) {
        ptrdiff_t counts[2];
        for (int w = 0; w < 2; ++w)
            counts[w] = NAME(lanes)(N - p * width - w * LANES);
        TILE t = {.panels = 1, .runs = 1, .a_step = job->turn_a ? job->a_step : 1, .b = slice,
                  .b_step = width, .c_at = {0, LANES},
                  .counts = counts[1] < LANES ? counts : NULL};
        for (ptrdiff_t k = 0; k < K; k += DEPTH) {
            t.inner = K - k < DEPTH ? K - k : DEPTH;
            t.start = k == 0 && !job->add ? zeros : NULL;
            for (int w = 0; w < 2; ++w) {
                const ptrdiff_t column = p * width + w * LANES;
                if (job->turn_b)
                    NAME(pack_rows)(t.inner, counts[w], b + column * job->b_step + k, job->b_step,
                                    slice + w * LANES, width);
                else
                    NAME(pack_columns)(t.inner, counts[w], b + k * job->b_step + column,
                                       job->b_step, slice + w * LANES, width);
            }
            for (ptrdiff_t i = top; i < bottom; i += t.rows) {
                t.rows = NAME(height)(2, bottom - i);
                for (int r = 0; r < t.rows; ++r) {
                    t.a[r] = job->turn_a ? a + (i + r) + k * job->a_step
                                         : a + (i + r) * job->a_step + k;
                    t.c[r] = c + (i + r) * job->c_step + p * width;
                }
                NAME(run_tile_2)(&t);
            }
        }
    }
}
