"""Package-wide settings, and what cgru runs on here."""

from __future__ import annotations

import math
import os
import platform
from pathlib import Path
from typing import Any

import numpy as np

from cgru import _checks, _kernels

__all__ = ["floatx", "get_num_threads", "set_floatx", "set_num_threads", "show_config"]

_floatx = np.dtype(np.float32)


def floatx() -> str:
    """The dtype of layers that are not given one: ``"float32"`` unless changed.

    Examples
    --------
    >>> cgru.config.floatx()
    'float32'
    """
    return _floatx.name


def set_floatx(value: str) -> None:
    """Set the dtype of layers made from now on.

    Parameters
    ----------
    value : {"float32", "float64"}

    Raises
    ------
    ValueError
        If `value` is anything else.

    Examples
    --------
    >>> cgru.config.set_floatx("float64")
    >>> cgru.layers.Dense(1).dtype
    'float64'
    >>> cgru.config.set_floatx("float32")
    """
    global _floatx
    _floatx = as_dtype(value)


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


def get_num_threads() -> int:
    """The number of threads that one call of a kernel may use.

    Examples
    --------
    >>> cgru.get_num_threads() >= 1
    True
    """
    return _kernels.get_num_threads()


def set_num_threads(threads: int) -> None:
    """Set the number of threads that one call of a kernel may use, for the whole process.

    Small work stays on fewer.  At import it is that of the environment variable
    ``CGRU_NUM_THREADS``; where that is not set, of ``OMP_NUM_THREADS``; otherwise the number of
    physical cores that the process may use.  Results do not depend on it, unless products are left
    to BLAS (``CGRU_ISA=blas``).

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
    _kernels.set_num_threads(_checks.integer("threads", threads, 1))


def _usual_threads() -> int:
    """What the environment asks for, or the physical cores that there are for this process."""
    for name in ("CGRU_NUM_THREADS", "OMP_NUM_THREADS"):
        # Either may be a list, as OpenMP has it: with a number for each level of nesting.
        text = os.environ.get(name, "").split(",")[0].strip()
        if text.isdecimal() and int(text) > 0:
            return int(text)
        if text and name == "CGRU_NUM_THREADS":
            raise ValueError(f"{name}: expected an integer >= 1, got {text!r}")
    return int(min(_physical_cores(), _cpu_quota()))


def _physical_cores() -> int:
    try:
        cpus = os.sched_getaffinity(0)
    except AttributeError:  # not on this system
        return os.cpu_count() or 1
    cores = set()
    for cpu in cpus:
        siblings = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        try:
            cores.add(siblings.read_text())
        except OSError:
            cores.add(str(cpu))
    return len(cores)


def _cpu_quota() -> float:
    """The CPUs that a container may use at a time."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, round(int(quota) / int(period)))
    except (OSError, ValueError):  # there is no such file, or no limit ("max")
        return math.inf


set_num_threads(_usual_threads())


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
    >>> cgru.show_config()  # doctest: +ELLIPSIS
    cgru             ...
    Python           ...
    >>> sorted(cgru.show_config(mode="dicts"))[:3]
    ['BLAS', 'NumPy', 'Python']
    """
    if mode not in ("stdout", "dicts"):
        raise ValueError(f"mode: expected 'stdout' or 'dicts', got {mode!r}")
    import scipy

    import cgru

    blas = scipy.show_config(mode="dicts")["Build Dependencies"]["blas"]
    levels = ", ".join(_kernels.isa_levels()[1:])
    facts = {
        "cgru": cgru.__version__,
        "Python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "NumPy": np.__version__,
        "SciPy": scipy.__version__,
        "BLAS": f"{blas.get('name')} {blas.get('version')}",
        "instruction set": f"{_kernels.isa()} (this CPU runs {levels})",
        "threads": f"{get_num_threads()} of {os.cpu_count()} logical CPUs",
    }
    if mode == "dicts":
        return facts
    for name, fact in facts.items():
        print(f"{name:16} {fact}")
    return None
