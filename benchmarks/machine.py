"""The cores of this machine, how to bind a process to some of them, and what it is, in words."""

import contextlib
import os
import platform
from importlib.metadata import version
from pathlib import Path

CPUS = Path("/sys/devices/system/cpu")


def physical_cores():
    """One logical CPU of each core that this process may use."""
    if not hasattr(os, "sched_getaffinity"):
        return list(range(os.cpu_count()))
    cores = {}
    for cpu in sorted(os.sched_getaffinity(0)):
        siblings = CPUS / f"cpu{cpu}/topology/thread_siblings_list"
        cores.setdefault(siblings.read_text() if siblings.exists() else cpu, cpu)
    return list(cores.values())


@contextlib.contextmanager
def bound_to(cores):
    """Bind this process to cores; processes that it starts meanwhile stay bound to them."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def environment(threads):
    """Variables that give every library this many threads; JAX goes by the cores it is bound to."""
    names = ["CGRU_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"]
    variables = dict.fromkeys(names, str(threads)) | {"JAX_PLATFORMS": "cpu"}
    # OpenBLAS's threads otherwise go on spinning for a tenth of a second after a product, on the
    # cores of whoever is measured next; 2^20 cycles are enough to start the next product at once.
    variables["OPENBLAS_THREAD_TIMEOUT"] = "20"
    if threads == 1:
        variables["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    return os.environ | variables


def describe(config, packages):
    """What the machine is and what is installed, as (name, fact) pairs."""
    caches = []
    for index in sorted(CPUS.glob("cpu0/cache/index*")):
        level, kind, size = ((index / key).read_text().strip() for key in ("level", "type", "size"))
        if kind != "Instruction":
            caches.append(f"L{level} {size}")
    return [
        ("CPU", cpu_model()),
        ("Cores", str(len(physical_cores()))),
        ("Caches", ", ".join(caches) or "unknown"),
        ("System", operating_system()),
        ("Python", config["Python"]),
        ("Instruction set of cgru", config["instruction set"]),
        ("BLAS of cgru", config["BLAS"]),
        ("Packages", ", ".join(f"{package} {version(package)}" for package in packages)),
    ]


def cpu_model():
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":")[1].strip()
    return platform.processor() or platform.machine()


def operating_system():
    with contextlib.suppress(OSError):
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    return platform.platform(terse=True)
