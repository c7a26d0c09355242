/* A whole sequence through a recurrent cell with packed weights, forward and backward.  Included by
 * the file of each cell (gru.h, lstm.h, simple.h), once for each element type and level; see
 * cgru_sequence in jobs.h for the arguments.  The file of the cell defines:
 *
 *     KIND        its name
 *     GATES       columns of the weights for each unit
 *     SPAN        vectors of units in a block
 *     KEPT        vectors that are kept for each block, step and sequence: the gates
 *     STATES      2 where there is a state c besides h
 *     BIAS_ROWS   2 where inputs and states have biases of their own
 *     INPUT_ORDER, STATE_ORDER
 *                 which columns the gates have that its first, and its last, vectors are
 *     cell        (gru_cell of the GRU, and so on) from the values before the activations to the
 *                 gates, in place, and the new states, of up to WAYS vectors side by side
 *     cell_grad   (gru_cell_grad) from the gates to the gradients before the activations, in
 *                 place, for the gradient d of the new h, and *dc of the new c, which becomes that
 *                 of the old one; returns what of d reaches the old h past the product
 *
 * Everything that belongs to a block of units lies together:
 *
 *     packed W, U   [block][part][k][PART]  of vectors: the columns of the block's gates, k by k,
 *                                           in parts that are as wide as a tile of several rows
 *     gates         [block][row][KEPT]      of vectors; at first the input projection, then the
 *                                           gate values, then (backward) their gradients
 *
 * The projection of the inputs is in the first COLUMNS vectors of the gates, what the states are
 * multiplied with in the last.  A vector that is of the states alone begins with its bias.
 *
 * A row is one sequence at one step: the rows of a step lie together, step by step.  What a mask
 * leaves out has no row, and costs no more than to copy its state (rows.h).
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
#define CELL(function) NAME(CGRU_PASTE(KIND, function))
#define COLUMNS (GATES * SPAN)
#define SHIFT (KEPT - COLUMNS) /* where the states' vectors begin */
#define PART (COLUMNS == 4 ? 2 : COLUMNS) /* vectors of a tile: the sums of four have no room */
#define PARTS (COLUMNS / PART)
#define WIDE (SPAN * LANES) /* units of a block */
#define BLOCKS(units) (((units) + WIDE - 1) / WIDE)
#define PAIRS(units) (((units) + 2 * LANES - 1) / (2 * LANES)) /* of vectors */
#define GROUP 8   /* blocks whose weights' gradients are made together, for STRIP rows of weights */
#define SLICE (24576 / VECTOR_BYTES) /* vectors of packed weights that stay in the L1 cache */
#define DEEP (SLICE / PART)          /* and k of a part that are so many */
#define IN_A_ROW {0, LANES, 2 * LANES} /* where a part's vectors stand in the gates */

static const int CELL(input_order)[] = INPUT_ORDER, CELL(state_order)[] = STATE_ORDER;

/* Where the units of vector v of block j stand in a row of the weights. */
static INLINE ptrdiff_t CELL(column)(ptrdiff_t units, const int *order, ptrdiff_t j, int v)
{
    return order[v / SPAN] * units + j * WIDE + v % SPAN * LANES;
}

/* And how many of its units there are; none, or less, beyond the last one. */
static INLINE ptrdiff_t CELL(left)(ptrdiff_t units, ptrdiff_t j, int v)
{
    return units - j * WIDE - v % SPAN * LANES;
}

/* load_some and store_some of a vector of units, of which a block of several may have none. */
static INLINE VEC CELL(load_units)(const REAL *from, ptrdiff_t count)
{
    if (SPAN > 1 && count < LANES && count <= 0)
        return SPLAT(0);
    return NAME(load_some)(from, count);
}

static INLINE void CELL(store_units)(REAL *to, VEC value, ptrdiff_t count)
{
    if (SPAN > 1 && count < LANES && count <= 0)
        return;
    NAME(store_some)(to, value, count);
}

/* ---- Packing ---- */

/* The panels [part][k][PART] of the blocks first .. last - 1.  Some blocks at a time, row by row: so
 * whole lines are read and written, and few enough at once to stay in the L1 cache.  The lines
 * of the rows that follow are too far from each other for the CPU to guess. */
static void CELL(pack_gates)(ptrdiff_t inner, ptrdiff_t units, const REAL *from, const int *order,
                             ptrdiff_t first, ptrdiff_t last, REAL *to)
{
    enum { AHEAD = 16 };
    for (ptrdiff_t group = first; group < last; group += ABREAST)
        for (ptrdiff_t k = 0; k < inner; ++k) {
            for (int v = 0; v < COLUMNS; v += SPAN)
                for (ptrdiff_t at = 0; at < ABREAST * WIDE; at += STRIP)
                    __builtin_prefetch(from + (k + AHEAD) * GATES * units +
                                       CELL(column)(units, order, group, v) + at);
            for (ptrdiff_t j = group; j < group + ABREAST && j < last; ++j)
                for (int v = 0; v < COLUMNS; ++v)
                    NAME(store)(to + (((j * PARTS + v / PART) * inner + k) * PART + v % PART) * LANES,
                                CELL(load_units)(from + k * GATES * units +
                                                    CELL(column)(units, order, j, v),
                                                CELL(left)(units, j, v)));
        }
}

/* The panels [block][vector][lane][2 vectors of k] of the transpose, of the panels first ..
 * last - 1. */
