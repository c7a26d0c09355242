/* The LSTM as a cell of packed.h.  Included once for each element type and level.
 *
 *     vector of a block    0            1           2           3
 *     after forward        i            f           g           o          (g: the candidate)
 *     after backward       di           df          dg          do
 *
 * The hyperbolic tangent of c is made again on the way back: that takes less time than to keep and
 * to read one number more for each unit, step and sequence would take memory.
 */
#define KIND lstm
#define GATES 4
#define SPAN 1
#define KEPT 4
#define STATES 2
#define BIAS_ROWS 1
#define INPUT_ORDER {0, 1, 2, 3}
#define STATE_ORDER INPUT_ORDER

static INLINE void NAME(lstm_cell)(const int ways, VEC (*gates)[WAYS], const VEC *h, const VEC *c,
                                   VEC *h_new, VEC *c_new)
{
    VEC *i = gates[0], *f = gates[1], *g = gates[2], *o = gates[3], shown[WAYS];
    NAME(sigmoid)(ways, i);
    NAME(sigmoid)(ways, f);
    NAME(tanh)(ways, g);
    NAME(sigmoid)(ways, o);
    EACH(w) shown[w] = c_new[w] = NAME(rounded)(f[w] * c[w]) + i[w] * g[w];
    NAME(tanh)(ways, shown);
    EACH(w) h_new[w] = o[w] * shown[w];
}

static INLINE VEC NAME(lstm_cell_grad)(VEC *gates, VEC h, VEC h_new, VEC c, VEC c_new, VEC d,
                                       VEC *dc)
{
    const VEC i = gates[0], f = gates[1], g = gates[2], o = gates[3];
    VEC shown = c_new;
    NAME(tanh)(1, &shown);
    const VEC dcell = *dc + d * o * (1 - shown * shown);
    gates[0] = dcell * g * i * (1 - i);
    gates[1] = dcell * c * f * (1 - f);
    gates[2] = dcell * i * (1 - g * g);
    gates[3] = d * shown * o * (1 - o);
    *dc = dcell * f;
    return SPLAT(0);
}

#include "packed.h"
