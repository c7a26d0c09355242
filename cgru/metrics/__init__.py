"""Metrics: figures that are averaged over an epoch and shown, not trained on."""

from __future__ import annotations

from typing import Any

from cgru import _checks, losses
from cgru.metrics.accuracy import (
    Accuracy,
    BinaryAccuracy,
    CategoricalAccuracy,
    FittingAccuracy,
    SparseCategoricalAccuracy,
    SparseTopKCategoricalAccuracy,
    TopKCategoricalAccuracy,
)
from cgru.metrics.base import (
    Mean,
    MeanMetricWrapper,
    Metric,
    Sum,
)
from cgru.metrics.confusion import (
    AUC,
    F1Score,
    FalseNegatives,
    FalsePositives,
    FBetaScore,
    Precision,
    Recall,
    TrueNegatives,
    TruePositives,
)
from cgru.metrics.means import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    CategoricalHinge,
    CosineSimilarity,
    Hinge,
    KLDivergence,
    LogCoshError,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    Poisson,
    R2Score,
    RootMeanSquaredError,
    SparseCategoricalCrossentropy,
    SquaredHinge,
)

__all__ = [
    "AUC",
    "Accuracy",
    "BinaryAccuracy",
    "BinaryCrossentropy",
    "CategoricalAccuracy",
    "CategoricalCrossentropy",
    "CategoricalHinge",
    "CosineSimilarity",
    "F1Score",
    "FBetaScore",
    "FalseNegatives",
    "FalsePositives",
    "Hinge",
    "KLDivergence",
    "LogCoshError",
    "Mean",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanMetricWrapper",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "Metric",
    "Poisson",
    "Precision",
    "R2Score",
    "Recall",
    "RootMeanSquaredError",
    "SparseCategoricalAccuracy",
    "SparseCategoricalCrossentropy",
    "SparseTopKCategoricalAccuracy",
    "SquaredHinge",
    "Sum",
    "TopKCategoricalAccuracy",
    "TrueNegatives",
    "TruePositives",
    "get",
]

_NAMES = _checks.names_of(
    AUC,
    Accuracy,
    BinaryAccuracy,
    BinaryCrossentropy,
    CategoricalAccuracy,
    CategoricalCrossentropy,
    CategoricalHinge,
    CosineSimilarity,
    F1Score,
    FBetaScore,
    FalseNegatives,
    FalsePositives,
    Hinge,
    KLDivergence,
    LogCoshError,
    Mean,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    Poisson,
    Precision,
    R2Score,
    Recall,
    RootMeanSquaredError,
    SparseCategoricalAccuracy,
    SparseCategoricalCrossentropy,
    SparseTopKCategoricalAccuracy,
    SquaredHinge,
    Sum,
    TopKCategoricalAccuracy,
    TrueNegatives,
    TruePositives,
    accuracy=lambda: FittingAccuracy("accuracy"),
    acc=lambda: FittingAccuracy("acc"),
    mae=lambda: MeanAbsoluteError("mae"),
    MAE=lambda: MeanAbsoluteError("mae"),
    mse=lambda: MeanSquaredError("mse"),
    MSE=lambda: MeanSquaredError("mse"),
    rmse=lambda: RootMeanSquaredError("rmse"),
    mape=lambda: MeanAbsolutePercentageError("mape"),
    MAPE=lambda: MeanAbsolutePercentageError("mape"),
    msle=lambda: MeanSquaredLogarithmicError("msle"),
    MSLE=lambda: MeanSquaredLogarithmicError("msle"),
    auc=AUC,
    kld=lambda: KLDivergence("kld"),
    bce=lambda: BinaryCrossentropy("bce"),
)


def get(identifier: Any) -> Metric:
    """The metric that a name, class, object, function or loss stands for.

    Examples
    --------
    >>> cgru.metrics.get("accuracy").name
    'accuracy'
    """
    if isinstance(identifier, losses.Loss):
        return MeanMetricWrapper(identifier.values, identifier.name)
    if callable(identifier) and not isinstance(identifier, (type, Metric)):
        return MeanMetricWrapper(identifier)
    return _checks.resolve("metrics", identifier, Metric, _NAMES)
