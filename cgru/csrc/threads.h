/* Keeps BLAS on one thread for products that are too small to share.
 *
 * OpenBLAS wakes its threads for any product of more than 2^18 multiplications.  Waking them and
 * waiting for them costs about what it saves up to 2^21, and where other programs use the CPU it
 * costs a time slice for each product: a hundred times the product itself.  Its number of threads
 * is one for the whole process, so it is lowered while at least one small product runs and set
 * back after the last; concurrent calls share the count below.
 */
#ifndef CGRU_THREADS_H
#define CGRU_THREADS_H

#include <pthread.h>

#define CGRU_WORTH_SHARING 2097152.0

/* The functions of the BLAS in use; NULL for one that has none, which is then left alone. */
static int (*cgru_get_blas_threads)(void);
static void (*cgru_set_blas_threads)(int);

static pthread_mutex_t cgru_lock = PTHREAD_MUTEX_INITIALIZER;
static int cgru_small_products, cgru_usual_threads;

/* Before a product of `work` multiplications; what it returns is for cgru_end_product. */
static int cgru_begin_product(double work)
{
    if (!cgru_set_blas_threads || work >= CGRU_WORTH_SHARING)
        return 0;
    pthread_mutex_lock(&cgru_lock);
    if (cgru_small_products++ == 0) {
        cgru_usual_threads = cgru_get_blas_threads();
        if (cgru_usual_threads > 1)
            cgru_set_blas_threads(1);
    }
    pthread_mutex_unlock(&cgru_lock);
    return 1;
}

static void cgru_end_product(int small)
{
    if (!small)
        return;
    pthread_mutex_lock(&cgru_lock);
    if (--cgru_small_products == 0 && cgru_usual_threads > 1)
        cgru_set_blas_threads(cgru_usual_threads);
    pthread_mutex_unlock(&cgru_lock);
}

/* A forked child has none of the threads that were in a product. */
static void cgru_before_fork(void) { pthread_mutex_lock(&cgru_lock); }
static void cgru_fork_parent(void) { pthread_mutex_unlock(&cgru_lock); }
static void cgru_fork_child(void)
{
    if (cgru_small_products > 0 && cgru_usual_threads > 1)
        cgru_set_blas_threads(cgru_usual_threads);
    cgru_small_products = 0;
    pthread_mutex_unlock(&cgru_lock);
}

static void cgru_use_blas_threads(size_t get, size_t set)
{
    cgru_get_blas_threads = (int (*)(void))get;
    cgru_set_blas_threads = (void (*)(int))set;
    pthread_atfork(cgru_before_fork, cgru_fork_parent, cgru_fork_child);
}

#endif
