"""One source of randomness, so that one seed makes a whole run repeat."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from cgru import _checks

_lock = threading.Lock()
_source = np.random.default_rng()


def set_seed(seed: int) -> None:
    """Restart the source from `seed` (see `cgru.utils.set_random_seed`)."""
    global _source
    with _lock:
        _source = np.random.default_rng(_checks.integer("seed", seed, 0))


def get_state() -> Any:
    """The state of the source, as JSON can hold it."""
    with _lock:
        return _source.bit_generator.state


def set_state(state: Any) -> None:
    """Put the source into a state that `get_state` returned."""
    with _lock:
        _source.bit_generator.state = state


def draw_seed() -> int:
    """A fresh seed from the source."""
    with _lock:
        return int(_source.integers(2**63))


def generator(seed: Any = None) -> np.random.Generator:
    """A generator from `seed`, or where it is None from a seed drawn from the source."""
    if seed is None:
        return np.random.default_rng(draw_seed())
    return np.random.default_rng(_checks.integer("seed", seed, 0))


def dropout(
    random: np.random.Generator, shape: tuple[int, ...], rate: float, dtype: np.dtype
) -> np.ndarray:
    """Factors that set a part `rate` of what they multiply to 0, and scale the rest up to match."""
    if rate == 1:
        return np.zeros(shape, dtype)
    kept = random.random(shape, dtype=np.float32) >= rate
    return kept.astype(dtype) * dtype.type(1 / (1 - rate))
