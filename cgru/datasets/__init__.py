"""Small real data that come with the package."""

from cgru.datasets import sunspots

__all__ = ["sunspots"]
