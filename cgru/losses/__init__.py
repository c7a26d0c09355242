"""Losses: how far predictions are from targets, and the gradient of that.

Each gives one value per sample (and time step); the loss of a batch is their mean, unless asked for
otherwise, each value first multiplied by its sample weight where there are any.
"""

from __future__ import annotations

from typing import Any

from cgru import _checks
from cgru.losses.base import Loss, check_sample_weight
from cgru.losses.classification import (
    BinaryCrossentropy,
    BinaryFocalCrossentropy,
    CategoricalCrossentropy,
    CategoricalFocalCrossentropy,
    CategoricalGeneralizedCrossEntropy,
    CategoricalHinge,
    Dice,
    FittingCrossentropy,
    Hinge,
    KLDivergence,
    SparseCategoricalCrossentropy,
    SquaredHinge,
    Tversky,
)
from cgru.losses.functions import (
    binary_crossentropy,
    binary_focal_crossentropy,
    categorical_crossentropy,
    categorical_focal_crossentropy,
    categorical_generalized_cross_entropy,
    categorical_hinge,
    circle,
    cosine_similarity,
    ctc,
    dice,
    hinge,
    huber,
    kl_divergence,
    log_cosh,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
    poisson,
    sparse_categorical_crossentropy,
    squared_hinge,
    tversky,
)
from cgru.losses.regression import (
    CosineSimilarity,
    Huber,
    LogCosh,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    Poisson,
    Quantile,
)
from cgru.losses.sequences import CTC, Circle

__all__ = [
    "CTC",
    "BinaryCrossentropy",
    "BinaryFocalCrossentropy",
    "CategoricalCrossentropy",
    "CategoricalFocalCrossentropy",
    "CategoricalGeneralizedCrossEntropy",
    "CategoricalHinge",
    "Circle",
    "CosineSimilarity",
    "Dice",
    "Hinge",
    "Huber",
    "KLDivergence",
    "LogCosh",
    "Loss",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "Poisson",
    "Quantile",
    "SparseCategoricalCrossentropy",
    "SquaredHinge",
    "Tversky",
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "categorical_generalized_cross_entropy",
    "categorical_hinge",
    "check_sample_weight",
    "circle",
    "cosine_similarity",
    "ctc",
    "dice",
    "get",
    "hinge",
    "huber",
    "kl_divergence",
    "log_cosh",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_error",
    "mean_squared_logarithmic_error",
    "poisson",
    "sparse_categorical_crossentropy",
    "squared_hinge",
    "tversky",
]

_NAMES = _checks.names_of(
    CTC,
    Circle,
    BinaryCrossentropy,
    BinaryFocalCrossentropy,
    CategoricalCrossentropy,
    CategoricalFocalCrossentropy,
    CategoricalGeneralizedCrossEntropy,
    CategoricalHinge,
    CosineSimilarity,
    Dice,
    Hinge,
    Huber,
    KLDivergence,
    LogCosh,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    Poisson,
    SparseCategoricalCrossentropy,
    SquaredHinge,
    Tversky,
    mse=MeanSquaredError,
    MSE=MeanSquaredError,
    mae=MeanAbsoluteError,
    MAE=MeanAbsoluteError,
    mape=MeanAbsolutePercentageError,
    MAPE=MeanAbsolutePercentageError,
    msle=MeanSquaredLogarithmicError,
    MSLE=MeanSquaredLogarithmicError,
    crossentropy=FittingCrossentropy,
    Crossentropy=FittingCrossentropy,
    ce=FittingCrossentropy,
    CE=FittingCrossentropy,
    bce=BinaryCrossentropy,
    BCE=BinaryCrossentropy,
    kl_divergence=KLDivergence,
    kullback_leibler_divergence=KLDivergence,
    kld=KLDivergence,
    KLD=KLDivergence,
    logcosh=LogCosh,
)


def get(identifier: Any) -> Loss:
    """The loss that a name, class, object, or one of this module's functions stands for.

    Examples
    --------
    >>> cgru.losses.get("mse").name
    'mean_squared_error'
    """
    if isinstance(found := getattr(identifier, "loss", None), type):
        identifier = found  # of a function such as mean_squared_error
    elif callable(identifier) and not isinstance(identifier, (type, Loss)):
        raise TypeError(
            f"loss: expected a name or a Loss object, got {identifier!r}; a function of your own "
            "needs its gradient: subclass cgru.losses.Loss, with a method forward"
        )
    return _checks.resolve("loss", identifier, Loss, _NAMES)
