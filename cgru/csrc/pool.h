/* A few threads that wait for work: one call at a time shares its work among them, a call that
 * comes while they are busy runs on its own thread alone.  Results do not depend on how many
 * threads there are, so nobody sees a difference but in time.
 *
 * Not OpenMP: a process that has used GCC's may not use it after a fork, each Python thread that
 * calls would get threads of its own, and the wheel would need a library that not every machine
 * has.
 */
#ifndef CGRU_POOL_H
#define CGRU_POOL_H

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

#define CGRU_MOST_THREADS 256
/* In pauses, each of which takes 3 to 50 ns: it is up to the CPU. */
#define CGRU_SPINS 20000 /* 60 us to 1 ms: more than what passes between calls of a training step */
#define CGRU_SHORT 400   /* 1 to 20 us: a wait that is not worth a look at the clock */

#if defined(__x86_64__) || defined(__i386__)
#define cgru_pause() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define cgru_pause() __asm__ volatile("yield")
#else
#define cgru_pause() ((void)0)
#endif

/* ---- Subnormal numbers ----
 * They are rounded to 0 while a kernel runs (a processor takes a hundred cycles for one), and the
 * caller's mode is restored after it. */

#if defined(__x86_64__) || defined(__SSE2__)
static inline unsigned cgru_flush_subnormals(void)
{
    const unsigned mode = __builtin_ia32_stmxcsr();
    __builtin_ia32_ldmxcsr(mode | 0x8040); /* flush to zero, denormals are zero */
    return mode;
}
static inline void cgru_restore_mode(unsigned mode) { __builtin_ia32_ldmxcsr(mode); }
#elif defined(__aarch64__)
static inline uint64_t cgru_flush_subnormals(void)
{
    uint64_t mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    __asm__ volatile("msr fpcr, %0" : : "r"(mode | (1 << 24)));
    return mode;
}
static inline void cgru_restore_mode(uint64_t mode)
{
    __asm__ volatile("msr fpcr, %0" : : "r"(mode));
}
#else
static inline unsigned cgru_flush_subnormals(void) { return 0; }
static inline void cgru_restore_mode(unsigned mode) { (void)mode; }
#endif

/* ---- The pool ---- */

typedef void (*cgru_task)(void *argument, int thread, int threads);

typedef struct {
    atomic_int called;
    pthread_mutex_t lock;
    pthread_cond_t wake;
} __attribute__((aligned(128))) cgru_worker;

static cgru_worker cgru_workers[CGRU_MOST_THREADS];
static int cgru_started = 1;         /* threads there are, the caller's included */
static int cgru_thread_limit = 1;    /* what set_num_threads asked for */
static pthread_mutex_t cgru_pool_lock = PTHREAD_MUTEX_INITIALIZER; /* held by the call that shares */
static cgru_task cgru_current_task;
static void *cgru_current_argument;
static int cgru_team;
static atomic_int cgru_running;

/* ---- Where other programs want the cores, too ----
 * A thread that waits for one without a core waits for as long as the system lets others run,
 * thousands of times what a meeting should take.  A call that would have been quicker alone is
 * therefore followed by some that are, for as long as it lost, and twice as long each time that it
 * happens again. */
#define CGRU_MOST_CAUTION 32.0
/* Cycles to wake other threads, and wait for the last of them; tests set it to 0 to see them at
 * work, at whatever cost. */
static double cgru_launch_cost = 20000.0;
static double cgru_alone_until;  /* seconds; guarded by cgru_pool_lock, as is the next */
static double cgru_caution = 1;
static _Thread_local double cgru_waited; /* seconds, in this call */

static double cgru_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Waits until `count` has risen (direction 1) or fallen (-1) to `target`. */
static inline void cgru_await(atomic_int *count, int target, int direction)
{
#define CGRU_REACHED \
    (direction * (atomic_load_explicit(count, memory_order_acquire) - target) >= 0)
    for (int i = 0; i < CGRU_SHORT; ++i) {
        if (CGRU_REACHED)
            return;
        cgru_pause();
    }
    const double start = cgru_seconds();
    for (int i = 0; !CGRU_REACHED; ++i)
        if (i < CGRU_SPINS)
            cgru_pause();
        else
            sched_yield();
    cgru_waited += cgru_seconds() - start;
#undef CGRU_REACHED
}

/* Learns from a call that took so long, of which its first thread waited cgru_waited. */
static void cgru_learn(double start, int threads)
{
    const double now = cgru_seconds(), took = now - start;
    const double lost = took - threads * (took - cgru_waited);
    if (lost < took / 4 || cgru_launch_cost == 0) { /* less may be uneven parts */
        cgru_caution = 1;
        return;
    }
    cgru_alone_until = now + cgru_caution * lost;
    if (cgru_caution < CGRU_MOST_CAUTION)
        cgru_caution *= 2;
}

