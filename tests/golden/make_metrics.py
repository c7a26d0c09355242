"""What Keras computes for metrics, into metrics.npz: after one batch and after two, and weighted.

In float64.  Run by hand, where Keras and JAX are:

    KERAS_BACKEND=jax JAX_ENABLE_X64=1 python tests/golden/make_metrics.py
"""

from pathlib import Path

import numpy as np

PATH = Path(__file__).with_name("metrics.npz")

# name -> class, options, kind of targets and of predictions (see make_losses.py)
CASES = {
    "mse": ("MeanSquaredError", {}, "real", "real"),
    "rmse": ("RootMeanSquaredError", {}, "real", "real"),
    "mae": ("MeanAbsoluteError", {}, "real", "real"),
    "mape": ("MeanAbsolutePercentageError", {}, "real", "real"),
    "msle": ("MeanSquaredLogarithmicError", {}, "positive", "positive"),
    "cosine": ("CosineSimilarity", {}, "real", "real"),
    "logcosh": ("LogCoshError", {}, "real", "real"),
    "poisson": ("Poisson", {}, "positive", "positive"),
    "kld": ("KLDivergence", {}, "simplex", "simplex"),
    "hinge": ("Hinge", {}, "binary", "real"),
    "squared_hinge": ("SquaredHinge", {}, "binary", "real"),
    "categorical_hinge": ("CategoricalHinge", {}, "onehot", "real"),
    "bce": ("BinaryCrossentropy", {"label_smoothing": 0.1}, "binary", "probability"),
    "cce": ("CategoricalCrossentropy", {"from_logits": True}, "onehot", "real"),
    "scce": ("SparseCategoricalCrossentropy", {}, "label", "simplex"),
    "binary_accuracy": ("BinaryAccuracy", {"threshold": 0.6}, "binary", "probability"),
    "categorical_accuracy": ("CategoricalAccuracy", {}, "onehot", "simplex"),
    "sparse_accuracy": ("SparseCategoricalAccuracy", {}, "label", "simplex"),
    "top_2": ("TopKCategoricalAccuracy", {"k": 2}, "onehot", "simplex"),
    "sparse_top_3": ("SparseTopKCategoricalAccuracy", {"k": 3}, "label", "simplex"),
    "precision": ("Precision", {}, "binary", "probability"),
    "precisions": ("Precision", {"thresholds": [0.3, 0.7]}, "binary", "probability"),
    "recall": ("Recall", {"thresholds": 0.4}, "binary", "probability"),
    "tp": ("TruePositives", {}, "binary", "probability"),
    "fp": ("FalsePositives", {}, "binary", "probability"),
    "tn": ("TrueNegatives", {}, "binary", "probability"),
    "fn": ("FalseNegatives", {}, "binary", "probability"),
    "roc": ("AUC", {}, "binary", "probability"),
    "roc_logits": ("AUC", {"from_logits": True, "num_thresholds": 50}, "binary", "real"),
    "pr": ("AUC", {"curve": "PR"}, "binary", "probability"),
    "f1": ("F1Score", {"threshold": 0.5}, "flat binary", "probability"),
    "f1_macro": ("F1Score", {"average": "macro"}, "flat onehot", "simplex"),
    "fbeta": ("FBetaScore", {"beta": 2.0, "average": "weighted"}, "flat onehot", "simplex"),
    "f1_micro": ("F1Score", {"average": "micro", "threshold": 0.5}, "flat binary", "probability"),
    "pearson": ("PearsonCorrelation", {}, "real", "real"),
    "concordance": ("ConcordanceCorrelation", {}, "real", "real"),
    "sensitivity_at": ("SensitivityAtSpecificity", {"specificity": 0.6}, "binary", "probability"),
    "specificity_at": (
        "SpecificityAtSensitivity",
        {"sensitivity": 0.4, "num_thresholds": 9},
        "binary",
        "probability",
    ),
    "precision_at": ("PrecisionAtRecall", {"recall": 0.3}, "binary", "probability"),
    "recall_at": ("RecallAtPrecision", {"precision": 0.52}, "binary", "probability"),
    "iou": ("IoU", {"num_classes": 5, "target_class_ids": [0, 3]}, "label", "label"),
    "mean_iou": ("MeanIoU", {"num_classes": 5, "ignore_class": 2}, "label", "label"),
    "onehot_iou": (
        "OneHotIoU",
        {"num_classes": 5, "target_class_ids": [1, 2]},
        "onehot",
        "simplex",
    ),
    "onehot_mean_iou": ("OneHotMeanIoU", {"num_classes": 5}, "onehot", "simplex"),
    "binary_iou": (
        "BinaryIoU",
        {"target_class_ids": [0, 1], "threshold": 0.4},
        "binary",
        "probability",
    ),
    "r2": ("R2Score", {}, "flat real", "real"),
    "accuracy": ("Accuracy", {}, "label", "label"),
}

# Keras cannot weight these, or makes the weights integers.
UNWEIGHTED = ("f1", "fbeta", "iou", "mean_iou", "onehot", "binary_iou")
# Keras computes these in float32 whatever the dtype.
FLOAT32 = ("iou", "mean_iou", "onehot", "binary_iou")


def main():
    import keras
    from keras.src.backend.common import dtypes
    from make_losses import draw

    keras.config.set_floatx("float64")
    dtypes.BIT64_TO_BIT32_DTYPE.clear()  # else Keras computes means in float32
    rng = np.random.default_rng(1)
    stored = {}
    for name, (cls, options, kind_true, kind_pred) in CASES.items():
        metrics = [getattr(keras.metrics, cls)(**options) for _ in range(2)]
        for batch in range(2):
            y_true = draw(kind_true.removeprefix("flat "), rng)
            y_pred = draw(kind_pred, rng)
            weight = rng.random(y_pred.shape[:2])
            if kind_true.startswith("flat"):
                y_true, y_pred, weight = y_true[:, 0], y_pred[:, 0], weight[:, 0]
            for metric, given in zip(metrics, (None, weight), strict=True):
                if metric is metrics[1] and name.startswith(UNWEIGHTED):
                    continue
                metric.update_state(y_true, y_pred, sample_weight=given)
                kind = "plain" if given is None else "weighted"
                stored[f"{name}/{batch}/{kind}"] = np.asarray(metric.result())
            for part, array in zip(("true", "pred", "w"), (y_true, y_pred, weight), strict=True):
                stored[f"{name}/{batch}/{part}"] = array
    np.savez_compressed(PATH, **stored)
    print(PATH, PATH.stat().st_size, "bytes, Keras", keras.__version__)


if __name__ == "__main__":
    main()
