import zlib

import numpy as np
import pytest

from cgru import _kernels


@pytest.fixture
def rng(request):
    """Random numbers that differ from test to test and repeat from run to run."""
    return np.random.default_rng(zlib.crc32(request.node.name.encode()))


@pytest.fixture(params=_kernels.isa_levels())
def isa(request):
    """Each instruction level that this machine has, and BLAS."""
    before = _kernels.isa()
    _kernels.set_isa(request.param)
    yield request.param
    _kernels.set_isa(before)


@pytest.fixture
def free_threads():
    """Lets the smallest work be shared among threads; sets their number back after the test."""
    before = _kernels.get_num_threads()
    cost = _kernels.set_launch_cost(0)
    yield
    _kernels.set_launch_cost(cost)
    _kernels.set_num_threads(before)
