"""Package-wide settings, and what cgru runs on here."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import numpy as np

from cgru import _checks, _kernels

_floatx = np.dtype(np.float32)


def floatx() -> str:
    """The dtype of layers that are not given one: ``"float32"`` unless changed.

    Examples
    --------
    >>> cgru.config.floatx()
    'float32'
    """
    return _floatx.name


def set_floatx(dtype: str) -> None:
    """Set the dtype of layers made from now on.

    Parameters
    ----------
    dtype : {"float32", "float64"}

    Raises
    ------
    ValueError
        If `dtype` is anything else.

    Examples
    --------
    >>> cgru.config.set_floatx("float64")
    >>> cgru.layers.Dense(1).dtype
    'float64'
    >>> cgru.config.set_floatx("float32")
    """
    global _floatx
    _floatx = as_dtype(dtype)


def as_dtype(dtype: Any) -> np.dtype:
    """`dtype` (None: the default) as a NumPy dtype that the kernels have."""
    if dtype is None:
        return _floatx
    try:
        found = np.dtype(dtype)
    except TypeError:
        found = None
    if found not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise ValueError(f"dtype: expected 'float32' or 'float64', got {dtype!r}")
    return found


def _blas_pools() -> Any:
    """The threads of the BLAS that the kernels call (NumPy may carry another, left alone)."""
    from threadpoolctl import ThreadpoolController  # costs a scan of the loaded libraries

    blas = ThreadpoolController().select(user_api="blas")
    paths = [pool.filepath for pool in blas.lib_controllers]
    paths = [path for path in paths if "scipy" in str(Path(path).parent)]
    return blas.select(filepath=paths) if paths else blas


def get_num_threads() -> int:
    """The number of threads that the kernels may use.

    Examples
    --------
    >>> cgru.get_num_threads() >= 1
    True
    """
    return max((pool.num_threads for pool in _blas_pools().lib_controllers), default=1)


def set_num_threads(threads: int) -> None:
    """Set the number of threads that the kernels may use, for the whole process.

    The environment variable ``CGRU_NUM_THREADS`` sets it at import; ``OMP_NUM_THREADS`` is
    obeyed where that is not set.

    Parameters
    ----------
    threads : int
        At least 1.

    Examples
    --------
    >>> before = cgru.get_num_threads()
    >>> cgru.set_num_threads(1)
    >>> cgru.get_num_threads()
    1
    >>> cgru.set_num_threads(before)
    """
    _blas_pools().limit(limits=_checks.integer("threads", threads, 1))


if os.environ.get("CGRU_NUM_THREADS"):
    try:
        set_num_threads(int(os.environ["CGRU_NUM_THREADS"]))
    except ValueError:
        raise ValueError(
            f"CGRU_NUM_THREADS: expected an integer >= 1, got {os.environ['CGRU_NUM_THREADS']!r}"
        ) from None


def show_config(mode: str = "stdout") -> dict[str, str] | None:
    """Show the versions, BLAS, instruction set and threads that cgru uses here.

    Parameters
    ----------
    mode : {"stdout", "dicts"}
        Print, or return a dictionary instead.

    Returns
    -------
    dict of str or None

    Examples
    --------
    >>> cgru.show_config()  # doctest: +SKIP
    cgru             0.1.0
    Python           3.11.7
    ...
    >>> sorted(cgru.show_config(mode="dicts"))[:3]
    ['BLAS', 'NumPy', 'Python']
    """
    if mode not in ("stdout", "dicts"):
        raise ValueError(f"mode: expected 'stdout' or 'dicts', got {mode!r}")
    import scipy

    import cgru

    blas = scipy.show_config(mode="dicts")["Build Dependencies"]["blas"]
    loaded = {f"{pool.internal_api} {pool.version}" for pool in _blas_pools().lib_controllers}
    levels = ", ".join(_kernels.isa_levels())
    facts = {
        "cgru": cgru.__version__,
        "Python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "NumPy": np.__version__,
        "SciPy": scipy.__version__,
        "BLAS": ", ".join(sorted(loaded)) or f"{blas.get('name')} {blas.get('version')}",
        "instruction set": f"{_kernels.isa()} (this CPU runs {levels})",
        "threads": f"{get_num_threads()} of {os.cpu_count()} logical CPUs",
    }
    if mode == "dicts":
        return facts
    for name, fact in facts.items():
        print(f"{name:16} {fact}")
    return None
