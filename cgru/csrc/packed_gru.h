/* The packed GRU (reset_after=True): a whole sequence, forward and backward.  Included once for
 * each element type and level; see types.h, and cgru_gru in levels.h for the arguments.
 *
 * The units are taken in blocks of one vector.  Everything that belongs to a block lies together:
 *
 *     packed W, U   [block][k][3 gates]     the columns of a block's three gates, k by k
 *     gates         [block][t][b][4]        of vectors; at first the input projection, then the
 *                                           gate values, then (backward) their gradients:
 *
 *         vector           0            1           2           3
 *         projection       x W_n        x W_z       x W_r       c_n        with the biases
 *         after forward    n            z           r           h U_n + c_n
 *         after backward   dn           dz          dr          r * dn
 *
 * So a step's product reads and adds to vectors 1-3, the input's gradients use 0-2, and every tile
 * reads and writes whole contiguous lines.
 *
 * Forward, a tile goes from inputs and old states to new states without leaving the registers
 * (whole_step) where its weights stay in the nearest cache.  Where they do not, or for a single
 * sequence, the input projection of some steps is made first (project), and the weights of the
 * states come in slices, between which the sums are parked in the gates.  Both add in one order.
 *
 * Threads: the sequences are dealt to `groups` of threads, and each group's members share the
 * blocks of units, meeting after each step.  No thread adds to what another one adds to.
 *
 * Steps take the blocks there and back in turn: the weights that one step used last are in the cache
 * when the next one begins.
 */
#define BLOCKS(units) (((units) + LANES - 1) / LANES)
#define GROUP 8   /* blocks whose weights' gradients are made together */
#define STRIP ((ptrdiff_t)(64 / sizeof(REAL))) /* and rows of weights: one cache line of states */
#define SLICE (24576 / VECTOR_BYTES) /* vectors of packed weights that stay in the L1 cache */

/* ---- One step of one block, element by element ---------------------------------------------- */

/* From the values before the activations to the gates, in place, and the new states, of up to WAYS
 * vectors side by side. */
static INLINE void NAME(gru_cell)(const int ways, VEC *n, VEC *z, VEC *r, const VEC *u,
                                  const VEC *h, VEC *h_new)
{
    /* [update gate] */
    NAME(sigmoid)(ways, z);
    /* [reset gate] */
    NAME(sigmoid)(ways, r);
    /* [current memory content] */
    EACH(i) n[i] = n[i] + r[i] * u[i];
    NAME(tanh)(ways, n);
    /* [final memory] */
    EACH(i) {
        const VEC change = h[i] - n[i];
        h_new[i] = n[i] + z[i] * change; /* = z h + (1 - z) n */
    }
    /* [end] */
}

/* From the gates to the gradients before the activations, in place, for the gradient d of the new
 * state; returns what of d reaches the old state h past the gates. */
static INLINE VEC NAME(gru_cell_grad)(VEC *n, VEC *z, VEC *r, VEC *u, VEC h, VEC d)
{
    const VEC past = d * *z;
    const VEC into = d - past;
    const VEC dn = into * (1 - *n * *n);
    const VEC dz = (h - *n) * past * (1 - *z);
    const VEC du = dn * *r;
    const VEC dr = du * *u * (1 - *r);
    *n = dn;
    *z = dz;
    *r = dr;
    *u = du;
    return past;
}

/* ---- Packing ---- */

/* The panels [k][3 gates] of the blocks first .. last - 1; `gates` is their order.  A group of
 * blocks at a time, row by row: so what is read lies together, and so does what is written. */
static void NAME(pack_gates)(ptrdiff_t inner, ptrdiff_t units, const REAL *from, const int *gates,
                             ptrdiff_t first, ptrdiff_t last, REAL *to)
{
    for (ptrdiff_t group = first; group < last; group += GROUP)
        for (ptrdiff_t k = 0; k < inner; ++k)
            for (int g = 0; g < 3; ++g)
                for (ptrdiff_t j = group; j < group + GROUP && j < last; ++j)
                    NAME(store)(to + (j * inner + k) * 3 * LANES + g * LANES,
                                NAME(load_some)(from + (3 * k + gates[g]) * units + j * LANES,
                                                units - j * LANES));
}

