"""What Keras computes for activations and constraints, into activations.npz.

In float64.  Run by hand, where Keras and JAX are:

    KERAS_BACKEND=jax JAX_ENABLE_X64=1 python tests/golden/make_activations.py
"""

from pathlib import Path

import numpy as np

PATH = Path(__file__).with_name("activations.npz")
NAMES = [
    "linear", "sigmoid", "tanh", "softmax", "log_softmax", "relu", "relu6",
    "leaky_relu", "elu", "selu", "celu", "gelu", "softplus", "softsign", "squareplus", "silu",
    "mish", "log_sigmoid", "hard_sigmoid", "hard_silu", "hard_tanh", "hard_shrink", "soft_shrink",
    "tanh_shrink", "sparse_plus", "sparse_sigmoid", "exponential",
]  # fmt: skip
CONSTRAINTS = {
    "max_norm": ("MaxNorm", {"max_value": 1.5}),
    "max_norm_1": ("MaxNorm", {"max_value": 1.5, "axis": 1}),
    "non_neg": ("NonNeg", {}),
    "unit_norm": ("UnitNorm", {}),
    "min_max_norm": ("MinMaxNorm", {"min_value": 1.0, "max_value": 1.5, "rate": 0.7}),
}
REGULARIZERS = {
    "l1": ("L1", {}),
    "l2": ("L2", {"l2": 0.3}),
    "l1l2": ("L1L2", {"l1": 0.1, "l2": 0.2}),
    "rows": ("OrthogonalRegularizer", {"factor": 0.5}),
    "columns": ("OrthogonalRegularizer", {"mode": "columns"}),
}


def main():
    import jax
    import keras
    from keras.src.backend.common import dtypes

    keras.config.set_floatx("float64")
    dtypes.BIT64_TO_BIT32_DTYPE.clear()  # else Keras computes means in float32
    rng = np.random.default_rng(1)
    x = rng.standard_normal((6, 8)) * 3
    x[0, :4], x[1, :4] = (0, 0.3, -0.3, 20), (-20, 80, -80, 0.7)
    dy = rng.standard_normal(x.shape)
    stored = {"x": x, "dy": dy}
    for name in NAMES:
        y, vjp = jax.vjp(getattr(keras.activations, name), jax.numpy.asarray(x))
        stored[f"{name}/y"], stored[f"{name}/dx"] = np.asarray(y), np.asarray(vjp(dy)[0])
    for name, (cls, options) in CONSTRAINTS.items():
        stored[f"{name}/w"] = np.asarray(getattr(keras.constraints, cls)(**options)(x))
    for name, (cls, options) in REGULARIZERS.items():
        penalty = getattr(keras.regularizers, cls)(**options)
        value, grad = jax.value_and_grad(penalty)(jax.numpy.asarray(x[2:]))
        stored[f"{name}/value"], stored[f"{name}/grad"] = np.asarray(value), np.asarray(grad)
    np.savez_compressed(PATH, **stored)
    print(PATH, PATH.stat().st_size, "bytes, Keras", keras.__version__)


if __name__ == "__main__":
    main()
