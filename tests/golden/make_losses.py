"""What Keras computes for losses, into losses.npz: values, gradients, reductions, weights, masks.

In float64.  Run by hand, where Keras and JAX are:

    KERAS_BACKEND=jax JAX_ENABLE_X64=1 python tests/golden/make_losses.py
"""

from pathlib import Path

import numpy as np

PATH = Path(__file__).with_name("losses.npz")
SHAPE = (4, 3, 5)

# name -> class, options, kind of targets and of predictions
CASES = {
    "mse": ("MeanSquaredError", {}, "real", "real"),
    "mae": ("MeanAbsoluteError", {}, "real", "real"),
    "mape": ("MeanAbsolutePercentageError", {}, "real", "real"),
    "msle": ("MeanSquaredLogarithmicError", {}, "positive", "positive"),
    "logcosh": ("LogCosh", {}, "real", "real"),
    "huber": ("Huber", {"delta": 0.7}, "real", "real"),
    "cosine": ("CosineSimilarity", {}, "real", "real"),
    "poisson": ("Poisson", {}, "positive", "positive"),
    "kld": ("KLDivergence", {}, "simplex", "simplex"),
    "hinge": ("Hinge", {}, "binary", "real"),
    "hinge_signs": ("Hinge", {}, "signs", "real"),
    "squared_hinge": ("SquaredHinge", {}, "binary", "real"),
    "categorical_hinge": ("CategoricalHinge", {}, "onehot", "real"),
    "bce": ("BinaryCrossentropy", {}, "binary", "probability"),
    "bce_logits": (
        "BinaryCrossentropy",
        {"from_logits": True, "label_smoothing": 0.1},
        "binary",
        "real",
    ),
    "bfce": ("BinaryFocalCrossentropy", {}, "binary", "probability"),
    "bfce_logits": (
        "BinaryFocalCrossentropy",
        {"from_logits": True, "apply_class_balancing": True, "gamma": 1.5, "label_smoothing": 0.1},
        "binary",
        "real",
    ),
    "cce": ("CategoricalCrossentropy", {}, "onehot", "simplex"),
    "cce_unscaled": ("CategoricalCrossentropy", {}, "onehot", "probability"),
    "cce_logits": (
        "CategoricalCrossentropy",
        {"from_logits": True, "label_smoothing": 0.2},
        "onehot",
        "real",
    ),
    "cfce": ("CategoricalFocalCrossentropy", {}, "onehot", "simplex"),
    "cfce_logits": (
        "CategoricalFocalCrossentropy",
        {"from_logits": True, "alpha": 0.5, "gamma": 1.5, "label_smoothing": 0.1},
        "onehot",
        "real",
    ),
    "scce": ("SparseCategoricalCrossentropy", {}, "label", "simplex"),
    "scce_logits": ("SparseCategoricalCrossentropy", {"from_logits": True}, "label", "real"),
    "cgce": ("CategoricalGeneralizedCrossEntropy", {"q": 0.7}, "flat label", "simplex"),
    "tversky": ("Tversky", {"alpha": 0.3, "beta": 0.7, "axis": -1}, "binary", "probability"),
    "dice": ("Dice", {"axis": -1}, "binary", "probability"),
}
# Losses that have targets and predictions of their own shapes.
WHOLE = {
    "ctc": ("CTC", {}),
    "circle": ("Circle", {"gamma": 3.0}),
    "circle_all": ("Circle", {"gamma": 2.0, "margin": 0.2, "remove_diagonal": False}),
}
REDUCTIONS = ("sum_over_batch_size", "mean", "sum", "mean_with_sample_weight")
GIVEN = ("", "weight", "mask", "both")
# The gradients that are kept.
GRADIENTS = [
    (reduction, given)
    for reduction in REDUCTIONS
    for given in GIVEN
    if reduction == REDUCTIONS[0] or given == "both"
]


def draw(kind, rng):
    """Targets or predictions of a kind."""
    x = rng.standard_normal(SHAPE)
    if kind == "positive":
        return np.abs(x) + 0.1
    if kind == "probability":
        return 1 / (1 + np.exp(-x))
    if kind == "simplex":
        return np.exp(x) / np.exp(x).sum(-1, keepdims=True)
    if kind == "binary":
        return (x > 0) * 1.0
    if kind == "signs":
        return np.sign(x)
    if kind == "onehot":
        return np.eye(SHAPE[-1])[rng.integers(0, SHAPE[-1], SHAPE[:-1])]
    return rng.integers(0, SHAPE[-1], SHAPE[:-1]) if kind == "label" else x


def main():
    import jax
    import keras
    from keras.src import backend
    from keras.src.backend.common import dtypes

    keras.config.set_floatx("float64")
    dtypes.BIT64_TO_BIT32_DTYPE.clear()  # else Keras computes means in float32
    rng = np.random.default_rng(1)
    stored = {}
    weight, mask = rng.random(SHAPE[:2]), rng.random(SHAPE[:2]) < 0.6
    stored["weight"], stored["mask"] = weight, mask
    for name, (cls, options, kind_true, kind_pred) in CASES.items():
        y_true, y_pred = draw(kind_true.removeprefix("flat "), rng), draw(kind_pred, rng)
        w, m = weight, mask
        if kind_true.startswith("flat"):
            y_true, y_pred, w, m = y_true[:, 0], y_pred[:, 0], w[:, 0], m[:, 0]
        values, grads = np.zeros((len(REDUCTIONS), len(GIVEN))), []
        for row, reduction in enumerate(REDUCTIONS):
            loss = getattr(keras.losses, cls)(reduction=reduction, **options)
            for column, given in enumerate(GIVEN):

                def value(p, loss=loss, given=given, y_true=y_true, w=w, m=m):
                    if given in ("mask", "both"):
                        p = p * 1
                        backend.set_keras_mask(p, jax.numpy.asarray(m))
                    return loss(y_true, p, w if given in ("weight", "both") else None)

                found, grad = jax.value_and_grad(value)(jax.numpy.asarray(y_pred))
                assert grad.dtype == np.float64
                values[row, column] = found
                if (reduction, given) in GRADIENTS:
                    grads.append(np.asarray(grad))
        stored |= {f"{name}/y_true": y_true, f"{name}/y_pred": y_pred}
        stored |= {f"{name}/values": values, f"{name}/grads": np.stack(grads)}
    for name, (cls, options) in WHOLE.items():
        if cls == "CTC":
            y_true = np.array([[1, 2, 2], [3, 0, 0], [4, 1, 0], [0, 0, 0]])
            y_pred = rng.standard_normal((4, 7, 5)) * 2
        else:
            y_true, y_pred = np.array([0, 1, 0, 2, 1, 0]), rng.standard_normal((6, 4))
            y_pred /= np.sqrt(np.square(y_pred).sum(axis=1, keepdims=True))
        w = rng.random(len(y_true))
        stored |= {f"{name}/y_true": y_true, f"{name}/y_pred": y_pred, f"{name}/weight": w}
        for reduction in REDUCTIONS:
            loss = getattr(keras.losses, cls)(reduction=reduction, **options)
            for given in (None, w):
                found, grad = jax.value_and_grad(lambda p, l=loss, t=y_true, g=given: l(t, p, g))(
                    jax.numpy.asarray(y_pred)
                )
                key = f"{name}/{reduction}/{'plain' if given is None else 'weighted'}"
                stored |= {f"{key}/value": np.asarray(found), f"{key}/grad": np.asarray(grad)}
    np.savez_compressed(PATH, **stored)
    print(PATH, PATH.stat().st_size, "bytes, Keras", keras.__version__)


if __name__ == "__main__":
    main()
