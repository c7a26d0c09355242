"""The yearly sunspot numbers, 1700 to 2008."""

from __future__ import annotations

import importlib.resources

import numpy as np


def load_data() -> tuple[np.ndarray, np.ndarray]:
    """Load the yearly mean sunspot numbers (Wolf numbers), 1700 to 2008.

    Returns
    -------
    years : ndarray of int64, shape (309,)
    numbers : ndarray of float64, shape (309,)

    Notes
    -----
    In the public domain; from the National Geophysical Data Center (NOAA), version 1 of the
    series.  Forecasts of one year from the years before have been compared on it since Yule 1927;
    the split that is used most, after Weigend, Huberman and Rumelhart 1990, trains on 1700-1920 and
    tests on 1921-1955 and 1956-1979.

    Examples
    --------
    >>> years, numbers = cgru.datasets.sunspots.load_data()
    >>> int(years[0]), float(numbers[0])
    (1700, 5.0)
    """
    source = importlib.resources.files("cgru.datasets") / "sunspots.csv"
    with source.open() as file:
        years, numbers = np.loadtxt(file, delimiter=",", skiprows=1, unpack=True)
    return years.astype(np.int64), numbers
