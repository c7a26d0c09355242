/* What the threads of one call are told.  Pointers are to float or double, as the call has it;
 * distances and sizes are in elements. */
#ifndef CGRU_JOBS_H
#define CGRU_JOBS_H

#include <stddef.h>
#include <stdint.h>

/* c [rows, columns] (+)= op(a) op(b) with op(a) [rows, inner]; `step` is from row to row in memory,
 * `turn` says that the matrix in memory is the transpose. */
typedef struct {
    ptrdiff_t rows, columns, inner;
    int turn_a, turn_b, add;
    const void *a, *b;
    void *c;
    ptrdiff_t a_step, b_step, c_step;
} cgru_product;

/* A sequence through a recurrent cell; packed.h says how packed weights and gates are laid out. */
typedef struct {
    int gate_count;   /* columns of the weights for each unit; tells the cell, see cgru_cell_of */
    ptrdiff_t steps, batch, inputs, units;
    int reverse;      /* walk the time axis from its end */
    int ring;         /* h has two states, used in turn, instead of steps + 1 */
    int keep;         /* keep the gates of all steps for the backward pass */
    int from_zero;    /* the first state is 0 */
    int turned;       /* pack for the backward pass */
    int start_grad;   /* the gradient of the first state is wanted */
    int groups;       /* of threads; each has its own sequences */
    const void *x;    /* [b][t][inputs], with the distances */
    ptrdiff_t x_row, x_step;
    const uint8_t *mask; /* [b][t], or NULL */
    ptrdiff_t mask_row, mask_step;
    /* With a mask: where the rows of each step begin, the sequence of each row, and how many rows
     * the sequences before each one have; see rows.h. */
    const ptrdiff_t *first_row, *row_sequence, *rows_before;
    const void *kernel, *recurrent_kernel, *bias; /* bias may be NULL */
    void *packed;
    void *h, *c;      /* [steps + 1 or 2][batch][units]; c of the LSTM alone */
    const void *drop; /* [batch][units], factors on the states for the products, or NULL */
    void *read;       /* like h: what the products read of it; h itself without `drop` */
    void *gates;
    ptrdiff_t chunk;  /* steps whose input projection is made together */
    ptrdiff_t gate_steps; /* of which gates has room: all, or a chunk */
    const void *dy;   /* [b][t][units], with the distances, or NULL */
    ptrdiff_t dy_row, dy_step;
    void *dh, *dc;    /* [batch][units] */
    void *carry, *carry_c; /* [batch][carry_row], scratch */
    void *dread;      /* the same, with `drop` only */
    ptrdiff_t carry_row;
    void *dx;         /* [t][b][inputs], or NULL */
    void *dkernel, *drecurrent_kernel, *dbias; /* all may be NULL, or dbias alone */
} cgru_sequence;

/* The kernels of a cell. */
typedef struct {
    int gate_count, bias_rows;
    int kept;         /* numbers in the gates for each unit, step and sequence */
    ptrdiff_t (*packed_size)(const cgru_sequence *job), (*gates_size)(const cgru_sequence *job);
    void (*pack)(void *job, int thread, int threads), (*forward)(void *job, int thread, int threads),
        (*backward)(void *job, int thread, int threads);
} cgru_cell;

/* One step of an optimizer over a parameter vector; elementwise.h says what the numbers and slots
 * of each are. */
typedef struct {
    ptrdiff_t size;
    void *theta;
    const void *grad;
    void *slots[3];
    double numbers[5];
} cgru_update;

#endif
