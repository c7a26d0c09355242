/* The gate loops of the LSTM, the simple RNN and the plain GRU, whose products are separate calls.
 * Included once for each element type and level; see types.h.
 *
 * Layout of the GRU's `gates`, one row of four blocks of `units` per time step and sequence.  It
 * holds first the input projection, then the gate values, then (in the backward pass) their
 * gradients, so that one buffer serves them all:
 *
 *     block           0            1           2           3
 *     on entry        -            x W_z       x W_r       x W_n
 *     after forward   n            z           r           h U_n + c_n   (Cho: r * h_prev)
 *     after backward  dn           dz          dr          r * dn        (Cho: r * h_prev)
 *
 * Blocks 1-3 have the order of the recurrent kernel's columns, so each of the products with it is
 * one call.  Gradients are those of the values before the activation.
 */
#define EACH_VECTOR(j, count, units)                                                    \
    for (ptrdiff_t j = 0, count = (units); j < (units); j += LANES, count -= LANES)
#define AT(row) NAME(load_some)((row) + j, count)
#define PUT(row, value) NAME(store_some)((row) + j, value, count)

/* The start of a row's backward pass.  The loss's own gradient at this step's output joins what
 * comes back from later steps; a masked step passes that on and has no gradients itself. */
static INLINE int NAME(begin_row_grad)(ptrdiff_t units, int blocks, int kept, const REAL *dy,
                                       REAL *gates, REAL *dh)
{
    if (dy)
        EACH_VECTOR(j, count, units)
            PUT(dh, AT(dh) + AT(dy));
    if (!kept)
        memset(gates, 0, blocks * units * sizeof(REAL));
    return kept;
}

/* ---- GRU, reset_after=True ---------------------------------------------------------------- */

/* One step of `rows` sequences.  bias [2][3 units] (input row, recurrent row); mask [rows] or NULL:
 * where it is 0 the state stays as it was; hu [rows][3 units] = h_prev U; h_prev, h [rows][units];
 * gates [rows][4 units], see above. */
static void NAME(gru_gates)(ptrdiff_t rows, ptrdiff_t units, const REAL *bias, const uint8_t *mask,
                            const REAL *hu, const REAL *h_prev, REAL *gates, REAL *h)
{
    const REAL *b_z = bias, *c_z = bias + 3 * units;
    const REAL *b_r = b_z + units, *c_r = c_z + units;
    const REAL *b_n = b_r + units, *c_n = c_r + units;
    for (ptrdiff_t i = 0; i < rows; ++i) {
        const REAL *hu_z = hu + 3 * units * i;
        const REAL *hu_r = hu_z + units, *hu_n = hu_r + units;
        const REAL *old = h_prev + units * i;
        REAL *gate_n = gates + 4 * units * i, *gate_z = gate_n + units;
        REAL *gate_r = gate_z + units, *gate_u = gate_r + units;
        REAL *new = h + units * i;
        if (mask && !mask[i]) {
            memcpy(new, old, units * sizeof(REAL));
            continue;
        }
        EACH_VECTOR(j, count, units) {
            VEC all[][WAYS] = {{AT(gate_u) + AT(b_n)},
                               {AT(gate_z) + AT(b_z) + AT(hu_z) + AT(c_z)},
                               {AT(gate_r) + AT(b_r) + AT(hu_r) + AT(c_r)},
                               {AT(hu_n) + AT(c_n)}};
            const VEC h_old = AT(old);
            VEC h_new;
            NAME(gru_cell)(1, all, &h_old, NULL, &h_new, NULL);
            PUT(new, h_new);
            PUT(gate_n, all[0][0]);
            PUT(gate_z, all[1][0]);
            PUT(gate_r, all[2][0]);
            PUT(gate_u, all[3][0]);
        }
    }
}