/* The panels [block][gate][lane][2 vectors of k] of the transpose, of the panels first .. last - 1. */
static void NAME(pack_gates_turned)(ptrdiff_t rows, ptrdiff_t units, const REAL *from,
                                    const int *gates, ptrdiff_t first, ptrdiff_t last, REAL *to)
{
    const ptrdiff_t size = BLOCKS(units) * 3 * LANES * 2 * LANES;
    memset(to + first * size, 0, (last - first) * size * sizeof(REAL));
    for (ptrdiff_t p = first; p < last; ++p)
        for (ptrdiff_t j = 0; j < BLOCKS(units); ++j)
            for (int g = 0; g < 3; ++g)
                for (int w = 0; w < 2; ++w) {
                    const ptrdiff_t row = (2 * p + w) * LANES, unit = j * LANES;
                    const ptrdiff_t left = units - unit;
                    if (row < rows)
                        NAME(pack_rows)(left < LANES ? left : LANES,
                                        rows - row < LANES ? rows - row : LANES,
                                        from + row * 3 * units + gates[g] * units + unit,
                                        3 * units,
                                        to + p * size + (3 * j + g) * LANES * 2 * LANES + w * LANES,
                                        2 * LANES);
                }
}

static const int NAME(nzr)[] = {2, 0, 1}, NAME(zrn)[] = {0, 1, 2};

/* Where the parts of a packed buffer begin, in elements; the last entry is its size. */
static void NAME(packed_parts)(const cgru_gru *job, ptrdiff_t *part)
{
    const ptrdiff_t blocks = BLOCKS(job->units), panels = (blocks + 1) / 2;
    const ptrdiff_t inputs = (BLOCKS(job->inputs) + 1) / 2;
    const ptrdiff_t size = blocks * 3 * LANES * 2 * LANES;
    part[0] = 0;
    if (job->turned) {
        part[1] = panels * size;                       /* U turned */
        part[2] = part[1] + (job->dx ? inputs * size : 0); /* W turned */
        part[3] = part[2];
    } else {
        part[1] = blocks * job->units * 3 * LANES;           /* U */
        part[2] = part[1] + blocks * job->inputs * 3 * LANES; /* W */
        part[3] = part[2] + blocks * 4 * LANES;              /* bias */
    }
}

static ptrdiff_t NAME(packed_size)(const cgru_gru *job)
{
    ptrdiff_t part[4];
    NAME(packed_parts)(job, part);
    return part[3];
}

static void NAME(gru_pack)(void *argument, int thread, int threads)
{
    const cgru_gru *job = argument;
    const ptrdiff_t H = job->units, I = job->inputs, blocks = BLOCKS(H);
    const REAL *W = job->kernel, *U = job->recurrent_kernel, *bias = job->bias;
    REAL *to = job->packed;
    ptrdiff_t part[4], first, last;
    NAME(packed_parts)(job, part);
    if (job->turned) {
        if (job->steps > 1 || job->start_grad) {
            cgru_share((blocks + 1) / 2, 1, thread, threads, &first, &last);
            NAME(pack_gates_turned)(H, H, U, NAME(zrn), first, last, to);
        }
        if (job->dx) {
            cgru_share((BLOCKS(I) + 1) / 2, 1, thread, threads, &first, &last);
            NAME(pack_gates_turned)(I, H, W, NAME(nzr), first, last, to + part[1]);
        }
        return;
    }
    cgru_share(blocks, 1, thread, threads, &first, &last);
    if (job->steps > 1 || !job->from_zero)
        NAME(pack_gates)(H, H, U, NAME(zrn), first, last, to);
    NAME(pack_gates)(I, H, W, NAME(nzr), first, last, to + part[1]);
    for (ptrdiff_t j = first; j < last; ++j) {
        const ptrdiff_t left = H - j * LANES, count = left < LANES ? left : LANES;
        REAL *row = to + part[2] + j * 4 * LANES;
        VEC b[3] = {{0}}, c[3] = {{0}};
        for (int g = 0; bias && g < 3; ++g) {
            b[g] = NAME(load_some)(bias + g * H + j * LANES, count);
            c[g] = NAME(load_some)(bias + (3 + g) * H + j * LANES, count);
        }
        NAME(store)(row, b[2]);
        NAME(store)(row + LANES, b[0] + c[0]);
        NAME(store)(row + 2 * LANES, b[1] + c[1]);
        NAME(store)(row + 3 * LANES, c[2]);
    }
}

/* ---- What falls to one thread --------------------------------------------------------------- */

typedef struct {
    ptrdiff_t top, bottom;  /* sequences */
    ptrdiff_t first, last;  /* blocks, or pairs of blocks */
    atomic_int *meeting;
    int members, round;
} NAME(part);

