/* The GRU (reset_after=True) as a cell of packed.h.  Included once for each element type and level.
 *
 *     vector of a block    0            1           2           3
 *     projection           x W_n        x W_z       x W_r       c_n        with the biases
 *     after forward        n            z           r           h U_n + c_n
 *     after backward       dn           dz          dr          r * dn
 *
 * So a step's product reads and adds to vectors 1-3, the input's gradients use 0-2, and every tile
 * reads and writes whole contiguous lines.
 */
#define KIND gru
#define GATES 3
#define SPAN 1
#define KEPT 4
#define STATES 1
#define BIAS_ROWS 2
#define INPUT_ORDER {2, 0, 1} /* n, z, r */
#define STATE_ORDER {0, 1, 2} /* z, r, n */

static INLINE void NAME(gru_cell)(const int ways, VEC (*gates)[WAYS], const VEC *h, const VEC *c,
                                  VEC *h_new, VEC *c_new)
{
    VEC *n = gates[0], *z = gates[1], *r = gates[2], *u = gates[3];
    /* [update gate] */
    NAME(sigmoid)(ways, z);
    /* [reset gate] */
    NAME(sigmoid)(ways, r);
    /* [current memory content] */
    EACH(i) n[i] = n[i] + r[i] * u[i];
    NAME(tanh)(ways, n);
    /* [final memory] */
    EACH(i) {
        const VEC change = h[i] - n[i];
        h_new[i] = n[i] + z[i] * change; /* = z h + (1 - z) n */
    }
    /* [end] */
}

static INLINE VEC NAME(gru_cell_grad)(VEC *gates, VEC h, VEC h_new, VEC c, VEC c_new, VEC d,
                                      VEC *dc)
{
    const VEC n = gates[0], z = gates[1], r = gates[2], u = gates[3];
    const VEC past = d * z;
    const VEC into = d - past;
    const VEC dn = into * (1 - n * n);
    const VEC dz = (h - n) * past * (1 - z);
    const VEC du = dn * r;
    const VEC dr = du * u * (1 - r);
    gates[0] = dn;
    gates[1] = dz;
    gates[2] = dr;
    gates[3] = du;
    return past;
}

#include "packed.h"
