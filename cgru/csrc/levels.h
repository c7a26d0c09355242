/* Compiles the numeric code once per instruction level and element type, and chooses
 * the level that this CPU runs.  One body, no copies: a level only changes what the compiler may
 * use.  The levels are those of the x86-64 psABI, without what no loop uses; other CPUs have the
 * baseline alone.
 *
 * They are asked for by feature, not by an `arch=` name: an arch name is matched exactly, so it
 * would never be chosen on a CPU newer than the one it names.
 */
#ifndef CGRU_LEVELS_H
#define CGRU_LEVELS_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "jobs.h"
#include "pool.h"
#include "rows.h"
#include "plan.h"

#undef I /* which <complex.h> takes, for those who include it */

#define CGRU_JOIN_(a, b, c) a##_##b##_##c
#define CGRU_JOIN(a, b, c) CGRU_JOIN_(a, b, c)
#define NAME(function) CGRU_JOIN(function, TYPE, LEVEL)
#define CGRU_PASTE_(a, b) a##_##b
#define CGRU_PASTE(a, b) CGRU_PASTE_(a, b)

/* The loops of one level for one element type; gates.h and elementwise.h say what each does. */
#define CGRU_LOOPS(REAL)                                                                         \
    int vector_bytes, tile_rows;                                                                 \
    const cgru_cell *cells[3];                                                                   \
    cgru_task product, sgd, rmsprop, adam, nadam, adamax, adagrad, adadelta, lion, blend;                 \
    void (*gru_gates)(ptrdiff_t rows, ptrdiff_t units, const REAL *bias, const uint8_t *mask,    \
                      const REAL *hu, const REAL *h_prev, REAL *gates, REAL *h);                 \
    void (*gru_gates_grad)(ptrdiff_t rows, ptrdiff_t units, const uint8_t *mask,                 \
                           const REAL *h_prev, const REAL *dy, REAL *gates, REAL *dh,            \
                           REAL *dbias);                                                         \
    void (*cho_reset)(ptrdiff_t rows, ptrdiff_t units, const REAL *bias, const REAL *h_prev,     \
                      REAL *gates);                                                              \
    void (*cho_update)(ptrdiff_t rows, ptrdiff_t units, const uint8_t *mask, const REAL *h_prev, \
                       REAL *gates, REAL *h);                                                    \
    void (*cho_update_grad)(ptrdiff_t rows, ptrdiff_t units, const uint8_t *mask,                \
                            const REAL *h_prev, const REAL *dy, REAL *gates, REAL *dh,           \
                            REAL *dbias);                                                        \
    void (*cho_reset_grad)(ptrdiff_t rows, ptrdiff_t units, const REAL *h_prev, const REAL *drh, \
                           REAL *gates, REAL *dh, REAL *dbias);                                  \
    void (*lstm_gates)(ptrdiff_t rows, ptrdiff_t units, const REAL *bias, const uint8_t *mask,   \
                       const REAL *h_prev, const REAL *c_prev, REAL *gates, REAL *h, REAL *c);   \
    void (*lstm_gates_grad)(ptrdiff_t rows, ptrdiff_t units, const uint8_t *mask,                \
                            const REAL *c_prev, const REAL *c, const REAL *dy, REAL *gates,      \
                            REAL *dh, REAL *dc);                                                 \
    void (*simple_gates)(ptrdiff_t rows, ptrdiff_t units, const REAL *bias,                      \
                         const uint8_t *mask, const REAL *h_prev, REAL *gates, REAL *h);         \
    void (*simple_gates_grad)(ptrdiff_t rows, ptrdiff_t units, const uint8_t *mask,              \
                              const REAL *dy, REAL *gates, REAL *dh);                            \
    void (*sigmoid)(ptrdiff_t size, const REAL *x, REAL *y);                                     \
    void (*tanh)(ptrdiff_t size, const REAL *x, REAL *y);                                        \
    void (*sum_rows)(ptrdiff_t rows, ptrdiff_t columns, const REAL *x, ptrdiff_t step,           \
                     REAL *y);                                                                   \
    int (*all_finite)(ptrdiff_t size, const REAL *x);