static void CELL(pack_gates_turned)(ptrdiff_t rows, ptrdiff_t units, const REAL *from,
                                    const int *order, ptrdiff_t first, ptrdiff_t last, REAL *to)
{
    enum { AHEAD = 4 }; /* blocks */
    const ptrdiff_t step = GATES * units;
    to += first * BLOCKS(units) * COLUMNS * LANES * 2 * LANES;
    for (ptrdiff_t p = first; p < last; ++p)
        for (ptrdiff_t j = 0; j < BLOCKS(units); ++j)
            for (int v = 0; v < COLUMNS; ++v, to += LANES * 2 * LANES)
                for (int w = 0; w < 2; ++w) {
                    const ptrdiff_t row = (2 * p + w) * LANES;
                    const ptrdiff_t inner = NAME(lanes)(CELL(left)(units, j, v));
                    const REAL *here = from + row * step + CELL(column)(units, order, j, v);
                    for (int lane = 0; lane < LANES; ++lane)
                        __builtin_prefetch(here + lane * step + AHEAD * WIDE);
                    NAME(pack_rows)(inner, NAME(lanes)(rows - row), here, step, to + w * LANES,
                                    2 * LANES);
                    for (ptrdiff_t k = inner; k < LANES; ++k)
                        NAME(store)(to + (2 * k + w) * LANES, SPLAT(0));
                }
}

/* Where the parts of a packed buffer begin, in elements; the last entry is its size. */
static void CELL(packed_parts)(const cgru_sequence *job, ptrdiff_t *part)
{
    const ptrdiff_t blocks = BLOCKS(job->units), size = blocks * COLUMNS * LANES * 2 * LANES;
    part[0] = 0;
    if (job->turned) {
        part[1] = PAIRS(job->units) * size;                            /* U turned */
        part[2] = part[1] + (job->dx ? PAIRS(job->inputs) * size : 0); /* W turned */
        part[3] = part[2];
    } else {
        part[1] = blocks * job->units * COLUMNS * LANES;            /* U */
        part[2] = part[1] + blocks * job->inputs * COLUMNS * LANES; /* W */
        part[3] = part[2] + blocks * KEPT * LANES;                  /* bias */
    }
}

static ptrdiff_t CELL(packed_size)(const cgru_sequence *job)
{
    ptrdiff_t part[4];
    CELL(packed_parts)(job, part);
    return part[3];
}

static ptrdiff_t CELL(gates_size)(const cgru_sequence *job)
{
    return BLOCKS(job->units) * job->gate_steps * job->batch * KEPT * LANES;
}

static void CELL(pack)(void *argument, int thread, int threads)
{
    const cgru_sequence *job = argument;
    const ptrdiff_t H = job->units, I = job->inputs;
    const REAL *W = job->kernel, *U = job->recurrent_kernel, *bias = job->bias;
    REAL *to = job->packed;
    ptrdiff_t part[4], first, last;
    CELL(packed_parts)(job, part);
    if (job->turned) {
        if (job->steps > 1 || job->start_grad) {
            cgru_share(PAIRS(H), 1, thread, threads, &first, &last);
            CELL(pack_gates_turned)(H, H, U, CELL(state_order), first, last, to);
        }
        if (job->dx) {
            cgru_share(PAIRS(I), 1, thread, threads, &first, &last);
            CELL(pack_gates_turned)(I, H, W, CELL(input_order), first, last, to + part[1]);
        }
        return;
    }
    cgru_share(BLOCKS(H), 1, thread, threads, &first, &last);
    if (job->steps > 1 || !job->from_zero)
        CELL(pack_gates)(H, H, U, CELL(state_order), first, last, to);
    CELL(pack_gates)(I, H, W, CELL(input_order), first, last, to + part[1]);
    for (ptrdiff_t j = first; j < last; ++j) {
        VEC sums[KEPT] = {{0}};
        for (int v = 0; bias && v < COLUMNS; ++v) {
            const ptrdiff_t left = CELL(left)(H, j, v);
            sums[v] += CELL(load_units)(bias + CELL(column)(H, CELL(input_order), j, v), left);
            if (BIAS_ROWS == 2)
                sums[SHIFT + v] += CELL(load_units)(
                    bias + GATES * H + CELL(column)(H, CELL(state_order), j, v), left);
        }
        for (int v = 0; v < KEPT; ++v)
            NAME(store)(to + part[2] + (j * KEPT + v) * LANES, sums[v]);
    }
}

/* ---- What falls to one thread --------------------------------------------------------------- */

typedef struct {
    ptrdiff_t top, bottom;  /* sequences */
    ptrdiff_t first, last;  /* blocks, or pairs of vectors */
    atomic_int *meeting;
    int members, round;
} CELL(part);

static CELL(part) CELL(part_of)(const cgru_sequence *job, int thread, int threads, ptrdiff_t items)
{
    CELL(part) mine;
    /* Threads that a group count does not divide would have nobody to share with. */
    const int members = threads / job->groups, group = thread / members;
    mine.members = members;
    mine.round = 0;
    mine.meeting = &cgru_meetings[group].count;
    cgru_share_sequences(job, DEALT, group, &mine.top, &mine.bottom);
    cgru_share(items, 1, thread % members, members, &mine.first, &mine.last);
    return mine;
}

