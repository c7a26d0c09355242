"""Sequences are [batch, time, features] to the user and time-major in memory.

A recurrent layer reads all sequences' values of one step together, so the kernels want time to be
the outermost axis in memory.  Layers hand each other [batch, time, features] views of such
buffers: the copies below then cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def is_time_major(x: np.ndarray) -> bool:
    """Whether x [batch, time, features] lies in memory as [time, batch, features]."""
    return x.ndim == 3 and not x.flags.c_contiguous and x.swapaxes(0, 1).flags.c_contiguous


def time_major(x: np.ndarray) -> np.ndarray:
    """X [batch, time, ...] as a contiguous [time, batch, ...], copied only if it is not so yet."""
    return np.ascontiguousarray(x.swapaxes(0, 1))


def as_rows(
    x: np.ndarray, like: np.ndarray | None = None
) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """X as a matrix [rows, features], and the way back for a matrix of as many rows.

    The rows are in the order of `like`'s memory (by default x's own), so that matrices made from
    two arrays of one layer match row by row.
    """
    if x.ndim == 2:
        return x, _as_it_is
    if is_time_major(x if like is None else like):
        batch, time = x.shape[:2]

        def restore(rows: np.ndarray) -> np.ndarray:
            return rows.reshape(time, batch, -1).swapaxes(0, 1)

        return time_major(x).reshape(time * batch, -1), restore

    def restore_plain(rows: np.ndarray) -> np.ndarray:
        return rows.reshape(*x.shape[:-1], -1)

    return np.ascontiguousarray(x).reshape(-1, x.shape[-1]), restore_plain


def _as_it_is(rows: np.ndarray) -> np.ndarray:
    return rows
