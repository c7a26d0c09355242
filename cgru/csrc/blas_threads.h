/* The threads of SciPy's BLAS, where it is the one that multiplies.
 *
 * OpenBLAS wakes its threads for any product of more than 2^18 multiplications.  Waking them and
 * waiting for them costs about what it saves up to 2^21, and where other programs use the CPU it
 * costs a time slice for each product: a hundred times the product itself.  And it does not know
 * how many threads cgru may use.  Its number of threads is one for the whole process, so it is set
 * before a product and set back after it; calls from several threads take turns.
 */
#ifndef CGRU_BLAS_THREADS_H
#define CGRU_BLAS_THREADS_H

#include "pool.h"

#define CGRU_WORTH_SHARING 2097152.0

/* The functions of the BLAS in use; NULL for one that has none, which is then left alone. */
static int (*cgru_get_blas_threads)(void);
static void (*cgru_set_blas_threads)(int);

static pthread_mutex_t cgru_blas_lock = PTHREAD_MUTEX_INITIALIZER;
static int cgru_usual_blas_threads;

/* Before a product of `work` multiplications. */
static void cgru_begin_product(double work)
{
    if (!cgru_set_blas_threads)
        return;
    const int threads = work < CGRU_WORTH_SHARING ? 1 : cgru_thread_limit;
    pthread_mutex_lock(&cgru_blas_lock);
    cgru_usual_blas_threads = cgru_get_blas_threads();
    if (threads != cgru_usual_blas_threads)
        cgru_set_blas_threads(threads);
}

static void cgru_end_product(void)
{
    if (!cgru_set_blas_threads)
        return;
    if (cgru_get_blas_threads() != cgru_usual_blas_threads)
        cgru_set_blas_threads(cgru_usual_blas_threads);
    pthread_mutex_unlock(&cgru_blas_lock);
}

/* A forked child has none of the threads that were in a product. */
static void cgru_before_fork(void) { pthread_mutex_lock(&cgru_blas_lock); }
static void cgru_after_fork(void) { pthread_mutex_unlock(&cgru_blas_lock); }
static void cgru_after_fork_in_child(void)
{
    pthread_mutex_unlock(&cgru_blas_lock);
    cgru_forget_threads();
}

static void cgru_survive_forks(void)
{
    pthread_atfork(cgru_before_fork, cgru_after_fork, cgru_after_fork_in_child);
}

static void cgru_use_blas_threads(size_t get, size_t set)
{
    cgru_get_blas_threads = (int (*)(void))get;
    cgru_set_blas_threads = (void (*)(int))set;
}

#endif
