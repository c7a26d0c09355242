"""Every example in a docstring, in the README and in the documentation runs."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import numpy as np
import pytest

import cgru

ROOT = Path(__file__).parent.parent
MODULES = [cgru.__name__, *(m.name for m in pkgutil.walk_packages(cgru.__path__, "cgru."))]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.rst"))]

# Examples that need an optional package.
NEEDS = {
    "cgru.saving.onnx": "onnx",
    "onnx.rst": "onnx",
    "cgru.plot": "matplotlib",
    "inspect.rst": "matplotlib",
}


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name):
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    module = importlib.import_module(name)
    finder, runner = doctest.DocTestFinder(), doctest.DocTestRunner()
    for test in finder.find(module, extraglobs={"cgru": cgru, "np": np}):
        assert runner.run(test).failed == 0, test.name


def public(module):
    return [(f"{module.__name__}.{n}", getattr(module, n)) for n in vars(module) if n[0] != "_"]


@pytest.mark.parametrize(
    ("name", "thing"),
    [
        item
        for package in (
            cgru,
            cgru.layers,
            cgru.losses,
            cgru.metrics,
            cgru.optimizers,
            cgru.initializers,
            cgru.callbacks,
            cgru.testing,
            cgru.utils,
        )
        for item in public(package)
        if callable(item[1]) and getattr(item[1], "__module__", "").startswith("cgru")
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_everything_public_is_documented(name, thing):
    assert thing.__doc__, name


@pytest.mark.parametrize("page", [page for page in PAGES if page.exists()], ids=lambda p: p.name)
def test_pages(page):
    if page.name in NEEDS:
        pytest.importorskip(NEEDS[page.name])
    text = page.read_text()
    if page.suffix == ".md":
        blocks = re.findall(r"^```python\n(.*?)^```", text, flags=re.M | re.S)
    else:
        directive = r"^\.\. code-block:: python\n\n((?:    .*\n|\n)+)"
        blocks = [re.sub(r"^    ", "", b, flags=re.M) for b in re.findall(directive, text, re.M)]
    names = {}
    for block in blocks:
        exec(block, names)
    if page.name == "README.md":
        assert blocks


def test_excerpts_of_the_sources_are_found():
    directive = r"literalinclude:: (\S+)\n((?:# +:.*\n)+)"
    for page in (ROOT / "docs" / "tutorials").glob("*.py"):
        for path, options in re.findall(directive, page.read_text()):
            source = (page.parent / path).read_text()
            start, end = (
                re.search(f":{o}: (.*)", options)[1] for o in ("start-after", "end-before")
            )
            assert end in source[source.index(start) + len(start) :], (path, start)
