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

/* A sequence through the packed GRU; packed_gru.h says how packed weights and gates are laid out. */
typedef struct {
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
    const void *kernel, *recurrent_kernel, *bias; /* bias may be NULL */
    void *packed;
    void *h;          /* [steps + 1 or 2][batch][units] */
    const void *drop; /* [batch][units], factors on the states for the products, or NULL */
    void *read;       /* like h: what the products read of it; h itself without `drop` */
    void *gates;
    ptrdiff_t chunk;  /* steps whose input projection is made together */
    ptrdiff_t gate_steps; /* of which gates has room: all, or a chunk */
    const void *dy;   /* [b][t][units], with the distances, or NULL */
    ptrdiff_t dy_row, dy_step;
    void *dh;         /* [batch][units] */
    void *carry;      /* [batch][carry_row], scratch */
    void *dread;      /* the same, with `drop` only */
    ptrdiff_t carry_row;
    void *dx;         /* [t][b][inputs], or NULL */
    void *dkernel, *drecurrent_kernel, *dbias; /* all may be NULL, or dbias alone */
} cgru_gru;

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