static INLINE void CELL(meet)(CELL(part) *mine)
{
    cgru_meet(mine->meeting, mine->members, ++mine->round);
}

/* ---- Forward -------------------------------------------------------------------------------- */

/* The input projection of the steps from `time` to before `end`, with the biases, into the gates,
 * where the row `origin` is the first. */
static void CELL(project)(const cgru_sequence *job, const CELL(part) *mine, const REAL *W,
                          const REAL *bias, ptrdiff_t time, ptrdiff_t end, ptrdiff_t origin)
{
    const ptrdiff_t I = job->inputs;
    const cgru_walk begin = cgru_walk_from(job, time, mine->top, mine->bottom);
    const REAL *x = job->x;
    REAL *gates = job->gates;
    for (ptrdiff_t p = mine->first * PARTS; p < mine->last * PARTS; ++p)
        for (ptrdiff_t k = 0; k < I; k += DEEP) {
            const ptrdiff_t j = p / PARTS, first = p % PARTS * PART;
            const REAL *start = bias + (j * KEPT + first) * LANES;
            TILE t = {.panels = 1, .runs = 1, .inner = I - k < DEEP ? I - k : DEEP, .a_step = 1,
                      .b = W + (p * I + k) * PART * LANES, .b_step = PART * LANES,
                      .c_at = IN_A_ROW, .start = k == 0 ? start : NULL};
            cgru_walk walk = begin;
            while (walk.time < end) {
                for (t.rows = 0; t.rows < ROWS(PART) && walk.time < end; cgru_walk_on(job, &walk)) {
                    const ptrdiff_t b = cgru_sequence_of(&walk.rows, walk.place);
                    const ptrdiff_t row = walk.rows.row + walk.place - origin;
                    const int r = t.rows++;
                    t.a[r] = x + walk.time * job->x_step + b * job->x_row + k;
                    t.c[r] = gates + ((j * job->gate_steps * job->batch + row) * KEPT + first) * LANES;
                    for (int v = COLUMNS; v < KEPT; ++v)
                        NAME(store)(t.c[r] + v * LANES, NAME(load)(start + v * LANES));
                }
                NAME(run_tile)(PART, &t);
            }
        }
}

/* Where one step reads and writes. */
typedef struct {
    const REAL *x, *h, *read, *c;    /* of sequence 0 */
    REAL *next, *next_read, *next_c; /* the new states */
    REAL *gates;                     /* of the first row, in block 0 */
    cgru_rows rows;
} CELL(step);

/* The states of sequences that take no part in a step stay as they are. */
static void CELL(keep_states)(const cgru_sequence *job, const CELL(part) *mine,
                              const CELL(step) *step, const uint8_t *mask)
{
    const ptrdiff_t H = job->units, first = mine->first * WIDE;
    const ptrdiff_t last = mine->last * WIDE < H ? mine->last * WIDE : H;
    const size_t size = last > first ? (last - first) * sizeof(REAL) : 0;
    for (ptrdiff_t b = mine->top; b < mine->bottom; ++b) {
        const ptrdiff_t at = b * H + first;
        if (mask[b * job->mask_row])
            continue;
        memcpy(step->next + at, step->h + at, size);
        if (STATES == 2)
            memcpy(step->next_c + at, step->c + at, size);
        if (job->drop)
            memcpy(step->next_read + at, step->read + at, size);
    }
}

/* Gates and new states of WAYS vectors, each of which belongs to a row of the step and a unit; a
 * vector may be there more than once. */
static INLINE void CELL(finish_cells)(const cgru_sequence *job, const CELL(step) *step,
                                      const ptrdiff_t *row, const ptrdiff_t *unit,
                                      VEC (*gates)[WAYS])
{
    const ptrdiff_t H = job->units, block = job->gate_steps * job->batch * KEPT * LANES;
    VEC old[WAYS], new[WAYS], c[WAYS], new_c[WAYS];
    ptrdiff_t place[WAYS]; /* in the states */
    for (int w = 0; w < WAYS; ++w) {
        const ptrdiff_t left = H - unit[w];
        place[w] = cgru_sequence_of(&step->rows, row[w]) * H + unit[w];
        old[w] = CELL(load_units)(step->h + place[w], left);
        if (STATES == 2)
            c[w] = CELL(load_units)(step->c + place[w], left);
    }
    CELL(cell)(WAYS, gates, old, c, new, new_c);
    for (int w = 0; w < WAYS; ++w) {
        const ptrdiff_t left = H - unit[w];
        CELL(store_units)(step->next + place[w], new[w], left);
        if (STATES == 2)
            CELL(store_units)(step->next_c + place[w], new_c[w], left);
        if (GATES > 1 && job->keep) {
            REAL *to = step->gates + unit[w] / WIDE * block + row[w] * KEPT * LANES;
            for (int v = 0; v < KEPT; v += SPAN)
                NAME(store)(to + v * LANES, gates[v][w]);
        }
    }
    for (int w = 0; job->drop && w < WAYS; ++w) {
        const ptrdiff_t left = H - unit[w];
        CELL(store_units)(step->next_read + place[w],
                         CELL(load_units)(step->next + place[w], left) *
                             CELL(load_units)((const REAL *)job->drop + place[w], left), left);
    }
}

/* The same of the rows and blocks of a tile, which begins at row `i` of the step in block `j`, from
 * what the gates hold. */
