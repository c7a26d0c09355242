/* The simple RNN as a cell of packed.h.  Included once for each element type and level.
 *
 * It has a single gate, so that a block has two vectors of units for its tiles to be as wide as the
 * others'.  After the backward pass they are the gradients; what the forward pass leaves there is
 * of no use, since the value of the gate is the new state.
 */
#define KIND simple
#define GATES 1
#define SPAN 2
#define KEPT 2
#define STATES 1
#define BIAS_ROWS 1
#define INPUT_ORDER {0}
#define STATE_ORDER INPUT_ORDER

static INLINE void NAME(simple_cell)(const int ways, VEC (*gates)[WAYS], const VEC *h,
                                     const VEC *c, VEC *h_new, VEC *c_new)
{
    EACH(i) h_new[i] = gates[0][i];
    NAME(tanh)(ways, h_new);
}

static INLINE VEC NAME(simple_cell_grad)(VEC *gates, VEC h, VEC h_new, VEC c, VEC c_new, VEC d,
                                         VEC *dc)
{
    gates[0] = d * (1 - h_new * h_new);
    return SPLAT(0);
}

#include "packed.h"
