"""Every example in a docstring, in the README and in the documentation runs."""

import doctest
import importlib
import inspect
import pkgutil
import re
import runpy
import textwrap
from pathlib import Path

import numpy as np
import pytest

import cgru

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
MODULES = [cgru.__name__, *(m.name for m in pkgutil.walk_packages(cgru.__path__, "cgru."))]
MADE = {"_build", "auto_tutorials", "sg_execution_times.rst"}  # by Sphinx
PAGES = [
    ROOT / "README.md",
    *(p for p in sorted(DOCS.rglob("*.[rm][sd]*")) if not MADE.intersection(p.parts)),
]

# Examples that need an optional package.
NEEDS = {
    "cgru.saving.onnx": "onnx",
    "onnx.rst": "onnx",
    "cgru.plot": "matplotlib",
    "inspect.rst": "matplotlib",
}

needs_docs = pytest.mark.skipif(not DOCS.exists(), reason="the documentation is not here")


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


def blocks_of(page):
    """The Python code of a page; what needs other libraries is marked ``py`` instead."""
    text = page.read_text()
    if page.suffix == ".md":
        return re.findall(r"^```python\n(.*?)^```", text, flags=re.M | re.S)
    directive = r"^( *)\.\. code-block:: python\n\n((?:\1    .*\n|\n)+)"
    return [textwrap.dedent(block) for _, block in re.findall(directive, text, re.M)]


@pytest.mark.parametrize("page", [page for page in PAGES if page.exists()], ids=lambda p: p.name)
def test_pages(page):
    if page.name in NEEDS:
        pytest.importorskip(NEEDS[page.name])
    threads, names = cgru.get_num_threads(), {}
    try:
        for block in blocks_of(page):
            exec(block, names)
    finally:
        cgru.set_num_threads(threads)


@needs_docs
def test_blocks_are_found():
    """In all pages with code, also within lists."""
    assert len(blocks_of(ROOT / "README.md")) == 1
    assert any(block.startswith("together =") for block in blocks_of(DOCS / "determinism.rst"))
    for page in PAGES:
        if page.parent == DOCS and page.stem not in ("api", "benchmarks", "papers"):
            assert blocks_of(page), page.name


def public_modules():
    """The modules that users import from, as far as they can be reached from cgru."""
    found, new = [], [cgru]
    while new:
        module = new.pop()
        found.append(module)
        new += [
            value
            for name, value in vars(module).items()
            if inspect.ismodule(value)
            and value.__name__ == f"{module.__name__}.{name}"
            and name in getattr(module, "__all__", [])
        ]
    return found


def public_names(module):
    if hasattr(module, "__all__"):
        return [name for name in module.__all__ if not inspect.ismodule(getattr(module, name))]
    return [
        name
        for name, value in vars(module).items()
        if (inspect.isclass(value) or inspect.isfunction(value))
        and name[0] != "_"
        and value.__module__ == module.__name__
    ]


@needs_docs
@pytest.mark.parametrize("module", public_modules(), ids=lambda module: module.__name__)
def test_everything_public_is_in_the_reference(module):
    """Under this or another of its names."""
    text = "\n".join(page.read_text() for page in (DOCS / "api").glob("*.rst"))
    shown = []
    for kind, path in re.findall(r"^\.\. auto(module|function|class):: (\S+)", text, re.M):
        if kind == "module":
            whole = importlib.import_module(path)
            shown += [getattr(whole, name) for name in public_names(whole)]
        else:
            package, name = path.rsplit(".", 1)
            shown.append(getattr(importlib.import_module(package), name))
    for name in public_names(module):
        value = getattr(module, name)
        assert any(value is other for other in shown), f"{module.__name__}.{name}"


@needs_docs
def test_the_picture_of_the_way_of_a_batch_is_true():
    way = runpy.run_path(str(DOCS / "way_of_a_batch.py"))
    way["check"]()
    gone = [way["Station"](0, "Trainer.gone", "training.py", ""), *way["STATIONS"]]
    way["STATIONS"][:] = gone
    with pytest.raises(AssertionError, match="gone is not called"):
        way["check"]()


def test_excerpts_of_the_sources_are_found():
    directive = r"literalinclude:: (\S+)\n((?:# +:.*\n)+)"
    for page in (DOCS / "tutorials").glob("*.py"):
        for path, options in re.findall(directive, page.read_text()):
            rest = (page.parent / path).read_text()
            marks = re.findall(r":(?:start-at|start-after|end-before|pyobject): (.*)", options)
            assert marks, (page, path)
            for mark in marks:
                assert mark in rest, (page, path, mark)
                rest = rest.partition(mark)[2]