static NAME(part) NAME(part_of)(const cgru_gru *job, int thread, int threads, ptrdiff_t items)
{
    NAME(part) mine;
    /* Threads that a group count does not divide would have nobody to share with. */
    const int members = threads / job->groups, group = thread / members;
    mine.members = members;
    mine.round = 0;
    mine.meeting = &cgru_meetings[group].count;
    cgru_share(job->batch, ROWS, group, job->groups, &mine.top, &mine.bottom);
    cgru_share(items, 1, thread % members, members, &mine.first, &mine.last);
    return mine;
}

static INLINE void NAME(meet)(NAME(part) *mine)
{
    cgru_meet(mine->meeting, mine->members, ++mine->round);
}

/* ---- Forward -------------------------------------------------------------------------------- */

/* The input projection of the steps s0 .. s1 - 1, with the biases, into the gates. */
static void NAME(project)(const cgru_gru *job, const NAME(part) *mine, const REAL *W,
                          const REAL *bias, ptrdiff_t s0, ptrdiff_t s1)
{
    const ptrdiff_t I = job->inputs, H4 = 4 * LANES, depth = SLICE / 3;
    const ptrdiff_t rows = mine->bottom - mine->top, total = (s1 - s0) * rows;
    const REAL *x = job->x;
    REAL *gates = job->gates;
    for (ptrdiff_t j = mine->first; j < mine->last; ++j)
        for (ptrdiff_t k = 0; k < I; k += depth) {
            TILE t = {.panels = 1, .runs = 1, .inner = I - k < depth ? I - k : depth, .a_step = 1,
                      .b = W + (j * I + k) * 3 * LANES, .b_step = 3 * LANES, .c_at = {0, LANES, 2 * LANES},
                      .start = k == 0 ? bias + j * H4 : NULL};
            const VEC c_n = NAME(load)(bias + j * H4 + 3 * LANES);
            ptrdiff_t s = s0, b = mine->top;
            for (ptrdiff_t i = 0; i < total; i += ROWS) {
                t.rows = (int)(total - i < ROWS ? total - i : ROWS);
                for (int r = 0; r < t.rows; ++r) {
                    const ptrdiff_t time = job->reverse ? job->steps - 1 - s : s;
                    const ptrdiff_t kept = job->keep ? time : s - s0;
                    t.a[r] = x + time * job->x_step + b * job->x_row + k;
                    t.c[r] = gates + ((j * job->gate_steps + kept) * job->batch + b) * H4;
                    NAME(store)(t.c[r] + 3 * LANES, c_n);
                    if (++b == mine->bottom)
                        b = mine->top, ++s;
                }
                NAME(run_tile_3)(&t);
            }
        }
}

/* Where one step reads and writes. */
typedef struct {
    const REAL *x, *h, *read;          /* of sequence 0 */
    REAL *next, *next_read, *gates;    /* the new states, and the gates of block 0 */
    const uint8_t *mask; /* or NULL */
} NAME(step);

/* Gates and new states of WAYS vectors, each of which belongs to a row and a unit; a vector may be
 * there more than once. */
static INLINE void NAME(finish_cells)(const cgru_gru *job, const NAME(step) *step,
                                      const ptrdiff_t *row, const ptrdiff_t *unit,
                                      VEC *n, VEC *z, VEC *r, const VEC *u)
{
    const ptrdiff_t H = job->units, block = job->gate_steps * job->batch * 4 * LANES;
    VEC old[WAYS], new[WAYS];
    for (int w = 0; w < WAYS; ++w)
        old[w] = NAME(load_some)(step->h + row[w] * H + unit[w], H - unit[w]);
    NAME(gru_cell)(WAYS, n, z, r, u, old, new);
    for (int w = 0; w < WAYS; ++w) {
        const int masked = step->mask && !step->mask[row[w] * job->mask_row];
        NAME(store_some)(step->next + row[w] * H + unit[w], masked ? old[w] : new[w], H - unit[w]);
        if (job->keep && !masked) {
            REAL *g = step->gates + unit[w] / LANES * block + row[w] * 4 * LANES;
            NAME(store)(g, n[w]);
            NAME(store)(g + LANES, z[w]);
            NAME(store)(g + 2 * LANES, r[w]);
            NAME(store)(g + 3 * LANES, u[w]);
        }
    }
    for (int w = 0; job->drop && w < WAYS; ++w) {
        const ptrdiff_t at = row[w] * H + unit[w], left = H - unit[w];
        NAME(store_some)(step->next_read + at,
                         NAME(load_some)(step->next + at, left) *
                             NAME(load_some)((const REAL *)job->drop + at, left), left);
    }
}