static INLINE void CELL(finish_tile)(const cgru_sequence *job, const CELL(step) *step,
                                     const TILE *t, ptrdiff_t j, ptrdiff_t i)
{
    const ptrdiff_t block = job->gate_steps * job->batch * KEPT * LANES;
    const int vectors = t->rows * t->panels * SPAN;
    for (int first = 0; first < vectors; first += WAYS) {
        VEC gates[KEPT][WAYS];
        ptrdiff_t row[WAYS], unit[WAYS];
        for (int w = 0; w < WAYS; ++w) {
            const int vector = first + w < vectors ? first + w : vectors - 1;
            const int cell = vector / SPAN, place = vector % SPAN;
            const ptrdiff_t panel = t->panels > 1 ? cell : 0;
            const REAL *from = step->gates + (j + panel) * block + (i + cell - panel) * KEPT * LANES;
            row[w] = i + cell - panel;
            unit[w] = (j + panel) * WIDE + place * LANES;
            for (int v = 0; v < KEPT; v += SPAN)
                gates[v][w] = NAME(load)(from + (v + place) * LANES);
        }
        CELL(finish_cells)(job, step, row, unit, gates);
    }
}

/* The sums of the part of a block that begins at vector `first`, for rows x of inputs and h of old
 * states.  (A loop over the parts costs the compiler a register.) */
static INLINE void CELL(whole_sums)(const int rows, const int first, VEC (*all)[KEPT],
                                    const REAL *const *x, ptrdiff_t inputs, const REAL *W,
                                    const REAL *const *h, ptrdiff_t inner, const REAL *U,
                                    ptrdiff_t units, const REAL *bias)
{
    VEC projected[ROWS(PART) * PART], sums[ROWS(PART) * PART];
    UNROLL
    for (int i = 0; i < rows; ++i)
        UNROLL
        for (int v = 0; v < PART; ++v)
            projected[i * PART + v] = NAME(load)(bias + (first + v) * LANES);
    NAME(accumulate)(rows, 1, PART, projected, x, 0, 1, W + first * inputs * LANES, PART * LANES, 0,
                     inputs);
    UNROLL
    for (int i = 0; i < rows; ++i) {
        UNROLL
        for (int v = 0; v < SHIFT; ++v)
            all[i][v] = projected[i * PART + v];
        UNROLL
        for (int v = 0; v < PART; ++v)
            sums[i * PART + v] = SHIFT + v < PART
                                     ? projected[i * PART + SHIFT + v]
                                     : NAME(load)(bias + (SHIFT + first + v) * LANES);
    }
    NAME(accumulate)(rows, 1, PART, sums, h, 0, 1, U + first * units * LANES, PART * LANES, 0,
                     inner);
    UNROLL
    for (int i = 0; i < rows; ++i)
        UNROLL
        for (int v = 0; v < PART; ++v)
            all[i][SHIFT + first + v] = sums[i * PART + v];
}

/* A step of `count` of its rows from the one at `start` on, up to `rows`, in block j, from the inputs
 * to the new states without leaving the registers: where a block's weights stay in the L1 cache. */
static INLINE void CELL(whole_step)(const int rows, const cgru_sequence *job,
                                    const CELL(step) *step, const REAL *W, const REAL *U,
                                    const REAL *bias, ptrdiff_t inner, ptrdiff_t j,
                                    ptrdiff_t start, ptrdiff_t count)
{
    VEC all[ROWS(PART)][KEPT];
    const REAL *x[ROWS(PART)], *h[ROWS(PART)];
    ptrdiff_t row[ROWS(PART) * SPAN], unit[ROWS(PART) * SPAN];
    UNROLL
    for (int i = 0; i < rows; ++i) {
        /* Beyond the last row that one again, to be stored in the same place. */
        const ptrdiff_t here = start + (i < count ? i : count - 1);
        const ptrdiff_t b = cgru_sequence_of(&step->rows, here);
        x[i] = step->x + b * job->x_row;
        h[i] = step->read + b * job->units;
        for (int s = 0; s < SPAN; ++s) {
            row[i * SPAN + s] = here;
            unit[i * SPAN + s] = j * WIDE + s * LANES;
        }
    }
    CELL(whole_sums)(rows, 0, all, x, job->inputs, W, h, inner, U, job->units, bias);
    if (PARTS == 2)
        CELL(whole_sums)(rows, PART, all, x, job->inputs, W, h, inner, U, job->units, bias);
    UNROLL
    for (int first = 0; first < rows * SPAN; first += WAYS) {
        VEC gates[KEPT][WAYS];
        UNROLL
        for (int w = 0; w < WAYS; ++w)
            UNROLL
            for (int v = 0; v < KEPT; v += SPAN)
                gates[v][w] = all[(first + w) / SPAN][v + (first + w) % SPAN];
        CELL(finish_cells)(job, step, row + first, unit + first, gates);
    }
}

#define WHOLE_STEP(name, rows)                                                                  \
    static void CELL(name)(const cgru_sequence *job, const CELL(step) *step, const REAL *W,     \
                           const REAL *U, const REAL *bias, ptrdiff_t inner, ptrdiff_t j,       \
                           ptrdiff_t start, ptrdiff_t count)                                    \
    {                                                                                           \
        CELL(whole_step)(rows, job, step, W, U, bias, inner, j, start, count);                  \
    }