typedef struct { CGRU_LOOPS(float) } cgru_loops_f32;
typedef struct { CGRU_LOOPS(double) } cgru_loops_f64;

typedef struct {
    const char *name;
    const cgru_loops_f32 *f32;
    const cgru_loops_f64 *f64;
} cgru_level;

#if defined(__x86_64__) && defined(__GNUC__)
#define CGRU_X86_LEVELS 1
#endif

/* Before a loop: no turn of it reads what another one writes: its arrays do not overlap, though two
 * may be one (blend).  (GCC heeds `restrict` on parameters only.) */
#if defined(__clang__)
#define CGRU_PRAGMA(text) _Pragma(#text)
#define VECTOR_LOOP CGRU_PRAGMA(clang loop vectorize(assume_safety))
#define CGRU_BEGIN(features) \
    CGRU_PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define CGRU_END CGRU_PRAGMA(clang attribute pop)
#define CGRU_WIDE ""
#elif defined(__GNUC__)
#define CGRU_PRAGMA(text) _Pragma(#text)
#define VECTOR_LOOP CGRU_PRAGMA(GCC ivdep)
#define CGRU_BEGIN(features) CGRU_PRAGMA(GCC push_options) CGRU_PRAGMA(GCC target(features))
#define CGRU_END CGRU_PRAGMA(GCC pop_options)
#define CGRU_WIDE ",prefer-vector-width=512" /* or GCC keeps to half of what AVX-512 offers */
#else
#error "cgru needs GCC or Clang"
#endif

#define INLINE inline __attribute__((always_inline))
#define UNROLL CGRU_PRAGMA(GCC unroll 32)

#define LEVEL baseline
#define VECTOR_BYTES 16
#include "types.h"
#undef LEVEL
#undef VECTOR_BYTES

#ifdef CGRU_X86_LEVELS
#define CGRU_V3 "avx2,bmi,bmi2,fma" /* what cgru_count_levels asks for */
#define CGRU_V4 CGRU_V3 ",avx512f,avx512bw,avx512cd,avx512dq,avx512vl" CGRU_WIDE

#define LEVEL v3
#define VECTOR_BYTES 32
CGRU_BEGIN(CGRU_V3)
#include "types.h"
CGRU_END
#undef LEVEL
#undef VECTOR_BYTES

#define LEVEL v4
#define VECTOR_BYTES 64
CGRU_BEGIN(CGRU_V4)
#include "types.h"
CGRU_END
#undef LEVEL
#undef VECTOR_BYTES
#endif

/* In ascending order: a CPU that runs one level runs all below it. */
static const cgru_level cgru_levels[] = {
    {"baseline", &loops_f32_baseline, &loops_f64_baseline},
#ifdef CGRU_X86_LEVELS
    {"v3", &loops_f32_v3, &loops_f64_v3},
    {"v4", &loops_f32_v4, &loops_f64_v4},
#endif
};

