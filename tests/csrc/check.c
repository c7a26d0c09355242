/* The C part on its own, without Python: for machines that are reached by cross-compiling only.
 *
 * Compares the packed cells, the products and the activations of every instruction level with plain
 * loops in long double, on one thread and on three.  Prints what fails; exits with 1 if anything
 * does.
 */
#include <complex.h> /* as NumPy's headers do, which must do no harm */
#include <stdio.h>
#include <stdlib.h>

#include "levels.h"

typedef long double exact;

static int failures;

static void expect(int holds, const char *what, const char *level, double found)
{
    if (!holds) {
        printf("%s at level %s: %g\n", what, level, found);
        ++failures;
    }
}

static double uniform(void) /* -1 .. 1, the same on every machine */
{
    static uint64_t state = 20140603;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (double)(state >> 11) / 4503599627370496.0 - 1;
}

static exact squash(exact x) { return 1 / (1 + expl(-x)); }

/* Storage in either type; `d` says which. */
static void *numbers(size_t count, int d) { return aligned_alloc(64, (count * (d ? 8 : 4) + 127) / 64 * 64); }
static void put(void *to, size_t i, int d, double x)
{
    if (d)
        ((double *)to)[i] = x;
    else
        ((float *)to)[i] = (float)x;
}
static double get(const void *from, size_t i, int d)
{
    return d ? ((const double *)from)[i] : ((const float *)from)[i];
}
static void *draw(size_t count, int d, double scale)
{
    void *to = numbers(count, d);
    for (size_t i = 0; i < count; ++i)
        put(to, i, d, scale * uniform());
    return to;
}
static void *zeros(size_t count, int d)
{
    void *to = numbers(count, d);
    for (size_t i = 0; i < count; ++i)
        put(to, i, d, 0);
    return to;
}

/* The new h of a unit from what its gates are of inputs and states; c is changed in place. */
static exact cell(int gates, const exact *in, const exact *state, exact h, exact *c)
{
    if (gates == 3) {
        const exact z = squash(in[0] + state[0]), r = squash(in[1] + state[1]);
        return z * h + (1 - z) * tanhl(in[2] + r * state[2]);
    }
    if (gates == 1)
        return tanhl(in[0] + state[0]);
    *c = squash(in[1] + state[1]) * *c + squash(in[0] + state[0]) * tanhl(in[2] + state[2]);
    return squash(in[3] + state[3]) * tanhl(*c);
}

/* Where a sequence starts, and what its gates read; all NULL: from 0, and all of it. */
typedef struct {
    const void *h, *c, *drop;
} beginning;

/* The loss  sum dlast * h_T  by plain loops: what the kernel's gradients are differences of. */
static exact reference(const cgru_sequence *job, const beginning *begin, const void *bias,
                       const void *dlast, int d, const void *moved, size_t place, exact by,
                       exact *last)
{
    const ptrdiff_t T = job->steps, B = job->batch, I = job->inputs, H = job->units;
    const int G = job->gate_count;
    exact loss = 0;
#define READ(array, index) \
    ((exact)get(array, (size_t)(index), d) + ((array) == moved && (size_t)(index) == place ? by : 0))
    for (ptrdiff_t b = 0; b < B; ++b) {
        exact h[64] = {0}, c[64] = {0}, next[64];
        for (ptrdiff_t j = 0; begin->h && j < H; ++j) {
            h[j] = READ(begin->h, b * H + j);
            c[j] = READ(begin->c, b * H + j);
        }
        for (ptrdiff_t s = 0; s < T; ++s) {
            const ptrdiff_t t = job->reverse ? T - 1 - s : s;
            if (job->mask && !job->mask[b * T + t])
                continue;
            for (ptrdiff_t j = 0; j < H; ++j) {
                exact in[4], state[4];
                for (int g = 0; g < G; ++g) {
                    const ptrdiff_t column = g * H + j;
                    in[g] = READ(bias, column);
                    state[g] = G == 3 ? READ(bias, 3 * H + column) : 0;
                    for (ptrdiff_t k = 0; k < I; ++k)
                        in[g] += READ(job->x, (b * T + t) * I + k)
                                 * READ(job->kernel, k * G * H + column);
                    for (ptrdiff_t k = 0; k < H; ++k)
                        state[g] += h[k] * (begin->drop ? get(begin->drop, b * H + k, d) : 1)
                                    * READ(job->recurrent_kernel, k * G * H + column);
                }
                next[j] = cell(G, in, state, h[j], &c[j]);
            }
            memcpy(h, next, sizeof h);
        }
        for (ptrdiff_t j = 0; j < H; ++j) {
            last[b * H + j] = h[j];
            loss += h[j] * get(dlast, b * H + j, d);
        }
    }
    return loss;
}

/* Room for so many states, of which the one at `first` is where a sequence starts. */
static void *states(ptrdiff_t count, ptrdiff_t size, ptrdiff_t first, const void *start,
                    const void *drop, int d)
{
    void *to = zeros(count * size, d);
    for (ptrdiff_t i = 0; start && i < size; ++i)
        put(to, first * size + i, d, get(start, i, d) * (drop ? get(drop, i, d) : 1));
    return to;
}

