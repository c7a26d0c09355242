/* Which sequences go through which steps: those that a mask leaves out take no part in a step.
 * Lists of them are made once for a call; without a mask there are none, and all take part.
 */
#ifndef CGRU_ROWS_H
#define CGRU_ROWS_H

/* How many numbers the lists may need. */
static inline ptrdiff_t cgru_rows_size(const cgru_sequence *job)
{
    return job->steps + 1 + job->batch + 1 + job->steps * job->batch;
}

/* Makes the lists of a job in `room`; drops a mask that leaves nothing out. */
static void cgru_list_rows(cgru_sequence *job, ptrdiff_t *room)
{
    const ptrdiff_t T = job->steps, B = job->batch;
    ptrdiff_t *first = room, *dealt = first + T + 1, *sequences = dealt + B + 1, count = 0;
    for (ptrdiff_t b = 0; b <= B; ++b)
        dealt[b] = 0;
    for (ptrdiff_t t = 0; t < T; ++t) {
        first[t] = count;
        for (ptrdiff_t b = 0; b < B; ++b)
            if (job->mask[t * job->mask_step + b * job->mask_row]) {
                sequences[count++] = b;
                ++dealt[b + 1];
            }
    }
    first[T] = count;
    for (ptrdiff_t b = 0; b < B; ++b)
        dealt[b + 1] += dealt[b];
    if (count == T * B)
        job->mask = NULL;
    job->first_row = first;
    job->row_sequence = sequences;
    job->rows_before = dealt;
}

/* The number of the first row of a step; of the step after the last one, that of all rows. */
static inline ptrdiff_t cgru_first_row(const cgru_sequence *job, ptrdiff_t time)
{
    return job->mask ? job->first_row[time] : time * job->batch;
}

/* The sequences first .. last - 1 that fall to one of `groups` of threads: equally many rows. */
static inline void cgru_share_sequences(const cgru_sequence *job, int unit, int group,
                                        ptrdiff_t *first, ptrdiff_t *last)
{
    const ptrdiff_t B = job->batch;
    if (!job->mask) {
        cgru_share(B, unit, group, job->groups, first, last);
        return;
    }
    const double part = (double)job->rows_before[B] / job->groups;
    for (*first = 0; *first < B && job->rows_before[*first] < part * group;)
        ++*first;
    for (*last = *first; *last < B && job->rows_before[*last] < part * (group + 1);)
        ++*last;
    if (group == job->groups - 1)
        *last = B; /* and those without rows */
}

/* The sequences first .. last - 1, as far as they take part in one step. */
typedef struct {
    ptrdiff_t count, first;
    const ptrdiff_t *sequences; /* NULL: all, from `first` on */
    ptrdiff_t row;              /* the number of the first of them */
} cgru_rows;

static inline cgru_rows cgru_rows_of(const cgru_sequence *job, ptrdiff_t time, ptrdiff_t first,
                                     ptrdiff_t last)
{
    if (!job->mask)
        return (cgru_rows){last - first, first, NULL, time * job->batch + first};
    const ptrdiff_t *all = job->row_sequence;
    ptrdiff_t row = job->first_row[time], end = job->first_row[time + 1];
    while (row < end && all[row] < first)
        ++row;
    while (end > row && all[end - 1] >= last)
        --end;
    return (cgru_rows){end - row, 0, all + row, row};
}

static inline ptrdiff_t cgru_sequence_of(const cgru_rows *rows, ptrdiff_t i)
{
    return rows->sequences ? rows->sequences[i] : rows->first + i;
}

/* A walk over all rows. */
typedef struct {
    ptrdiff_t row, time, sequence;
    ptrdiff_t batch;
    const ptrdiff_t *first_row, *sequences; /* NULL: all take part in each step */
} cgru_walk;

static inline void cgru_find_step(cgru_walk *walk)
{
    walk->sequence = walk->sequences[walk->row];
    while (walk->row >= walk->first_row[walk->time + 1])
        ++walk->time;
}

/* A walk that begins at a row; at none, if there are no more. */
static inline cgru_walk cgru_walk_from(const cgru_sequence *job, ptrdiff_t row)
{
    cgru_walk walk = {.row = row, .batch = job->batch};
    if (job->mask) {
        walk.first_row = job->first_row;
        walk.sequences = job->row_sequence;
        if (row < job->first_row[job->steps])
            cgru_find_step(&walk);
    } else {
        walk.time = row / job->batch;
        walk.sequence = row % job->batch;
    }
    return walk;
}

/* To the next row, of which there are `rows`. */
static inline void cgru_walk_on(cgru_walk *walk, ptrdiff_t rows)
{
    ++walk->row;
    if (walk->sequences) {
        if (walk->row < rows)
            cgru_find_step(walk);
    } else if (++walk->sequence == walk->batch) {
        walk->sequence = 0;
        ++walk->time;
    }
}

#endif