/* The step's backward pass up to the product with U.  dy [rows][units] or NULL: what the loss adds
 * at this step's output; dh [rows][units]: on entry the gradient that comes back from the later
 * steps, on exit what reaches h_prev past the gates; gates: values in, gradients out;
 * dbias [4 units]: sums over the rows, in the order of the blocks, are added. */
static void NAME(gru_gates_grad)(ptrdiff_t rows, ptrdiff_t units, const uint8_t *mask,
                                 const REAL *h_prev, const REAL *dy, REAL *gates, REAL *dh,
                                 REAL *dbias)
{
    REAL *sum_n = dbias, *sum_z = sum_n + units;
    REAL *sum_r = sum_z + units, *sum_u = sum_r + units;
    for (ptrdiff_t i = 0; i < rows; ++i) {
        const REAL *old = h_prev + units * i;
        REAL *gate_n = gates + 4 * units * i, *gate_z = gate_n + units;
        REAL *gate_r = gate_z + units, *gate_u = gate_r + units;
        REAL *carry = dh + units * i;
        if (!NAME(begin_row_grad)(units, 4, !mask || mask[i], dy ? dy + units * i : NULL,
                                  gate_n, carry))
            continue;
        EACH_VECTOR(j, count, units) {
            const VEC none = {0};
            VEC all[] = {AT(gate_n), AT(gate_z), AT(gate_r), AT(gate_u)};
            PUT(carry, NAME(gru_cell_grad)(all, AT(old), none, none, none, AT(carry), NULL));
            PUT(gate_n, all[0]);
            PUT(gate_z, all[1]);
            PUT(gate_r, all[2]);
            PUT(gate_u, all[3]);
            PUT(sum_n, AT(sum_n) + all[0]);
            PUT(sum_z, AT(sum_z) + all[1]);
            PUT(sum_r, AT(sum_r) + all[2]);
            PUT(sum_u, AT(sum_u) + all[3]);
        }
    }
}

/* ---- GRU, reset_after=False (Cho et al. 2014) --------------------------------------------- */

/* First half of a step, before the product of r * h_prev with U_n.  On entry blocks 1 and 2 of
 * gates hold x W + h_prev U; bias [3 units]. */
static void NAME(cho_reset)(ptrdiff_t rows, ptrdiff_t units, const REAL *bias, const REAL *h_prev,
                            REAL *gates)
{
    const REAL *b_z = bias, *b_r = b_z + units, *b_n = b_r + units;
    for (ptrdiff_t i = 0; i < rows; ++i) {
        const REAL *old = h_prev + units * i;
        REAL *gate_n = gates + 4 * units * i, *gate_z = gate_n + units;
        REAL *gate_r = gate_z + units, *gate_u = gate_r + units;
        EACH_VECTOR(j, count, units) {
            VEC gate[] = {AT(gate_r) + AT(b_r), AT(gate_z) + AT(b_z)};
            NAME(sigmoid)(2, gate);
            PUT(gate_r, gate[0]);
            PUT(gate_z, gate[1]);
            PUT(gate_n, AT(gate_u) + AT(b_n));
            PUT(gate_u, gate[0] * AT(old));
        }
    }
}

/* Second half: on entry block 0 holds x W_n + b_n + (r * h_prev) U_n. */
static void NAME(cho_update)(ptrdiff_t rows, ptrdiff_t units, const uint8_t *mask,
                             const REAL *h_prev, REAL *gates, REAL *h)
{
    for (ptrdiff_t i = 0; i < rows; ++i) {
        const REAL *old = h_prev + units * i;
        REAL *gate_n = gates + 4 * units * i;
        const REAL *gate_z = gate_n + units;
        REAL *new = h + units * i;
        if (mask && !mask[i]) {
            memcpy(new, old, units * sizeof(REAL));
            continue;
        }
        EACH_VECTOR(j, count, units) {
            VEC n = AT(gate_n);
            NAME(tanh)(1, &n);
            const VEC change = AT(old) - n;
            PUT(new, n + AT(gate_z) * change);
            PUT(gate_n, n);
        }
    }
}