/* The same of the sequences and blocks of a tile, which begins at sequence `b` of block `j`, from
 * what the gates hold. */
static INLINE void NAME(finish_tile)(const cgru_gru *job, const NAME(step) *step, const TILE *t,
                                     ptrdiff_t j, ptrdiff_t b)
{
    const ptrdiff_t block = job->gate_steps * job->batch * 4 * LANES;
    const int cells = t->rows * t->panels;
    for (int first = 0; first < cells; first += WAYS) {
        VEC n[WAYS], z[WAYS], r[WAYS], u[WAYS];
        ptrdiff_t row[WAYS], unit[WAYS];
        for (int w = 0; w < WAYS; ++w) {
            const int cell = first + w < cells ? first + w : cells - 1;
            const ptrdiff_t panel = t->panels > 1 ? cell : 0;
            const REAL *g = step->gates + (j + panel) * block + (b + cell - panel) * 4 * LANES;
            row[w] = b + cell - panel;
            unit[w] = (j + panel) * LANES;
            n[w] = NAME(load)(g), z[w] = NAME(load)(g + LANES);
            r[w] = NAME(load)(g + 2 * LANES), u[w] = NAME(load)(g + 3 * LANES);
        }
        NAME(finish_cells)(job, step, row, unit, n, z, r, u);
    }
}

/* A step of `count` sequences from `b` on, up to `rows`, in block j, from the inputs to the new
 * states without leaving the registers: where a block's weights stay in the L1 cache. */
static INLINE void NAME(whole_step)(const int rows, const cgru_gru *job, const NAME(step) *step,
                                    const REAL *W, const REAL *U, const REAL *bias,
                                    ptrdiff_t inner, ptrdiff_t j, ptrdiff_t b, ptrdiff_t count)
{
    VEC inputs[ROWS * 3], sums[ROWS * 3], candidate[ROWS]; /* n, z, r; then z, r, u, and n apart */
    const REAL *x[ROWS], *h[ROWS];
    ptrdiff_t row[ROWS], unit[ROWS];
    UNROLL
    for (int i = 0; i < rows; ++i) {
        /* Beyond the last row that one again, to be stored in the same place. */
        row[i] = b + (i < count ? i : count - 1);
        unit[i] = j * LANES;
        x[i] = step->x + row[i] * job->x_row;
        h[i] = step->read + row[i] * job->units;
        UNROLL
        for (int w = 0; w < 3; ++w)
            inputs[3 * i + w] = NAME(load)(bias + w * LANES);
    }
    NAME(accumulate)(rows, 1, 3, inputs, x, 0, 1, W, 3 * LANES, 0, job->inputs);
    UNROLL
    for (int i = 0; i < rows; ++i) {
        candidate[i] = inputs[3 * i];
        sums[3 * i] = inputs[3 * i + 1];
        sums[3 * i + 1] = inputs[3 * i + 2];
        sums[3 * i + 2] = NAME(load)(bias + 3 * LANES);
    }
    NAME(accumulate)(rows, 1, 3, sums, h, 0, 1, U, 3 * LANES, 0, inner);
    UNROLL
    for (int first = 0; first < rows; first += WAYS) {
        VEC z[WAYS], r[WAYS], u[WAYS];
        UNROLL
        for (int w = 0; w < WAYS; ++w) {
            z[w] = sums[3 * (first + w)];
            r[w] = sums[3 * (first + w) + 1];
            u[w] = sums[3 * (first + w) + 2];
        }
        NAME(finish_cells)(job, step, row + first, unit + first, candidate + first, z, r, u);
    }
}

#define WHOLE_STEP(name, rows)                                                                  \
    static void NAME(name)(const cgru_gru *job, const NAME(step) *step, const REAL *W,          \
                           const REAL *U, const REAL *bias, ptrdiff_t inner, ptrdiff_t j,       \
                           ptrdiff_t b, ptrdiff_t count)                                        \
    {                                                                                           \
        NAME(whole_step)(rows, job, step, W, U, bias, inner, j, b, count);                      \
    }
WHOLE_STEP(whole_step_full, ROWS)
WHOLE_STEP(whole_step_half, ROWS / 2)
#undef WHOLE_STEP

