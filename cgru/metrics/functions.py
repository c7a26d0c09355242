"""Metrics as functions: one value for each sample (and time step), as `keras.metrics` has them.

Those of losses are the functions of `cgru.losses`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cgru.losses.functions import as_function
from cgru.metrics import accuracy, correlation
from cgru.metrics.base import Metric


def _function(metric: type[Metric], name: str) -> Callable[..., Any]:
    """The function that gives a metric's values; `get` knows it for the metric by its attribute."""

    def values(y_true: Any, y_pred: Any, **options: Any) -> Any:
        return metric(**options).values(np.asarray(y_true), np.asarray(y_pred))

    function = as_function(metric, name, values)
    function.metric = metric  # type: ignore[attr-defined]
    return function


binary_accuracy = _function(accuracy.BinaryAccuracy, "binary_accuracy")
categorical_accuracy = _function(accuracy.CategoricalAccuracy, "categorical_accuracy")
concordance_correlation = _function(correlation.ConcordanceCorrelation, "concordance_correlation")
pearson_correlation = _function(correlation.PearsonCorrelation, "pearson_correlation")
sparse_categorical_accuracy = _function(
    accuracy.SparseCategoricalAccuracy, "sparse_categorical_accuracy"
)
sparse_top_k_categorical_accuracy = _function(
    accuracy.SparseTopKCategoricalAccuracy, "sparse_top_k_categorical_accuracy"
)
top_k_categorical_accuracy = _function(
    accuracy.TopKCategoricalAccuracy, "top_k_categorical_accuracy"
)
