"""sigmoid and tanh of every float32, at every instruction level, against float64: `make ulp`.

    python tests/every_float32.py [--levels NAME ...] [--stride N] [--most ULP]

Prints the largest error of each, in units in the last place, and where it is; exits with 1 if one
is above `--most`.  All 2^32 bit patterns take some minutes for each core; `--stride` takes fewer.
"""

import argparse
import concurrent.futures
import functools
import os

import numpy as np
from scipy.special import expit

from cgru import _kernels

FUNCTIONS = {"sigmoid": expit, "tanh": np.tanh}
CHUNK = 2**22


def worst(start, levels, stride):
    """The largest error, in ulp, and its place, of each function and level in one chunk."""
    bits = np.arange(start, start + CHUNK, stride, dtype=np.uint32)
    x = bits.view(np.float32)
    y = np.empty_like(x)
    found = {}
    for name, function in FUNCTIONS.items():
        with np.errstate(all="ignore"):
            exact = function(x.astype(np.float64))
            ulp = np.spacing(abs(exact.astype(np.float32))).astype(np.float64)
        for level in levels:
            _kernels.set_isa(level)
            getattr(_kernels, name)(x, y)
            off = abs(y - exact) / ulp
            off[np.isnan(x)] = np.where(np.isnan(y[np.isnan(x)]), 0, np.inf)
            place = int(np.argmax(off))
            found[name, level] = (float(off[place]), float(x[place]))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--levels", nargs="+", default=_kernels.isa_levels()[1:])
    parser.add_argument("--stride", type=int, default=1)
    parser.add_argument("--most", type=float, default=4)
    arguments = parser.parse_args()
    largest = {}
    part = functools.partial(worst, levels=arguments.levels, stride=arguments.stride)
    with concurrent.futures.ProcessPoolExecutor(os.cpu_count()) as pool:
        for done, found in enumerate(pool.map(part, range(0, 2**32, CHUNK)), 1):
            for key, value in found.items():
                largest[key] = max(value, largest.get(key, (0.0, 0.0)))
            if done % 128 == 0:
                print(f"{done * CHUNK / 2**32:4.0%}", flush=True)
    for (name, level), (ulp, x) in largest.items():
        print(f"{name:8} {level:9} {ulp:5.2f} ulp, at {x!r}")
    if max(largest.values())[0] > arguments.most:
        parser.exit(1, f"more than {arguments.most} ulp\n")


if __name__ == "__main__":
    main()
