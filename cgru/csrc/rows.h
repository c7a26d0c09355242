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

/* A walk over the rows of the sequences first .. last - 1, step by step; at its end `time` is that of
 * the step after the last one. */
typedef struct {
    ptrdiff_t first, last, time, place; /* the place among the rows of the step */
    cgru_rows rows;
} cgru_walk;

static inline void cgru_find_row(const cgru_sequence *job, cgru_walk *walk)
{
    while (walk->place == walk->rows.count && ++walk->time < job->steps) {
        walk->rows = cgru_rows_of(job, walk->time, walk->first, walk->last);
        walk->place = 0;
    }
}

static inline cgru_walk cgru_walk_from(const cgru_sequence *job, ptrdiff_t time, ptrdiff_t first,
                                       ptrdiff_t last)
{
    cgru_walk walk = {first, last, time, 0, cgru_rows_of(job, time, first, last)};
    cgru_find_row(job, &walk);
    return walk;
}

/* The walk over all sequences that begins at a row. */
static inline cgru_walk cgru_walk_at(const cgru_sequence *job, ptrdiff_t row)
{
    ptrdiff_t time = job->mask ? 0 : row / job->batch;
    while (job->mask && job->first_row[time + 1] <= row)
        ++time;
    cgru_walk walk = cgru_walk_from(job, time, 0, job->batch);
    walk.place = row - walk.rows.row;
    return walk;
}

static inline void cgru_walk_on(const cgru_sequence *job, cgru_walk *walk)
{
    ++walk->place;
    cgru_find_row(job, walk);
}

#endif