static void run_forward(cgru_sequence *job, const beginning *begin, int d)
{
    const cgru_cell *kernels = cgru_cell_of(job->gate_count, d);
    const ptrdiff_t count = job->ring ? 2 : job->steps + 1, size = job->batch * job->units;
    const ptrdiff_t first = job->reverse && !job->ring ? job->steps : 0;
    job->h = job->read = states(count, size, first, begin->h, NULL, d);
    job->c = states(count, size, first, begin->c, NULL, d);
    if (begin->drop)
        job->read = states(count, size, first, begin->h, begin->drop, d);
    job->gate_steps = job->keep ? job->steps : job->chunk;
    job->gates = zeros(kernels->gates_size(job), d);
    cgru_forward(job, d);
}

static void check_last(const char *level, int d, const cgru_sequence *job, const exact *last)
{
    const ptrdiff_t size = job->batch * job->units;
    const ptrdiff_t end = job->ring ? job->steps % 2 : job->reverse ? 0 : job->steps;
    for (ptrdiff_t i = 0; i < size; ++i) {
        const double off = fabs(get(job->h, end * size + i, d) - (double)last[i]);
        expect(off <= (d ? 1e-13 : 2e-6), "a forward pass is off", level, off);
    }
}

enum { MASKED = 1, REVERSE = 2, STARTED = 4 /* from a state, of which the gates read a part */ };

static void check_cell(const char *level, int d, int threads, int G, int how, ptrdiff_t B,
                       ptrdiff_t T, ptrdiff_t I, ptrdiff_t H)
{
    const ptrdiff_t lanes = cgru_lanes(d), biases = (G == 3 ? 2 : 1) * G * H;
    const cgru_cell *kernels = cgru_cell_of(G, d);
    exact *last = malloc(B * H * sizeof(exact)), *unused = malloc(B * H * sizeof(exact));
    void *bias = draw(biases, d, 0.5), *dlast = draw(B * H, d, 1);
    beginning begin = {0};
    cgru_sequence job = {.gate_count = G, .steps = T, .batch = B, .inputs = I, .units = H,
                    .from_zero = !(how & STARTED), .reverse = (how & REVERSE) != 0,
                    .x = draw(B * T * I, d, 1), .x_row = T * I, .x_step = I,
                    .kernel = draw(I * G * H, d, 1.5 / sqrt((double)I)),
                    .recurrent_kernel = draw(H * G * H, d, 0.4), .bias = bias,
                    .chunk = T < 2 ? T : 2};
    uint8_t *mask = malloc(B * T);
    for (ptrdiff_t i = 0; i < B * T; ++i)
        mask[i] = uniform() < 0.2;
    if (how & MASKED) {
        job.mask = mask;
        job.mask_row = T;
        job.mask_step = 1;
        cgru_list_rows(&job, malloc(cgru_rows_size(&job) * sizeof(ptrdiff_t)));
    }
    if (how & STARTED) {
        begin.h = draw(B * H, d, 0.5);
        begin.c = draw(B * H, d, 0.5);
        job.drop = begin.drop = draw(B * H, d, 2);
        for (ptrdiff_t i = 0; i < B * H; i += 3)
            put((void *)begin.drop, i, d, 0);
    }
    cgru_thread_limit = threads;
    job.packed = zeros(kernels->packed_size(&job), d);
    cgru_pack(&job, d);
    reference(&job, &begin, bias, dlast, d, NULL, 0, 0, last);
    job.ring = 1;
    run_forward(&job, &begin, d);
    check_last(level, d, &job, last);
    job.ring = 0;
    job.keep = 1;
    run_forward(&job, &begin, d);
    check_last(level, d, &job, last);

    job.turned = 1;
    job.start_grad = (how & STARTED) != 0;
    job.dh = states(1, B * H, 0, dlast, NULL, d);
    job.dc = zeros(B * H, d);
    job.dx = zeros(T * B * I, d);
    job.dkernel = zeros(I * G * H, d);
    job.drecurrent_kernel = zeros(H * G * H, d);
    job.dbias = zeros(biases, d);
    job.carry_row = (H + 2 * lanes - 1) / (2 * lanes) * 2 * lanes;
    job.carry = zeros(B * job.carry_row, d);
    job.carry_c = zeros(B * job.carry_row, d);
    job.dread = zeros(B * job.carry_row, d);
    job.packed = zeros(kernels->packed_size(&job), d);
    cgru_pack(&job, d);
    cgru_backward(&job, d);
    void *dx = zeros(B * T * I, d); /* in the order of x */
    for (ptrdiff_t b = 0; b < B; ++b)
        for (ptrdiff_t t = 0; t < T; ++t)
            for (ptrdiff_t k = 0; k < I; ++k)
                put(dx, (b * T + t) * I + k, d, get(job.dx, (t * B + b) * I + k, d));
    const struct { const char *what; const void *of, *grad; ptrdiff_t size; } all[] = {
        {"the gradient of a kernel is off", job.kernel, job.dkernel, I * G * H},
        {"that of a recurrent kernel is off", job.recurrent_kernel, job.drecurrent_kernel,
         H * G * H},
        {"that of a bias is off", bias, job.dbias, biases},
        {"that of the inputs is off", job.x, dx, B * T * I},
        {"that of the first state is off", begin.h, job.dh, begin.h ? B * H : 0},
        {"that of the first cell is off", begin.c, job.dc, begin.c && G == 4 ? B * H : 0},
    };
    for (int a = 0; a < 6; ++a)
        for (ptrdiff_t i = 0; i < all[a].size; i += 1 + all[a].size / 4) {
            const exact step = 1e-5L;
            const exact up = reference(&job, &begin, bias, dlast, d, all[a].of, i, step, unused);
            const exact down = reference(&job, &begin, bias, dlast, d, all[a].of, i, -step, unused);
            const double off = fabs(get(all[a].grad, i, d) - (double)((up - down) / (2 * step)));
            expect(off <= (d ? 1.5e-8 : 1e-4), all[a].what, level, off);
        }
}

