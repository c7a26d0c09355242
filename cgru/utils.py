"""Small helpers."""

from __future__ import annotations

import random

import numpy as np

from cgru import _checks, _random


def set_random_seed(seed: int) -> None:
    """Seed everything random: Python's, NumPy's and cgru's own draws.

    Weights, shuffling and dropout drawn afterwards are the same in every run, so that training
    repeats bit for bit (at the same number of threads).

    Parameters
    ----------
    seed : int
        From 0 to 2**32 - 1.

    Examples
    --------
    >>> cgru.utils.set_random_seed(1)
    >>> a = cgru.initializers.RandomNormal()((2,))
    >>> cgru.utils.set_random_seed(1)
    >>> bool((a == cgru.initializers.RandomNormal()((2,))).all())
    True
    """
    if _checks.integer("seed", seed, 0) >= 2**32:
        raise ValueError(f"seed: expected an integer below 2**32, got {seed}")
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 (whoever draws the old way repeats too)
    _random.set_seed(seed)