static void NAME(gru_forward)(void *argument, int thread, int threads)
{
    cgru_gru *job = argument;
    const ptrdiff_t T = job->steps, B = job->batch, H = job->units, I = job->inputs;
    const ptrdiff_t panel = H * 3 * LANES, block = job->gate_steps * B * 4 * LANES;
    NAME(part) mine = NAME(part_of)(job, thread, threads, BLOCKS(H));
    ptrdiff_t part[4];
    NAME(packed_parts)(job, part);
    const REAL *U = job->packed, *W = U + part[1], *bias = U + part[2];
    /* One row reads all weights for itself: those of the inputs better once for several steps. */
    const int whole = mine.bottom - mine.top > 1 && 3 * (H + I) <= 2 * SLICE;
    for (ptrdiff_t s = 0; s < T; ++s) {
        if (!whole && s % job->chunk == 0)
            NAME(project)(job, &mine, W, bias, s, s + job->chunk < T ? s + job->chunk : T);
        const ptrdiff_t time = job->reverse ? T - 1 - s : s;
        const ptrdiff_t before = job->ring ? s % 2 : job->reverse ? time + 1 : time;
        const ptrdiff_t after = job->ring ? (s + 1) % 2 : job->reverse ? time : time + 1;
        const NAME(step) step = {
            .x = (const REAL *)job->x + time * job->x_step,
            .h = (REAL *)job->h + before * B * H,
            .read = (REAL *)job->read + before * B * H,
            .next = (REAL *)job->h + after * B * H,
            .next_read = (REAL *)job->read + after * B * H,
            .gates = (REAL *)job->gates + (job->keep ? time : s % job->chunk) * B * 4 * LANES,
            .mask = job->mask ? job->mask + time * job->mask_step : NULL};
        /* The first state may be known to be 0: then there is nothing to multiply. */
        const ptrdiff_t inner = s == 0 && job->from_zero ? 0 : H;
        for (ptrdiff_t j = mine.first; whole && j < mine.last; ++j)
            for (ptrdiff_t b = mine.top; b < mine.bottom; b += ROWS)
                (mine.bottom - b > ROWS / 2 ? NAME(whole_step_full) : NAME(whole_step_half))(
                    job, &step, W + j * I * 3 * LANES, U + j * panel, bias + j * 4 * LANES, inner,
                    j, b, mine.bottom - b < ROWS ? mine.bottom - b : ROWS);
        TILE t = {.runs = 1, .a_step = 1, .b_step = 3 * LANES, .b_panel = panel,
                  .c_at = {0, LANES, 2 * LANES}, .c_panel = block};
        const ptrdiff_t count = whole ? 0 : mine.last - mine.first;
        for (ptrdiff_t done = 0; done < count; done += t.panels) {
            t.panels = NAME(abreast)(mine.bottom - mine.top, count - done);
            const ptrdiff_t j = s % 2 ? mine.last - done - t.panels : mine.first + done;
            ptrdiff_t k = 0;
            do {
                t.inner = inner - k < SLICE / 3 ? inner - k : SLICE / 3;
                t.b = U + j * panel + k * 3 * LANES;
                for (ptrdiff_t b = mine.top; b < mine.bottom; b += ROWS) {
                    t.rows = (int)(mine.bottom - b < ROWS ? mine.bottom - b : ROWS);
                    for (int i = 0; i < t.rows; ++i) {
                        t.a[i] = step.read + (b + i) * H + k;
                        t.c[i] = step.gates + j * block + (b + i) * 4 * LANES + LANES;
                    }
                    if (t.inner)
                        NAME(run_tile_3)(&t);
                    if (k + t.inner == inner)
                        NAME(finish_tile)(job, &step, &t, j, b);
                }
                k += t.inner;
            } while (k < inner);
        }
        NAME(meet)(&mine);
    }
}

/* ---- Backward ------------------------------------------------------------------------------- */

/* The gradient of the state of sequence b in block j: with `drop`, what came by way of the products
 * stands apart. */
static INLINE VEC NAME(state_grad)(const cgru_gru *job, ptrdiff_t j, ptrdiff_t b)
{
    const ptrdiff_t H = job->units, at = b * job->carry_row + j * LANES;
    VEC d = NAME(load)((const REAL *)job->carry + at);
    if (job->drop)
        d += NAME(load)((const REAL *)job->dread + at) *
             NAME(load_some)((const REAL *)job->drop + b * H + j * LANES, H - j * LANES);
    return d;
}