/* How many of cgru_levels this CPU (and its operating system) runs. */
static int cgru_count_levels(void)
{
#ifdef CGRU_X86_LEVELS
    __builtin_cpu_init();
    if (!(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
          __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2")))
        return 1;
    if (!(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
          __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
          __builtin_cpu_supports("avx512vl")))
        return 2;
    return 3;
#else
    return 1;
#endif
}

/* The level in use, and each loop of that level for float or double. */
static const cgru_level *cgru_active = cgru_levels;

#define CGRU_LOOP(is_double, loop, ...)                     \
    ((is_double) ? cgru_active->f64->loop(__VA_ARGS__)      \
                 : cgru_active->f32->loop(__VA_ARGS__))
#define gru_gates(is_double, ...) CGRU_LOOP(is_double, gru_gates, __VA_ARGS__)
#define gru_gates_grad(is_double, ...) CGRU_LOOP(is_double, gru_gates_grad, __VA_ARGS__)
#define cho_reset(is_double, ...) CGRU_LOOP(is_double, cho_reset, __VA_ARGS__)
#define cho_update(is_double, ...) CGRU_LOOP(is_double, cho_update, __VA_ARGS__)
#define cho_update_grad(is_double, ...) CGRU_LOOP(is_double, cho_update_grad, __VA_ARGS__)
#define cho_reset_grad(is_double, ...) CGRU_LOOP(is_double, cho_reset_grad, __VA_ARGS__)
#define lstm_gates(is_double, ...) CGRU_LOOP(is_double, lstm_gates, __VA_ARGS__)
#define lstm_gates_grad(is_double, ...) CGRU_LOOP(is_double, lstm_gates_grad, __VA_ARGS__)
#define simple_gates(is_double, ...) CGRU_LOOP(is_double, simple_gates, __VA_ARGS__)
#define simple_gates_grad(is_double, ...) CGRU_LOOP(is_double, simple_gates_grad, __VA_ARGS__)
#define sum_rows(is_double, ...) CGRU_LOOP(is_double, sum_rows, __VA_ARGS__)
#define sigmoid_array(is_double, ...) CGRU_LOOP(is_double, sigmoid, __VA_ARGS__)
#define tanh_array(is_double, ...) CGRU_LOOP(is_double, tanh, __VA_ARGS__)
#define finite_array(is_double, ...) CGRU_LOOP(is_double, all_finite, __VA_ARGS__)

/* The jobs of jobs.h, shared among threads. */
#define CGRU_TASK(is_double, task) \
    ((is_double) ? cgru_active->f64->task : cgru_active->f32->task)

static ptrdiff_t cgru_lanes(int is_double)
{
    return cgru_active->f32->vector_bytes / (is_double ? sizeof(double) : sizeof(float));
}

/* The cell with so many gates: 3 are those of the GRU, 4 of the LSTM, 1 of the simple RNN. */
static const cgru_cell *cgru_cell_of(int gate_count, int is_double)
{
    return CGRU_TASK(is_double, cells)[gate_count == 3 ? 0 : gate_count == 4 ? 1 : 2];
}

static void cgru_pack(cgru_sequence *job, int is_double)
{
    cgru_run_sequence(job, (int)cgru_lanes(is_double), cgru_active->f32->tile_rows,
                      cgru_cell_of(job->gate_count, is_double)->pack);
}

static void cgru_forward(cgru_sequence *job, int is_double)
{
    cgru_run_sequence(job, (int)cgru_lanes(is_double), cgru_active->f32->tile_rows,
                      cgru_cell_of(job->gate_count, is_double)->forward);
}

static void cgru_backward(cgru_sequence *job, int is_double)
{
    cgru_run_sequence(job, (int)cgru_lanes(is_double), cgru_active->f32->tile_rows,
                      cgru_cell_of(job->gate_count, is_double)->backward);
}

static void cgru_sgd(cgru_update *job, int is_double)
{
    cgru_run_update(job, CGRU_TASK(is_double, sgd));
}

static void cgru_rmsprop(cgru_update *job, int is_double)
{
    cgru_run_update(job, CGRU_TASK(is_double, rmsprop));
}

static void cgru_adam(cgru_update *job, int is_double)
{
    cgru_run_update(job, CGRU_TASK(is_double, adam));
}

static void cgru_nadam(cgru_update *job, int is_double)
{
    cgru_run_update(job, CGRU_TASK(is_double, nadam));
}

static void cgru_adamax(cgru_update *job, int is_double)
{
    cgru_run_update(job, CGRU_TASK(is_double, adamax));
}

static void cgru_adagrad(cgru_update *job, int is_double)
{
    cgru_run_update(job, CGRU_TASK(is_double, adagrad));
}

static void cgru_adadelta(cgru_update *job, int is_double)
{
    cgru_run_update(job, CGRU_TASK(is_double, adadelta));
}

static void cgru_lion(cgru_update *job, int is_double)
{
    cgru_run_update(job, CGRU_TASK(is_double, lion));
}

static void cgru_blend(cgru_update *job, int is_double)
{
    cgru_run_update(job, CGRU_TASK(is_double, blend));
}

static void cgru_multiply(cgru_product *job, int is_double)
{
    cgru_run_product(job, CGRU_TASK(is_double, product));
}

#endif