/* Backward of the second half; arguments as in gru_gates_grad.  A masked row leaves r = 0 behind,
 * with which cho_reset_grad adds nothing. */
static void NAME(cho_update_grad)(ptrdiff_t rows, ptrdiff_t units, const uint8_t *mask,
                                  const REAL *h_prev, const REAL *dy, REAL *gates, REAL *dh,
                                  REAL *dbias)
{
    REAL *sum_n = dbias, *sum_z = sum_n + units;
    for (ptrdiff_t i = 0; i < rows; ++i) {
        const REAL *old = h_prev + units * i;
        REAL *gate_n = gates + 4 * units * i, *gate_z = gate_n + units;
        REAL *carry = dh + units * i;
        if (!NAME(begin_row_grad)(units, 4, !mask || mask[i], dy ? dy + units * i : NULL,
                                  gate_n, carry))
            continue;
        EACH_VECTOR(j, count, units) {
            const VEC n = AT(gate_n), z = AT(gate_z), d = AT(carry);
            const VEC dn = d * (1 - z) * (1 - n * n);
            const VEC dz = d * (AT(old) - n) * z * (1 - z);
            PUT(carry, d * z);
            PUT(gate_n, dn);
            PUT(gate_z, dz);
            PUT(sum_n, AT(sum_n) + dn);
            PUT(sum_z, AT(sum_z) + dz);
        }
    }
}

/* Backward of the first half; drh [rows][units] = dn U_n', the gradient of r * h_prev. */
static void NAME(cho_reset_grad)(ptrdiff_t rows, ptrdiff_t units, const REAL *h_prev,
                                 const REAL *drh, REAL *gates, REAL *dh, REAL *dbias)
{
    REAL *sum_r = dbias + 2 * units;
    for (ptrdiff_t i = 0; i < rows; ++i) {
        const REAL *old = h_prev + units * i, *drh_row = drh + units * i;
        REAL *gate_r = gates + 4 * units * i + 2 * units, *carry = dh + units * i;
        EACH_VECTOR(j, count, units) {
            const VEC r = AT(gate_r), d = AT(drh_row);
            const VEC dr = d * AT(old) * r * (1 - r);
            PUT(carry, AT(carry) + d * r);
            PUT(gate_r, dr);
            PUT(sum_r, AT(sum_r) + dr);
        }
    }
}

/* ---- LSTM --------------------------------------------------------------------------------- */

/* One step of `rows` sequences.  gates [rows][4 units]: on entry x W + h_prev U, on exit the gate
 * values i, f, g, o (g is the candidate for the cell); bias [4 units]; mask [rows] or NULL: where
 * it is 0 the states stay as they were; h_prev, c_prev, h, c [rows][units]. */
static void NAME(lstm_gates)(ptrdiff_t rows, ptrdiff_t units, const REAL *bias,
                             const uint8_t *mask, const REAL *h_prev, const REAL *c_prev,
                             REAL *gates, REAL *h, REAL *c)
{
    const REAL *b_i = bias, *b_f = b_i + units, *b_g = b_f + units, *b_o = b_g + units;
    for (ptrdiff_t row = 0; row < rows; ++row) {
        REAL *gate_i = gates + 4 * units * row, *gate_f = gate_i + units;
        REAL *gate_g = gate_f + units, *gate_o = gate_g + units;
        const REAL *old_c = c_prev + units * row;
        REAL *new_h = h + units * row, *new_c = c + units * row;
        if (mask && !mask[row]) {
            memcpy(new_h, h_prev + units * row, units * sizeof(REAL));
            memcpy(new_c, old_c, units * sizeof(REAL));
            continue;
        }
        EACH_VECTOR(j, count, units) {
            VEC all[][WAYS] = {{AT(gate_i) + AT(b_i)}, {AT(gate_f) + AT(b_f)},
                               {AT(gate_g) + AT(b_g)}, {AT(gate_o) + AT(b_o)}};
            const VEC c_old = AT(old_c);
            VEC h_new, c_new;
            NAME(lstm_cell)(1, all, NULL, &c_old, &h_new, &c_new);
            PUT(new_h, h_new);
            PUT(new_c, c_new);
            PUT(gate_i, all[0][0]);
            PUT(gate_f, all[1][0]);
            PUT(gate_g, all[2][0]);
            PUT(gate_o, all[3][0]);
        }
    }
}

