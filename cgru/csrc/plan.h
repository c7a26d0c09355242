/* How many threads a call is worth, and how they share it: a small model of its cost in cycles.
 * The constants are rounded measurements and need not be exact; they decide between plans whose
 * costs differ by factors.  Results do not depend on the plan.
 */
#ifndef CGRU_PLAN_H
#define CGRU_PLAN_H

#define CGRU_MEETING 1000.0 /* for a meeting of two, with the lines they hand over; a little for each more */
#define CGRU_GATE 17.0     /* a gate of one vector */
#define CGRU_NEAR 1e6      /* bytes of weights that stay in a core's own cache from step to step */
#define CGRU_FAR_RATE 10.0 /* bytes a cycle from beyond it */
#define CGRU_NEAR_RATE 40.0
#define CGRU_CACHED 500000 /* parameters; an optimizer has four numbers for each */

/* Cycles for a sequence when `groups` of threads have sequences of their own and the `members` of
 * each share the units. */
static double cgru_cost(const cgru_sequence *job, int lanes, int tile, int groups, int members)
{
    /* The rows of a step; where a mask leaves some out, in the mean. */
    const ptrdiff_t batch = (cgru_first_row(job, job->steps) + job->steps - 1) / job->steps;
    const ptrdiff_t tiles = (batch + tile - 1) / tile, blocks = (job->units + lanes - 1) / lanes;
    const double my_tiles = (double)((tiles + groups - 1) / groups);
    const double my_blocks = (double)((blocks + members - 1) / members);
    const double rows = batch < tile ? (double)batch : my_tiles * tile;
    const double bytes = my_blocks * job->gate_count * 4 * lanes * (double)job->units;
    const double rate = bytes > CGRU_NEAR ? CGRU_FAR_RATE : CGRU_NEAR_RATE;
    const double sums = rows * my_blocks * 0.5 * job->gate_count * (double)job->units;
    const double project = rows * my_blocks * 0.5 * job->gate_count * (double)job->inputs;
    double step = (sums > bytes / rate ? sums : bytes / rate) + project;
    step += rows * my_blocks * job->gate_count * CGRU_GATE;
    if (members > 1)
        step += CGRU_MEETING + 20 * members;
    return (double)job->steps * step + (groups * members > 1 ? cgru_launch_cost : 0);
}

/* Sets job->groups; returns the number of threads, at most `most`. */
static int cgru_plan(cgru_sequence *job, int lanes, int tile, int most)
{
    const ptrdiff_t tiles = (job->batch + tile - 1) / tile;
    const ptrdiff_t pairs = (job->units + 2 * lanes - 1) / (2 * lanes);
    double best = cgru_cost(job, lanes, tile, 1, 1);
    int threads = 1;
    job->groups = 1;
    for (int groups = 1; groups <= most && groups <= tiles; ++groups) {
        const int members = most / groups < pairs ? most / groups : (int)pairs;
        const double cost = cgru_cost(job, lanes, tile, groups, members);
        if (cost < best || (cgru_launch_cost == 0 && groups * members > threads)) {
            best = cost;
            threads = groups * members;
            job->groups = groups;
        }
    }
    return threads;
}

/* The threads that work of so many cycles is worth, where it falls into equal parts. */
static int cgru_worth(double cycles, int most)
{
    if (cycles >= cgru_launch_cost * most)
        return most;
    return cycles < 2 * cgru_launch_cost ? 1 : (int)(cycles / cgru_launch_cost);
}

/* For a plain product, whose rows or columns are dealt out. */
static int cgru_plan_product(const cgru_product *job, int most)
{
    const double cycles = (double)job->rows * (double)job->columns * (double)job->inner / 32;
    return cgru_worth(cycles, most);
}

/* And for an optimizer's step, at a few cycles for each parameter.  What is in a core's own cache is
 * updated there: another core would fetch it from that cache, which takes longer where the two do
 * not share one, than the update. */
static int cgru_plan_update(const cgru_update *job, int most)
{
    if (job->size < CGRU_CACHED && cgru_launch_cost > 0)
        return 1;
    return cgru_worth(2 * (double)job->size, most);
}

/* ---- Calls: plan, gather the threads, share the work ---- */

static void cgru_run_sequence(cgru_sequence *job, int lanes, int tile, cgru_task task)
{
    int threads = cgru_plan(job, lanes, tile, cgru_thread_limit);
    const int gathered = cgru_gather_threads(threads);
    if (gathered != threads)
        threads = cgru_plan(job, lanes, tile, gathered);
    for (int group = 0; group <= job->groups && threads > 1; ++group)
        atomic_store(&cgru_meetings[group].count, 0);
    cgru_share_work(gathered, threads, task, job);
}

static void cgru_run_product(cgru_product *job, cgru_task task)
{
    const int threads = cgru_gather_threads(cgru_plan_product(job, cgru_thread_limit));
    cgru_share_work(threads, threads, task, job);
}

static void cgru_run_update(cgru_update *job, cgru_task task)
{
    const int threads = cgru_gather_threads(cgru_plan_update(job, cgru_thread_limit));
    cgru_share_work(threads, threads, task, job);
}

#endif
