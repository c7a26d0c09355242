"""Losses as functions: one value for each sample (and time step), as `keras.losses` has them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from cgru.losses import classification, regression, sequences


def as_function(cls: Any, name: str, values: Callable[..., Any]) -> Callable[..., Any]:
    """A function of `y_true`, `y_pred` and the options of a class, in the order of its constructor.

    Parameters
    ----------
    cls : type
    name : str
        Of the function.
    values : callable
        ``values(y_true, y_pred, **options)``, one for each sample (and time step).
    """
    found = inspect.signature(cls).parameters.values()
    options = [option for option in found if option.name not in ("name", "reduction", "dtype")]
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    given = [inspect.Parameter("y_true", kind), inspect.Parameter("y_pred", kind)]
    signature = inspect.Signature([*given, *(option.replace(kind=kind) for option in options)])

    def function(*args: Any, **kwargs: Any) -> Any:
        return values(**signature.bind(*args, **kwargs).arguments)

    function.__name__ = function.__qualname__ = name
    function.__signature__ = signature  # type: ignore[attr-defined]
    names = ", ".join(option.name for option in options)
    function.__doc__ = (
        f"The values of `{cls.__name__}`, one for each sample (and time step).\n\n"
        "    Parameters\n    ----------\n    y_true, y_pred : array_like\n"
        + (f"    {names}\n        As for `{cls.__name__}`.\n" if names else "")
    )
    return function


def _function(loss: Any, name: str) -> Callable[..., Any]:
    """The function that gives a loss's values; `get` knows it for the loss by its attribute."""

    def values(y_true: Any, y_pred: Any, **options: Any) -> Any:
        return loss(**options, reduction=None)(y_true, y_pred)

    function = as_function(loss, name, values)
    function.loss = loss  # type: ignore[attr-defined]
    return function


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