WHOLE_STEP(whole_step_full, ROWS(PART))
WHOLE_STEP(whole_step_fewer, FEWER_ROWS(PART))
WHOLE_STEP(whole_step_few, WAYS) /* the gates of a row too many would cost more than its sums */
#undef WHOLE_STEP

static void CELL(forward)(void *argument, int thread, int threads)
{
    cgru_sequence *job = argument;
    const ptrdiff_t T = job->steps, B = job->batch, H = job->units, I = job->inputs;
    const ptrdiff_t panel = H * COLUMNS * LANES, block = job->gate_steps * B * KEPT * LANES;
    CELL(part) mine = CELL(part_of)(job, thread, threads, BLOCKS(H));
    ptrdiff_t part[4];
    CELL(packed_parts)(job, part);
    const REAL *U = job->packed, *W = U + part[1], *bias = U + part[2];
    /* One row reads all weights for itself: those of the inputs better once for several steps. */
    const int whole = mine.bottom - mine.top > 1 && COLUMNS * (H + I) <= 2 * SLICE;
    ptrdiff_t origin = 0; /* the row that is the first in the gates */
    for (ptrdiff_t s = 0; s < T; ++s) {
        const ptrdiff_t time = job->reverse ? T - 1 - s : s;
        if (s % job->chunk == 0) {
            const ptrdiff_t count = s + job->chunk < T ? job->chunk : T - s;
            const ptrdiff_t early = job->reverse ? T - s - count : s;
            if (!job->keep)
                origin = cgru_first_row(job, early);
            if (!whole)
                CELL(project)(job, &mine, W, bias, early, early + count, origin);
        }
        const ptrdiff_t before = (job->ring ? s % 2 : job->reverse ? time + 1 : time) * B * H;
        const ptrdiff_t after = (job->ring ? (s + 1) % 2 : job->reverse ? time : time + 1) * B * H;
        const cgru_rows rows = cgru_rows_of(job, time, mine.top, mine.bottom);
        const CELL(step) step = {
            .x = (const REAL *)job->x + time * job->x_step,
            .h = (REAL *)job->h + before,
            .read = (REAL *)job->read + before,
            .c = STATES == 2 ? (REAL *)job->c + before : NULL,
            .next = (REAL *)job->h + after,
            .next_read = (REAL *)job->read + after,
            .next_c = STATES == 2 ? (REAL *)job->c + after : NULL,
            .gates = (REAL *)job->gates + (rows.row - origin) * KEPT * LANES,
            .rows = rows};
        if (rows.count < mine.bottom - mine.top)
            CELL(keep_states)(job, &mine, &step, job->mask + time * job->mask_step);
        /* The first state may be known to be 0: then there is nothing to multiply. */
        const ptrdiff_t inner = s == 0 && job->from_zero ? 0 : H;
        for (ptrdiff_t j = mine.first; whole && j < mine.last; ++j)
            for (ptrdiff_t i = 0, height; i < rows.count; i += height) {
                height = NAME(height)(PART, rows.count - i);
                (height > FEWER_ROWS(PART) ? CELL(whole_step_full)
                 : height > WAYS           ? CELL(whole_step_fewer)
                                           : CELL(whole_step_few))(
                    job, &step, W + j * I * COLUMNS * LANES, U + j * panel, bias + j * KEPT * LANES,
                    inner, j, i, height);
            }
        TILE t = {.runs = 1, .a_step = 1, .b_step = PART * LANES, .b_panel = panel,
                  .c_at = IN_A_ROW, .c_panel = block};
        const ptrdiff_t count = whole ? 0 : mine.last - mine.first;
        for (ptrdiff_t done = 0; done < count; done += t.panels) {
            t.panels = NAME(abreast)(rows.count, count - done);
            const ptrdiff_t j = s % 2 ? mine.last - done - t.panels : mine.first + done;
            for (int first = 0; first < COLUMNS; first += PART) {
                ptrdiff_t k = 0;
                do {
                    t.inner = inner - k < DEEP ? inner - k : DEEP;
                    t.b = U + j * panel + (first * H + k * PART) * LANES;
                    for (ptrdiff_t i = 0; i < rows.count; i += t.rows) {
                        t.rows = NAME(height)(PART, rows.count - i);
                        for (int r = 0; r < t.rows; ++r) {
                            t.a[r] = step.read + cgru_sequence_of(&rows, i + r) * H + k;
                            t.c[r] = step.gates + j * block +
                                     ((i + r) * KEPT + SHIFT + first) * LANES;
                        }
                        if (t.inner)
                            NAME(run_tile)(PART, &t);
                        if (first + PART == COLUMNS && k + t.inner == inner)
                            CELL(finish_tile)(job, &step, &t, j, i);
                    }
                    k += t.inner;
                } while (k < inner);
            }
        }
        CELL(meet)(&mine);
    }
}

/* ---- Backward ------------------------------------------------------------------------------- */

/* The gradient of the state of sequence b, of a vector of units: with `drop`, what came by way of
 * the products stands apart. */
static INLINE VEC CELL(state_grad)(const cgru_sequence *job, ptrdiff_t unit, ptrdiff_t b)
{
    const ptrdiff_t H = job->units, at = b * job->carry_row + unit;
    VEC d = NAME(load)((const REAL *)job->carry + at);
    if (job->drop)
        d += NAME(load)((const REAL *)job->dread + at) *
             CELL(load_units)((const REAL *)job->drop + b * H + unit, H - unit);
    return d;
}