/* The gradients of the gates of `rows` sequences from `b` in block j, from that of the new state, to
 * which the loss's own `dy` is added; carry is left with what reaches the old state directly. */
static INLINE void NAME(finish_step_grad)(const cgru_gru *job, ptrdiff_t j, ptrdiff_t b, int rows,
                                          REAL *g, const REAL *h, const REAL *dy,
                                          const uint8_t *mask)
{
    const ptrdiff_t H = job->units, count = H - j * LANES;
    REAL *carry = (REAL *)job->carry + b * job->carry_row;
    for (int i = 0; i < rows; ++i, g += 4 * LANES, carry += job->carry_row, h += H) {
        VEC d = NAME(state_grad)(job, j, b + i);
        if (dy)
            d += NAME(load_some)(dy + i * job->dy_row + j * LANES, count);
        VEC n = {0}, z = {0}, r = {0}, u = {0};
        if (!mask || mask[i * job->mask_row]) {
            n = NAME(load)(g), z = NAME(load)(g + LANES);
            r = NAME(load)(g + 2 * LANES), u = NAME(load)(g + 3 * LANES);
            d = NAME(gru_cell_grad)(&n, &z, &r, &u, NAME(load_some)(h + j * LANES, count), d);
        }
        NAME(store)(carry + j * LANES, d);
        NAME(store)(g, n);
        NAME(store)(g + LANES, z);
        NAME(store)(g + 2 * LANES, r);
        NAME(store)(g + 3 * LANES, u);
    }
}

/* The gradients of all gates, step by step from the last; those of the first state in `carry`. */
static void NAME(gru_backward_steps)(const cgru_gru *job, int thread, int threads)
{
    const ptrdiff_t T = job->steps, B = job->batch, H = job->units, blocks = BLOCKS(H);
    const ptrdiff_t block = T * B * 4 * LANES, panel = blocks * 3 * LANES * 2 * LANES;
    const ptrdiff_t deep = SLICE / (3 * LANES * 2) > 0 ? SLICE / (3 * LANES * 2) : 1;
    NAME(part) mine = NAME(part_of)(job, thread, threads, (blocks + 1) / 2);
    const REAL *U = job->packed, *states = job->h, *dy = job->dy;
    const REAL zeros[2 * LANES * ABREAST] = {0};
    REAL *gates = job->gates, *carry = job->carry, *dread = job->dread, *dh = job->dh;
    for (ptrdiff_t b = mine.top; b < mine.bottom; ++b)
        for (ptrdiff_t j = 2 * mine.first; j < 2 * mine.last; ++j) {
            const ptrdiff_t at = b * job->carry_row + j * LANES;
            NAME(store)(carry + at, j < blocks
                                        ? NAME(load_some)(dh + b * H + j * LANES, H - j * LANES)
                                        : SPLAT(0));
            if (job->drop)
                NAME(store)(dread + at, SPLAT(0)); /* after the last step comes no product */
        }
    REAL *product = job->drop ? dread : carry; /* where the products go */
    for (ptrdiff_t s = T; s >= 0; --s) {
        if (s == 0 && !job->start_grad)
            break;
        /* Step s - 1 of the forward pass, and the gates that came after it. */
        const ptrdiff_t time = job->reverse ? T - s : s - 1;
        const ptrdiff_t later = job->reverse ? time - 1 : time + 1;
        const REAL *h = states + (job->reverse ? time + 1 : time) * B * H;
        TILE t = {.inner = 3 * LANES, .a_step = 1, .a_run = block,
                  .b_step = 2 * LANES, .b_run = 3 * LANES * 2 * LANES, .b_panel = panel,
                  .c_at = {0, LANES}, .c_panel = 2 * LANES};
        const ptrdiff_t count = mine.last - mine.first;
        for (ptrdiff_t done = 0; done < count; done += t.panels) {
            t.panels = NAME(abreast)(mine.bottom - mine.top, count - done);
            const ptrdiff_t p = s % 2 ? mine.last - done - t.panels : mine.first + done;
            ptrdiff_t q = s == T ? blocks : 0; /* after the last step comes no product */
            do {
                t.runs = blocks - q < deep ? blocks - q : deep;
                t.b = U + p * panel + q * t.b_run;
                t.start = job->drop && q == 0 ? zeros : NULL;
                for (ptrdiff_t b = mine.top; b < mine.bottom; b += ROWS) {
                    t.rows = (int)(mine.bottom - b < ROWS ? mine.bottom - b : ROWS);
                    for (int i = 0; i < t.rows; ++i) {
                        t.a[i] = gates + q * block + (later * B + b + i) * 4 * LANES + LANES;
                        t.c[i] = product + (b + i) * job->carry_row + p * 2 * LANES;
                    }
                    if (t.runs)
                        NAME(run_tile_2)(&t);
                    if (q + t.runs < blocks || s == 0)
                        continue;
                    for (ptrdiff_t j = 2 * p; j < 2 * (p + t.panels) && j < blocks; ++j)
                        NAME(finish_step_grad)(
                            job, j, b, t.rows, gates + j * block + (time * B + b) * 4 * LANES,
                            h + b * H,
                            dy ? dy + time * job->dy_step + b * job->dy_row : NULL,
                            job->mask ? job->mask + time * job->mask_step + b * job->mask_row
                                      : NULL);
                }
                q += t.runs;
            } while (q < blocks);
        }
        NAME(meet)(&mine);
    }
    for (ptrdiff_t b = mine.top; job->start_grad && b < mine.bottom; ++b)
        for (ptrdiff_t j = 2 * mine.first; j < 2 * mine.last && j < blocks; ++j)
            NAME(store_some)(dh + b * H + j * LANES, NAME(state_grad)(job, j, b), H - j * LANES);
}