static void *cgru_work(void *self)
{
    cgru_worker *me = self;
    cgru_flush_subnormals();
    for (;;) {
        for (int i = 0; i < CGRU_SPINS && !atomic_load_explicit(&me->called, memory_order_acquire);
             ++i)
            cgru_pause();
        if (!atomic_load_explicit(&me->called, memory_order_acquire)) {
            pthread_mutex_lock(&me->lock);
            while (!atomic_load(&me->called))
                pthread_cond_wait(&me->wake, &me->lock);
            pthread_mutex_unlock(&me->lock);
        }
        atomic_store(&me->called, 0);
        cgru_current_task(cgru_current_argument, (int)(me - cgru_workers), cgru_team);
        atomic_fetch_sub_explicit(&cgru_running, 1, memory_order_release);
    }
    return NULL;
}

/* Starts threads until there are `wanted`; returns how many there are. */
static int cgru_start_threads(int wanted)
{
    pthread_attr_t attributes;
    sigset_t all, before;
    if (wanted > CGRU_MOST_THREADS)
        wanted = CGRU_MOST_THREADS;
    if (cgru_started >= wanted)
        return wanted;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, 1 << 20);
    sigfillset(&all); /* signals are for Python's own threads */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (cgru_started < wanted) {
        pthread_t thread;
        cgru_worker *worker = &cgru_workers[cgru_started];
        atomic_store(&worker->called, 0);
        pthread_mutex_init(&worker->lock, NULL);
        pthread_cond_init(&worker->wake, NULL);
        if (pthread_create(&thread, &attributes, cgru_work, worker) != 0)
            break; /* as many as the system allows */
        ++cgru_started;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return cgru_started;
}

/* How many threads, up to `wanted`, the caller may share its work among: for cgru_share_work, which
 * must follow. */
static int cgru_gather_threads(int wanted)
{
    if (wanted > cgru_thread_limit)
        wanted = cgru_thread_limit;
    if (wanted <= 1 || pthread_mutex_trylock(&cgru_pool_lock) != 0)
        return 1;
    wanted = cgru_alone_until > 0 && cgru_seconds() < cgru_alone_until ? 1 : cgru_start_threads(wanted);
    if (wanted == 1)
        pthread_mutex_unlock(&cgru_pool_lock);
    return wanted;
}

/* Runs task(argument, 0 .. threads - 1, threads), each on a thread of its own, of those gathered. */
static void cgru_share_work(int gathered, int threads, cgru_task task, void *argument)
{
    const __auto_type mode = cgru_flush_subnormals();
    const double start = threads > 1 ? cgru_seconds() : 0;
    if (threads > 1) {
        cgru_waited = 0;
        cgru_current_task = task;
        cgru_current_argument = argument;
        cgru_team = threads;
        atomic_store(&cgru_running, threads - 1);
    }
    for (int i = 1; i < threads; ++i) {
        cgru_worker *worker = &cgru_workers[i];
        pthread_mutex_lock(&worker->lock);
        atomic_store(&worker->called, 1);
        pthread_cond_signal(&worker->wake);
        pthread_mutex_unlock(&worker->lock);
    }
    task(argument, 0, threads);
    if (threads > 1) {
        cgru_await(&cgru_running, 0, -1);
        cgru_learn(start, threads);
    }
    if (gathered > 1)
        pthread_mutex_unlock(&cgru_pool_lock);
    cgru_restore_mode(mode);
}

/* Where the threads of one call meet: a point for each group of them, and one for all. */
static struct {
    atomic_int count;
} __attribute__((aligned(128))) cgru_meetings[CGRU_MOST_THREADS + 1];

/* Waits for all `members`; `count` starts at 0, and `round` counts from 1. */
static inline void cgru_meet(atomic_int *count, int members, int round)
{
    if (members == 1)
        return;
    atomic_fetch_add_explicit(count, 1, memory_order_acq_rel);
    cgru_await(count, members * round, 1);
}

/* Part `part` of `parts` of `count` items, in multiples of `unit` where they are many. */
static inline void cgru_share(ptrdiff_t count, ptrdiff_t unit, int part, int parts,
                              ptrdiff_t *first, ptrdiff_t *last)
{
    const ptrdiff_t units = (count + unit - 1) / unit;
    *first = units * part / parts * unit;
    *last = units * (part + 1) / parts * unit;
    if (*first > count)
        *first = count;
    if (*last > count)
        *last = count;
}

/* A forked child has none of the threads; it starts its own when it needs them. */
static void cgru_forget_threads(void)
{
    cgru_started = 1;
    atomic_store(&cgru_running, 0);
    pthread_mutex_init(&cgru_pool_lock, NULL);
}

#endif