/* What a step of the way back reads besides the gates. */
typedef struct {
    const REAL *h, *new_h, *c, *new_c, *dy; /* of sequence 0; dy may be NULL */
    cgru_rows rows;
} CELL(back);

/* The gradients of the gates g of a step in block j, from that of the new state, to which the loss's
 * own `dy` is added; carry is left with what reaches the old state directly. */
static INLINE void CELL(finish_step_grad)(const cgru_sequence *job, const CELL(back) *step,
                                          ptrdiff_t j, REAL *g)
{
    const ptrdiff_t H = job->units;
    for (ptrdiff_t i = 0; i < step->rows.count; ++i, g += KEPT * LANES)
        for (int place = 0; place < SPAN; ++place) {
            const ptrdiff_t unit = j * WIDE + place * LANES, count = H - unit;
            const ptrdiff_t b = cgru_sequence_of(&step->rows, i);
            const ptrdiff_t at = b * H + unit, carried = b * job->carry_row + unit;
            VEC d = CELL(state_grad)(job, unit, b), dc = {0}, c = {0}, new_c = {0};
            VEC gates[KEPT] = {{0}};
            if (step->dy)
                d += CELL(load_units)(step->dy + b * job->dy_row + unit, count);
            for (int v = 0; v < KEPT; v += SPAN)
                gates[v] = NAME(load)(g + (v + place) * LANES);
            if (STATES == 2) {
                dc = NAME(load)((const REAL *)job->carry_c + carried);
                c = CELL(load_units)(step->c + at, count);
                new_c = CELL(load_units)(step->new_c + at, count);
            }
            d = CELL(cell_grad)(gates, CELL(load_units)(step->h + at, count),
                                CELL(load_units)(step->new_h + at, count), c, new_c, d, &dc);
            NAME(store)((REAL *)job->carry + carried, d);
            if (STATES == 2)
                NAME(store)((REAL *)job->carry_c + carried, dc);
            for (int v = 0; v < KEPT; v += SPAN)
                NAME(store)(g + (v + place) * LANES, gates[v]);
        }
}

/* The gradients of the states of sequences that take no part in a step: the loss's own are added;
 * and there is no product that would bring more, before the next step that they take part in. */
static void CELL(keep_state_grads)(const cgru_sequence *job, const CELL(part) *mine,
                                   const CELL(back) *step, const uint8_t *mask)
{
    const ptrdiff_t H = job->units;
    for (ptrdiff_t b = mine->top; b < mine->bottom; ++b) {
        if (mask[b * job->mask_row])
            continue;
        for (ptrdiff_t unit = 2 * mine->first * LANES; unit < 2 * mine->last * LANES && unit < H;
             unit += LANES) {
            VEC d = CELL(state_grad)(job, unit, b);
            if (step->dy)
                d += CELL(load_units)(step->dy + b * job->dy_row + unit, H - unit);
            NAME(store)((REAL *)job->carry + b * job->carry_row + unit, d);
            if (job->drop)
                NAME(store)((REAL *)job->dread + b * job->carry_row + unit, SPLAT(0));
        }
    }
}