static void check_product(const char *level, int d, ptrdiff_t N)
{
    const ptrdiff_t M = 13, K = 300;
    for (int turned = 0; turned < 4; ++turned) {
        cgru_product job = {.rows = M, .columns = N, .inner = K, .turn_a = turned & 1,
                            .turn_b = turned >> 1, .a = draw(M * K, d, 1), .b = draw(N * K, d, 1),
                            .c = zeros(M * N, d), .a_step = turned & 1 ? M : K,
                            .b_step = turned >> 1 ? K : N, .c_step = N};
        cgru_multiply(&job, d);
        for (ptrdiff_t i = 0; i < M; ++i)
            for (ptrdiff_t j = 0; j < N; ++j) {
                exact sum = 0;
                for (ptrdiff_t k = 0; k < K; ++k)
                    sum += (exact)get(job.a, job.turn_a ? k * M + i : i * K + k, d)
                           * get(job.b, job.turn_b ? j * K + k : k * N + j, d);
                const double off = fabs(get(job.c, i * N + j, d) - (double)sum);
                expect(off <= (d ? 1e-13 : 1e-4), "product is off", level, off);
            }
    }
}

static void check_activations(const char *level, int d)
{
    enum { COUNT = 20001 };
    void *x = numbers(COUNT, d), *y = numbers(COUNT, d);
    for (int tanh_too = 0; tanh_too < 2; ++tanh_too) {
        for (int i = 0; i < COUNT; ++i)
            put(x, i, d, (i - 10000) * (i % 2 ? 0.004 : 1e-7));
        if (tanh_too)
            tanh_array(d, COUNT, x, y);
        else
            sigmoid_array(d, COUNT, x, y);
        for (int i = 0; i < COUNT; ++i) {
            const exact at = get(x, i, d), wanted = tanh_too ? tanhl(at) : squash(at);
            const double ulp = d ? nextafter(fabs((double)wanted), 2) - fabs((double)wanted)
                                 : nextafterf(fabsf((float)wanted), 2) - fabsf((float)wanted);
            const double off = fabs((double)(get(y, i, d) - wanted)) / ulp;
            expect(off <= 4, tanh_too ? "tanh is off (ulp)" : "sigmoid is off (ulp)", level, off);
        }
    }
}

static void check_mode(void)
{
    volatile float tiny = 1e-38f;
    const __auto_type mode = cgru_flush_subnormals();
    const float flushed = tiny * 0.25f;
    cgru_restore_mode(mode);
    const float kept = tiny * 0.25f;
#if defined(__x86_64__) || defined(__aarch64__)
    expect(flushed == 0, "subnormals are kept", "-", flushed);
#endif
    expect(kept > 0, "the floating-point mode is not restored", "-", kept);
}

int main(void)
{
    cgru_launch_cost = 0;
    for (int i = 0; i < cgru_count_levels(); ++i)
        for (int d = 0; d < 2; ++d) {
            cgru_active = &cgru_levels[i];
            for (int masked = 0; masked <= 1; ++masked)
                for (int gates = 1; gates <= 4; gates += gates == 1 ? 2 : 1)
                    for (int threads = 1; threads <= 3; threads += 2) {
                        check_cell(cgru_active->name, d, threads, gates, masked, 1, 4, 3, 40);
                        check_cell(cgru_active->name, d, threads, gates, masked, 19, 3, 5, 17);
                        check_cell(cgru_active->name, d, threads, gates, masked, 3, 1, 33, 9);
                        /* Weights that are more than the L1 cache holds. */
                        check_cell(cgru_active->name, d, threads, gates, masked, 5, 2, 1030, 3);
                        for (int how = masked + REVERSE; how < 8; how += 2)
                            check_cell(cgru_active->name, d, threads, gates, how, 6, 5, 3, 17);
                    }
            check_product(cgru_active->name, d, 37);
            check_product(cgru_active->name, d, 1);
            check_activations(cgru_active->name, d);
        }
    check_mode();
    printf("%d levels, %d failures\n", cgru_count_levels(), failures);
    return failures > 0;
}