/* The step's backward pass up to the product with U.  dy and mask as in gru_gates_grad; c: the cell
 * after the step; dh, dc [rows][units]: on entry what comes back from the later steps, on exit what
 * reaches h_prev and c_prev past the product; gates: values in, gradients out. */
static void NAME(lstm_gates_grad)(ptrdiff_t rows, ptrdiff_t units, const uint8_t *mask,
                                  const REAL *c_prev, const REAL *c, const REAL *dy, REAL *gates,
                                  REAL *dh, REAL *dc)
{
    for (ptrdiff_t row = 0; row < rows; ++row) {
        REAL *gate_i = gates + 4 * units * row, *gate_f = gate_i + units;
        REAL *gate_g = gate_f + units, *gate_o = gate_g + units;
        const REAL *old_c = c_prev + units * row, *new_c = c + units * row;
        REAL *carry = dh + units * row, *carry_c = dc + units * row;
        if (!NAME(begin_row_grad)(units, 4, !mask || mask[row], dy ? dy + units * row : NULL,
                                  gate_i, carry))
            continue;
        EACH_VECTOR(j, count, units) {
            const VEC none = {0};
            VEC all[] = {AT(gate_i), AT(gate_f), AT(gate_g), AT(gate_o)}, d_cell = AT(carry_c);
            PUT(carry, NAME(lstm_cell_grad)(all, none, none, AT(old_c), AT(new_c), AT(carry),
                                            &d_cell));
            PUT(carry_c, d_cell);
            PUT(gate_i, all[0]);
            PUT(gate_f, all[1]);
            PUT(gate_g, all[2]);
            PUT(gate_o, all[3]);
        }
    }
}

/* ---- Simple RNN --------------------------------------------------------------------------- */

/* One step: as lstm_gates, with gates [rows][units]: on exit the new state where not masked. */
static void NAME(simple_gates)(ptrdiff_t rows, ptrdiff_t units, const REAL *bias,
                               const uint8_t *mask, const REAL *h_prev, REAL *gates, REAL *h)
{
    for (ptrdiff_t row = 0; row < rows; ++row) {
        REAL *gate = gates + units * row, *new = h + units * row;
        if (mask && !mask[row]) {
            memcpy(new, h_prev + units * row, units * sizeof(REAL));
            continue;
        }
        EACH_VECTOR(j, count, units) {
            VEC all[][WAYS] = {{AT(gate) + AT(bias)}}, value;
            NAME(simple_cell)(1, all, NULL, NULL, &value, NULL);
            PUT(gate, value);
            PUT(new, value);
        }
    }
}

static void NAME(simple_gates_grad)(ptrdiff_t rows, ptrdiff_t units, const uint8_t *mask,
                                    const REAL *dy, REAL *gates, REAL *dh)
{
    for (ptrdiff_t row = 0; row < rows; ++row) {
        REAL *gate = gates + units * row, *carry = dh + units * row;
        if (!NAME(begin_row_grad)(units, 1, !mask || mask[row], dy ? dy + units * row : NULL,
                                  gate, carry))
            continue;
        EACH_VECTOR(j, count, units) {
            const VEC none = {0};
            VEC value;
            PUT(carry, NAME(simple_cell_grad)(&value, none, AT(gate), none, none, AT(carry), NULL));
            PUT(gate, value);
        }
    }
}