/* The gradients of all gates, step by step from the last; those of the first state in `carry`. */
static void CELL(backward_steps)(const cgru_sequence *job, int thread, int threads)
{
    enum { PER_PAIR = 2 / SPAN };
    const ptrdiff_t T = job->steps, B = job->batch, H = job->units, blocks = BLOCKS(H);
    const ptrdiff_t block = T * B * KEPT * LANES, panel = blocks * COLUMNS * LANES * 2 * LANES;
    const ptrdiff_t deep = SLICE / (COLUMNS * LANES * 2) > 0 ? SLICE / (COLUMNS * LANES * 2) : 1;
    CELL(part) mine = CELL(part_of)(job, thread, threads, PAIRS(H));
    const REAL *U = job->packed;
    const REAL zeros[2 * LANES * ABREAST] = {0};
    REAL *gates = job->gates, *carry = job->carry, *carry_c = job->carry_c, *dread = job->dread;
    const REAL *h = job->h, *c = job->c, *dy = job->dy;
    REAL *dh = job->dh, *dc = job->dc;
    for (ptrdiff_t b = mine.top; b < mine.bottom; ++b)
        for (ptrdiff_t unit = 2 * mine.first * LANES; unit < 2 * mine.last * LANES; unit += LANES) {
            const ptrdiff_t at = b * job->carry_row + unit, left = H < unit ? 0 : H - unit;
            NAME(store)(carry + at, CELL(load_units)(dh + b * H + unit, left));
            if (STATES == 2)
                NAME(store)(carry_c + at, CELL(load_units)(dc + b * H + unit, left));
            if (job->drop)
                NAME(store)(dread + at, SPLAT(0)); /* after the last step comes no product */
        }
    REAL *product = job->drop ? dread : carry; /* where the products go */
    cgru_rows later = {0};
    for (ptrdiff_t s = T; s >= 0; --s) {
        if (s == 0 && !job->start_grad)
            break;
        /* Step s - 1 of the forward pass; `later` are the rows that came after it. */
        const ptrdiff_t time = job->reverse ? T - s : s - 1;
        const ptrdiff_t before = (job->reverse ? time + 1 : time) * B * H;
        const ptrdiff_t after = (job->reverse ? time : time + 1) * B * H;
        const CELL(back) step = {
            .h = h + before, .new_h = h + after,
            .c = STATES == 2 ? c + before : NULL, .new_c = STATES == 2 ? c + after : NULL,
            .dy = dy ? dy + time * job->dy_step : NULL,
            .rows = s ? cgru_rows_of(job, time, mine.top, mine.bottom) : (cgru_rows){0}};
        TILE t = {.inner = COLUMNS * LANES, .a_step = 1, .a_run = block,
                  .b_step = 2 * LANES, .b_run = COLUMNS * LANES * 2 * LANES, .b_panel = panel,
                  .c_at = {0, LANES}, .c_panel = 2 * LANES};
        const ptrdiff_t count = mine.last - mine.first;
        for (ptrdiff_t done = 0; done < count; done += t.panels) {
            t.panels = NAME(abreast)(later.count, count - done);
            const ptrdiff_t p = s % 2 ? mine.last - done - t.panels : mine.first + done;
            for (ptrdiff_t q = 0; later.count && q < blocks; q += t.runs) {
                t.runs = blocks - q < deep ? blocks - q : deep;
                t.b = U + p * panel + q * t.b_run;
                t.start = job->drop && q == 0 ? zeros : NULL;
                for (ptrdiff_t i = 0; i < later.count; i += t.rows) {
                    t.rows = NAME(height)(2, later.count - i);
                    for (int r = 0; r < t.rows; ++r) {
                        t.a[r] = gates + q * block + ((later.row + i + r) * KEPT + SHIFT) * LANES;
                        t.c[r] = product + cgru_sequence_of(&later, i + r) * job->carry_row +
                                 p * 2 * LANES;
                    }
                    NAME(run_tile_2)(&t);
                }
            }
            for (ptrdiff_t j = PER_PAIR * p; j < PER_PAIR * (p + t.panels) && j < blocks; ++j)
                CELL(finish_step_grad)(job, &step, j,
                                       gates + j * block + step.rows.row * KEPT * LANES);
        }
        if (s && step.rows.count < mine.bottom - mine.top)
            CELL(keep_state_grads)(job, &mine, &step, job->mask + time * job->mask_step);
        later = step.rows;
        CELL(meet)(&mine);
    }
    for (ptrdiff_t b = mine.top; job->start_grad && b < mine.bottom; ++b)
        for (ptrdiff_t unit = 2 * mine.first * LANES; unit < 2 * mine.last * LANES && unit < H;
             unit += LANES) {
            CELL(store_units)(dh + b * H + unit, CELL(state_grad)(job, unit, b), H - unit);
            if (STATES == 2)
                CELL(store_units)(dc + b * H + unit,
                                 NAME(load)(carry_c + b * job->carry_row + unit), H - unit);
        }
}

/* to[column of a][GATES] += a' gates over all steps and sequences, for the columns first ..
 * last - 1 of a and the blocks of one group.  a is [t][b][column] with the given distances; `at` is
 * the first of the gates' vectors that count, `order` says which gate each of them is. */
static void CELL(weight_grad)(const cgru_sequence *job, ptrdiff_t group, const REAL *a,
                              ptrdiff_t a_time, ptrdiff_t a_row, int at, const int *order,
                              ptrdiff_t first, ptrdiff_t last, REAL *to)
{
    enum { DEPTH = 512 }; /* rows at a time: the gates of a group then stay in the L2 cache */
    const ptrdiff_t H = job->units, rows = cgru_first_row(job, job->steps);
    const ptrdiff_t j0 = group * GROUP, j1 = j0 + GROUP < BLOCKS(H) ? j0 + GROUP : BLOCKS(H);
    REAL strip[DEPTH * STRIP] __attribute__((aligned(64)));
    for (ptrdiff_t row = 0; row < rows; row += DEPTH) {
        const cgru_walk begin = cgru_walk_at(job, row);
        for (ptrdiff_t k = first; k < last; k += STRIP) {
            const ptrdiff_t depth = rows - row < DEPTH ? rows - row : DEPTH;
            const ptrdiff_t columns = last - k < STRIP ? last - k : STRIP;
            cgru_walk walk = begin;
            for (ptrdiff_t i = 0; i < depth; ++i, cgru_walk_on(job, &walk)) {
                const ptrdiff_t b = cgru_sequence_of(&walk.rows, walk.place);
                const REAL *from = a + walk.time * a_time + b * a_row + k;
                __builtin_prefetch(from + STRIP); /* the next strip's */
                if (columns == STRIP)
                    memcpy(strip + i * STRIP, from, STRIP * sizeof(REAL));
                else
                    memcpy(strip + i * STRIP, from, columns * sizeof(REAL));
            }
            for (ptrdiff_t p = j0 * PARTS; p < j1 * PARTS; ++p) {
                const ptrdiff_t j = p / PARTS;
                const int first_vector = p % PARTS * PART;
                ptrdiff_t counts[PART];
                TILE tile = {.panels = 1, .runs = 1, .inner = depth, .a_step = STRIP,
                             .b = (const REAL *)job->gates +
                                  ((j * job->steps * job->batch + row) * KEPT + at + first_vector) *
                                      LANES,
                             .b_step = KEPT * LANES,
                             .counts = H - j * WIDE < WIDE ? counts : NULL};
                for (int v = 0; v < PART; ++v) {
                    counts[v] = NAME(lanes)(CELL(left)(H, j, first_vector + v));
                    tile.c_at[v] = CELL(column)(H, order, 0, first_vector + v);
                }
                for (ptrdiff_t c = 0; c < columns; c += tile.rows) {
                    tile.rows = NAME(height)(PART, columns - c);
                    for (int i = 0; i < tile.rows; ++i) {
                        tile.a[i] = strip + c + i;
                        tile.c[i] = to + (k + c + i) * GATES * H + j * WIDE;
                    }
                    NAME(run_tile)(PART, &tile);
                }
            }
        }
    }
}