/* to[column of a][3 gates] += a' gates over all steps and sequences, for the columns first ..
 * last - 1 of a and the blocks of one group.  a is [t][b][column] with the given distances; `at` is
 * the first of the three vectors of the gates, `order` says which gate each of them is. */
static void NAME(weight_grad)(const cgru_gru *job, ptrdiff_t group, const REAL *a, ptrdiff_t a_time,
                              ptrdiff_t a_row, int at, const int *order, ptrdiff_t first,
                              ptrdiff_t last, REAL *to)
{
    enum { DEPTH = 512 }; /* rows at a time: the gates of a group then stay in the L2 cache */
    const ptrdiff_t B = job->batch, H = job->units, rows = job->steps * B;
    const ptrdiff_t j0 = group * GROUP, j1 = j0 + GROUP < BLOCKS(H) ? j0 + GROUP : BLOCKS(H);
    REAL strip[DEPTH * STRIP] __attribute__((aligned(64)));
    for (ptrdiff_t row = 0; row < rows; row += DEPTH)
        for (ptrdiff_t k = first; k < last; k += STRIP) {
            const ptrdiff_t depth = rows - row < DEPTH ? rows - row : DEPTH;
            const ptrdiff_t columns = last - k < STRIP ? last - k : STRIP;
            ptrdiff_t t = row / B, b = row % B;
            for (ptrdiff_t i = 0; i < depth; ++i) {
                const REAL *from = a + t * a_time + b * a_row + k;
                __builtin_prefetch(from + STRIP); /* the next strip's */
                if (columns == STRIP)
                    memcpy(strip + i * STRIP, from, STRIP * sizeof(REAL));
                else
                    memcpy(strip + i * STRIP, from, columns * sizeof(REAL));
                if (++b == B)
                    b = 0, ++t;
            }
            for (ptrdiff_t j = j0; j < j1; ++j) {
                const ptrdiff_t count = H - j * LANES, counts[] = {count, count, count};
                TILE tile = {.panels = 1, .runs = 1, .inner = depth, .a_step = STRIP,
                             .b = (const REAL *)job->gates + ((j * rows + row) * 4 + at) * LANES,
                             .b_step = 4 * LANES,
                             .c_at = {order[0] * H, order[1] * H, order[2] * H},
                             .counts = count < LANES ? counts : NULL};
                for (ptrdiff_t c = 0; c < columns; c += ROWS) {
                    tile.rows = (int)(columns - c < ROWS ? columns - c : ROWS);
                    for (int i = 0; i < tile.rows; ++i) {
                        tile.a[i] = strip + c + i;
                        tile.c[i] = to + (k + c + i) * 3 * H + j * LANES;
                    }
                    NAME(run_tile_3)(&tile);
                }
            }
        }
}

/* The sums over all steps and sequences, added to the biases of block j. */
static void NAME(bias_grad)(const cgru_gru *job, ptrdiff_t j)
{
    const ptrdiff_t rows = job->steps * job->batch, H = job->units, count = H - j * LANES;
    const REAL *g = (const REAL *)job->gates + j * rows * 4 * LANES;
    REAL *to = (REAL *)job->dbias + j * LANES;
    VEC sum[4] = {{0}};
    for (ptrdiff_t i = 0; i < rows; ++i, g += 4 * LANES)
        for (int v = 0; v < 4; ++v)
            sum[v] += NAME(load)(g + v * LANES);
    const int vectors[] = {1, 2, 0, 1, 2, 3}; /* z, r, n of the input; z, r, n of the state */
    for (int v = 0; v < 6; ++v)
        NAME(store_some)(to + v * H, NAME(load_some)(to + v * H, count) + sum[vectors[v]], count);
}

