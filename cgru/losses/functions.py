"""Losses as functions: one value for each sample (and time step), as `keras.losses` has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cgru.losses import classification, regression, sequences


def _function(loss: Any, name: str) -> Callable[..., Any]:
    """The function that gives a loss's values; `get` knows it for the loss by its attribute."""

    def values(y_true: Any, y_pred: Any, *args: Any, **options: Any) -> Any:
        return loss(*args, reduction=None, **options)(y_true, y_pred)

    values.__name__ = values.__qualname__ = name
    values.__doc__ = (
        f"The values of `{loss.__name__}`, one for each sample (and time step).\n\n"
        "    Parameters\n    ----------\n    y_true, y_pred : array_like\n"
        f"    *args, **options\n        As for `{loss.__name__}`.\n"
    )
    values.loss = loss  # type: ignore[attr-defined]
    return values


binary_crossentropy = _function(classification.BinaryCrossentropy, "binary_crossentropy")
binary_focal_crossentropy = _function(
    classification.BinaryFocalCrossentropy, "binary_focal_crossentropy"
)
categorical_crossentropy = _function(
    classification.CategoricalCrossentropy, "categorical_crossentropy"
)
categorical_focal_crossentropy = _function(
    classification.CategoricalFocalCrossentropy, "categorical_focal_crossentropy"
)
categorical_generalized_cross_entropy = _function(
    classification.CategoricalGeneralizedCrossEntropy, "categorical_generalized_cross_entropy"
)
categorical_hinge = _function(classification.CategoricalHinge, "categorical_hinge")
circle = _function(sequences.Circle, "circle")
cosine_similarity = _function(regression.CosineSimilarity, "cosine_similarity")
ctc = _function(sequences.CTC, "ctc")
dice = _function(classification.Dice, "dice")
hinge = _function(classification.Hinge, "hinge")
huber = _function(regression.Huber, "huber")
kl_divergence = _function(classification.KLDivergence, "kl_divergence")
log_cosh = _function(regression.LogCosh, "log_cosh")
mean_absolute_error = _function(regression.MeanAbsoluteError, "mean_absolute_error")
mean_absolute_percentage_error = _function(
    regression.MeanAbsolutePercentageError, "mean_absolute_percentage_error"
)
mean_squared_error = _function(regression.MeanSquaredError, "mean_squared_error")
mean_squared_logarithmic_error = _function(
    regression.MeanSquaredLogarithmicError, "mean_squared_logarithmic_error"
)
poisson = _function(regression.Poisson, "poisson")
sparse_categorical_crossentropy = _function(
    classification.SparseCategoricalCrossentropy, "sparse_categorical_crossentropy"
)
squared_hinge = _function(classification.SquaredHinge, "squared_hinge")
tversky = _function(classification.Tversky, "tversky")