/* The sums over all steps and sequences, added to the biases of block j. */
static void CELL(bias_grad)(const cgru_sequence *job, ptrdiff_t j)
{
    const ptrdiff_t rows = cgru_first_row(job, job->steps), H = job->units;
    const REAL *g = (const REAL *)job->gates + j * job->steps * job->batch * KEPT * LANES;
    VEC sum[KEPT] = {{0}};
    for (ptrdiff_t i = 0; i < rows; ++i, g += KEPT * LANES)
        for (int v = 0; v < KEPT; ++v)
            sum[v] += NAME(load)(g + v * LANES);
    for (int state = 0; state < BIAS_ROWS; ++state)
        for (int v = 0; v < COLUMNS; ++v) {
            const int *order = state ? CELL(state_order) : CELL(input_order);
            const ptrdiff_t count = CELL(left)(H, j, v);
            REAL *to = (REAL *)job->dbias + state * GATES * H + CELL(column)(H, order, j, v);
            CELL(store_units)(to, CELL(load_units)(to, count) + sum[v + state * SHIFT], count);
        }
}

/* dx = the gates' gradients times W', for the rows first .. last - 1; where there is no row, dx is 0
 * already. */
static void CELL(input_grad)(const cgru_sequence *job, const REAL *W, ptrdiff_t first,
                             ptrdiff_t last)
{
    enum { DEPTH = 64 }; /* rows at a time: their gates then stay in the L2 cache */
    const ptrdiff_t I = job->inputs, blocks = BLOCKS(job->units);
    const ptrdiff_t block = job->steps * job->batch * KEPT * LANES, width = 2 * LANES;
    for (ptrdiff_t i = first; i < last; i += DEPTH) {
        const ptrdiff_t end = i + DEPTH < last ? i + DEPTH : last;
        const cgru_walk begin = cgru_walk_at(job, i);
        for (ptrdiff_t column = 0; column < I; column += width) {
            const ptrdiff_t counts[] = {NAME(lanes)(I - column), NAME(lanes)(I - column - LANES)};
            const REAL zeros[2 * LANES] = {0};
            TILE t = {.panels = 1, .runs = blocks, .inner = COLUMNS * LANES, .a_step = 1,
                      .a_run = block, .b = W + column / width * blocks * COLUMNS * LANES * width,
                      .b_step = width, .b_run = COLUMNS * LANES * width,
                      .start = zeros, .c_at = {0, LANES},
                      .counts = counts[1] < LANES ? counts : NULL};
            cgru_walk walk = begin;
            for (ptrdiff_t row = i; row < end; row += t.rows) {
                t.rows = NAME(height)(2, end - row);
                for (int r = 0; r < t.rows; ++r, cgru_walk_on(job, &walk)) {
                    const ptrdiff_t b = cgru_sequence_of(&walk.rows, walk.place);
                    t.a[r] = (const REAL *)job->gates + (row + r) * KEPT * LANES;
                    t.c[r] = (REAL *)job->dx + (walk.time * job->batch + b) * I + column;
                }
                NAME(run_tile_2)(&t);
            }
        }
    }
}

static void CELL(backward)(void *argument, int thread, int threads)
{
    cgru_sequence *job = argument;
    const ptrdiff_t T = job->steps, B = job->batch, I = job->inputs, H = job->units;
    ptrdiff_t part[4], first, last;
    CELL(packed_parts)(job, part);
    CELL(backward_steps)(job, thread, threads);
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
                CELL(bias_grad)(job, j);
        CELL(weight_grad)(job, group, states, B * H, H, SHIFT, CELL(state_order), strip * STRIP,
                          u_end, job->drecurrent_kernel);
        CELL(weight_grad)(job, group, job->x, job->x_step, job->x_row, 0, CELL(input_order), w,
                          w_end < I ? w_end : I, job->dkernel);
        first += end - strip;
    }
    if (job->dx) {
        cgru_share(cgru_first_row(job, T), DEALT, thread, threads, &first, &last);
        CELL(input_grad)(job, (const REAL *)job->packed + part[1], first, last);
    }
}

static const cgru_cell CELL(kernels) = {
    GATES, BIAS_ROWS, KEPT / SPAN, CELL(packed_size), CELL(gates_size), CELL(pack), CELL(forward),
    CELL(backward),
};

#undef KIND
#undef GATES
#undef SPAN
#undef KEPT
#undef STATES
#undef BIAS_ROWS
#undef INPUT_ORDER
#undef STATE_ORDER
#undef CELL
#undef COLUMNS
#undef SHIFT
#undef PART
#undef PARTS
#undef WIDE
#undef BLOCKS
#undef PAIRS
#undef GROUP
#undef SLICE
#undef DEEP
#undef IN_A_ROW