/* dx = the gates' gradients times W', for the rows (of all steps and sequences) first .. last - 1. */
static void NAME(input_grad)(const cgru_gru *job, const REAL *W, ptrdiff_t first, ptrdiff_t last)
{
    enum { DEPTH = 64 }; /* rows at a time: their gates then stay in the L2 cache */
    const ptrdiff_t I = job->inputs, blocks = BLOCKS(job->units);
    const ptrdiff_t block = job->steps * job->batch * 4 * LANES, width = 2 * LANES;
    for (ptrdiff_t i = first; i < last; i += DEPTH)
        for (ptrdiff_t column = 0; column < I; column += width) {
            const ptrdiff_t more = I - column - LANES;
            const ptrdiff_t counts[] = {more < 0 ? I - column : LANES,
                                        more < 0 ? 0 : more < LANES ? more : LANES};
            const REAL zeros[2 * LANES] = {0};
            TILE t = {.panels = 1, .runs = blocks, .inner = 3 * LANES, .a_step = 1,
                      .a_run = block, .b = W + column / width * blocks * 3 * LANES * width,
                      .b_step = width, .b_run = 3 * LANES * width,
                      .start = zeros, .c_at = {0, LANES}, .counts = more < LANES ? counts : NULL};
            for (ptrdiff_t row = i; row < i + DEPTH && row < last; row += ROWS) {
                t.rows = (int)(last - row < ROWS ? last - row : ROWS);
                for (int r = 0; r < t.rows; ++r) {
                    t.a[r] = (const REAL *)job->gates + (row + r) * 4 * LANES;
                    t.c[r] = (REAL *)job->dx + (row + r) * I + column;
                }
                NAME(run_tile_2)(&t);
            }
        }
}

static void NAME(gru_backward)(void *argument, int thread, int threads)
{
    cgru_gru *job = argument;
    const ptrdiff_t T = job->steps, B = job->batch, I = job->inputs, H = job->units;
    ptrdiff_t part[4], first, last;
    NAME(packed_parts)(job, part);
    NAME(gru_backward_steps)(job, thread, threads);
    cgru_meet(&cgru_meetings[job->groups].count, threads, 1);

    /* The weights, unless they are frozen: strips of their rows, block by block, dealt to the
     * threads. */
    const REAL *states = (const REAL *)job->read + (job->reverse ? B * H : 0);
    const ptrdiff_t state_rows = T == 1 && job->from_zero ? 0 : H;
    const ptrdiff_t state_strips = (state_rows + STRIP - 1) / STRIP;
    const ptrdiff_t strips = job->dkernel ? state_strips + (I + STRIP - 1) / STRIP : 0;
    const ptrdiff_t groups = (BLOCKS(H) + GROUP - 1) / GROUP;
    cgru_share(groups * strips, 1, thread, threads, &first, &last);
    while (first < last) {
        const ptrdiff_t group = first / strips, strip = first % strips;
        const ptrdiff_t end = last - first < strips - strip ? strip + last - first : strips;
        const ptrdiff_t u_end = end < state_strips ? end * STRIP : state_rows;
        const ptrdiff_t w = strip < state_strips ? 0 : (strip - state_strips) * STRIP;
        const ptrdiff_t w_end = (end - state_strips) * STRIP;
        if (strip == 0 && job->dbias)
            for (ptrdiff_t j = group * GROUP; j < (group + 1) * GROUP && j < BLOCKS(H); ++j)
                NAME(bias_grad)(job, j);
        NAME(weight_grad)(job, group, states, B * H, H, 1, NAME(zrn), strip * STRIP, u_end,
                          job->drecurrent_kernel);
        NAME(weight_grad)(job, group, job->x, job->x_step, job->x_row, 0, NAME(nzr), w,
                          w_end < I ? w_end : I, job->dkernel);
        first += end - strip;
    }
    if (job->dx) {
        cgru_share(T * B, ROWS, thread, threads, &first, &last);
        NAME(input_grad)(job, (const REAL *)job->packed + part[1], first, last);
    }
}
