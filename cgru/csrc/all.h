/* Everything that is compiled for each element type and level, and the table of it. */
#include "vector.h"
#include "product.h"
#include "gru.h"
#include "lstm.h"
#include "simple.h"
#include "gates.h"
#include "elementwise.h"

static const LOOPS NAME(loops) = {
    VECTOR_BYTES, DEALT, {&NAME(gru_kernels), &NAME(lstm_kernels), &NAME(simple_kernels)},
    NAME(product), NAME(sgd), NAME(rmsprop), NAME(adam), NAME(nadam), NAME(adamax), NAME(adagrad),
    NAME(adadelta), NAME(lion), NAME(blend),
    NAME(gru_gates), NAME(gru_gates_grad),
    NAME(cho_reset), NAME(cho_update), NAME(cho_update_grad), NAME(cho_reset_grad),
    NAME(lstm_gates), NAME(lstm_gates_grad), NAME(simple_gates), NAME(simple_gates_grad),
    NAME(sigmoid_array), NAME(tanh_array), NAME(sum_rows), NAME(all_finite),
};

#undef TYPE
#undef REAL
#undef LOOPS
#undef ROOT
#undef BITS
#undef MANTISSA_BITS
#undef EXPONENT_BIAS
#undef ROUNDING_SHIFT
#undef LN2_HIGH
#undef LN2_LOW
#undef EXP_POLYNOMIAL
#undef EXP_SHIFT
#undef EXP_TINY
#undef EXP_ZERO
#undef TANH_ONE
#undef LANES
#undef STRIP
#undef VEC
#undef BITS_VEC
#undef SPLAT
#undef SIGN
#undef WAYS
#undef EACH
#undef ROWS
#undef MOST_ROWS
#undef FEWER_ROWS
#undef DEALT
#undef ABREAST
#undef TILE
#undef EACH_VECTOR
#undef AT
#undef PUT
