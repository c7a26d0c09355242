"""Models for other runtimes, as files of ONNX."""

from __future__ import annotations

from typing import Any

from cgru.layers.graph import Graph
from cgru.saving.file import write_whole


def export_onnx(model: Any, filepath: Any, stateful: bool = False) -> None:
    """Write a model's prediction as an ONNX file, for ONNX Runtime, OpenVINO and others.

    The file has standard operators only, of opset 18, and returns what `predict` returns.  The
    size of the batch is free, and so are the lengths that are free in the model.  It appears under
    its name only when it is whole.

    Parameters
    ----------
    model : Model
        Built: with an `Input`, or after it has seen data.
    filepath : str or path
    stateful : bool
        Whether to carry the states of recurrent layers from one run to the next, for a system that
        predicts as its data come in.  Each such layer then has an input ``"gru_state_in"`` (with
        its own name), [batch, units], which is zeros at first, and an output ``"gru_state_out"``,
        which is the next run's input.
        An LSTM has ``"lstm_cell_in"`` and ``"lstm_cell_out"`` as well.
        A run reads [batch, time, features] with any number of
        steps, such as one, and the states after the last of them are returned.

    Raises
    ------
    ImportError
        If the package onnx is not installed.
    ValueError
        If a layer or an activation is not one of cgru's own, if a layer has been called with
        ``training=True``, or if there are more than 2 GB of weights.  With `stateful` also if there
        is no recurrent layer that reads the model's time steps, or a layer needs more of a sequence
        than what has come so far, as `Bidirectional` and `Conv1D` do.

    Notes
    -----
    Inputs and outputs have the model's names.  Indices are int64, everything else has the model's
    dtype.  All masks have the effect that they have here, not only those of padding at the end: the
    graph moves the steps that are valid to the front for the recurrent operator, and takes the
    states back to where they belong.

    A layer with ``stateful=True`` starts from zeros in the file, unless `stateful` is true here.
    Indices are not checked.  ONNX Runtime lacks float64 for some operators, such as that of
    `Conv1D`; recurrent layers in float64, or with activations other than sigmoid, tanh and relu,
    are written step by step (Scan), which takes longer.

    Examples
    --------
    >>> import tempfile
    >>> model = cgru.Sequential([cgru.Input((None, 3)), cgru.layers.GRU(4), cgru.layers.Dense(1)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     cgru.saving.export_onnx(model, f"{folder}/model.onnx")
    """
    if not isinstance(model, Graph):
        raise ValueError(f"model: expected a Model, got {model!r}")
    model.check_built()
    try:
        import onnx  # noqa: F401
    except ImportError:
        raise ImportError("export_onnx needs the package onnx: pip install 'cgru[onnx]'") from None
    from cgru.saving.onnx_model import serialized  # not needed where nobody exports

    write_whole(filepath, serialized(model, stateful))
