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
    CategoricalHinge,
    Dice,
    Hinge,
    KLDivergence,
    SparseCategoricalCrossentropy,
    SquaredHinge,
    Tversky,
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

__all__ = [
    "BinaryCrossentropy",
    "BinaryFocalCrossentropy",
    "CategoricalCrossentropy",
    "CategoricalFocalCrossentropy",
    "CategoricalHinge",
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
    "check_sample_weight",
    "get",
]

_NAMES = _checks.names_of(
    BinaryCrossentropy,
    BinaryFocalCrossentropy,
    CategoricalCrossentropy,
    CategoricalFocalCrossentropy,
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
    bce=BinaryCrossentropy,
    BCE=BinaryCrossentropy,
    kl_divergence=KLDivergence,
    kullback_leibler_divergence=KLDivergence,
    kld=KLDivergence,
    KLD=KLDivergence,
    logcosh=LogCosh,
)


def get(identifier: Any) -> Loss:
    """The loss that a name, class or object stands for.

    Examples
    --------
    >>> cgru.losses.get("mse").name
    'mean_squared_error'
    """
    return _checks.resolve("loss", identifier, Loss, _NAMES)
