"""What the package does to the process it is imported into, and how its rooms connect."""

import ast
import inspect
import os
import platform
import sys
from pathlib import Path

import pytest
from processes import python

import cgru
from cgru import _kernels

PACKAGE = Path(cgru.__file__).parent

# What may be imported from where: a module may import those of its own line and of lines above.
ORDER = [
    ["_kernels"],
    ["_checks", "_room"],
    ["_configs"],
    ["config", "_random", "activations", "variables"],
    ["initializers", "regularizers", "constraints"],
    ["layers.symbolic"],
    ["layers.base", "layers._layout"],
    ["layers.recurrent"],
    ["layers._packed", "layers._plain", "layers._steps"],
    ["layers.reshaping"],
    ["layers.pooling"],
    [
        "layers.activations",
        "layers.convolution",
        "layers.embedding",
        "layers.merging",
        "layers.normalization",
    ],
    [
        "layers.core",
        "layers.gru",
        "layers.lstm",
        "layers.simple_rnn",
        "layers.regularization",
        "layers.input",
        "layers.graph",
        "layers.wrappers",
    ],
    ["layers._stepwise", "layers.keras_order"],
    ["layers"],
    ["optimizers.schedules"],
    ["optimizers.base"],
    ["optimizers.adam", "optimizers.momentum", "optimizers.squares"],
    ["saving.errors"],
    ["saving.file"],
    ["saving.contents", "saving.progress"],
    ["saving.keras_import"],
    ["saving.hdf5"],
    ["saving.keras_export"],
    ["saving.keras"],
    ["saving.onnx_graph"],
    ["saving.onnx_activations"],
    ["saving.onnx_recurrent"],
    ["saving.onnx_layers"],
    ["saving.onnx_model"],
    ["saving.models", "saving.custom", "saving.torch_modules", "saving.onnx"],
    ["saving.torch"],
    ["saving"],
    ["callbacks.base"],
    ["callbacks.monitors", "callbacks.records", "callbacks.steering"],
    ["callbacks.checkpoint", "callbacks.container"],
    ["callbacks.backup", "callbacks.tensorboard"],
    ["losses.base"],
    ["losses.regression"],
    ["losses.classification"],
    ["losses.sequences"],
    ["losses.functions"],
    ["losses"],
    ["metrics.base"],
    ["metrics.accuracy", "metrics.confusion", "metrics.means", "metrics.correlation"],
    ["metrics.operating", "metrics.overlap", "metrics.functions"],
    ["metrics", "optimizers", "callbacks", "data"],
    ["objective"],
    ["_door"],
    ["truncated"],
    ["prediction"],
    ["training"],
    ["summary", "streaming"],
    ["models"],
    ["_watched", "_diagrams"],
    ["inspect"],
    ["plot"],
    ["utils", "testing", "datasets", "datasets.sunspots"],
    [""],
]
LEVEL = {f"cgru.{m}".rstrip("."): i for i, row in enumerate(ORDER) for m in row}


def imports(path):
    """The cgru modules that a file imports when it is imported itself."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cgru"):
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in LEVEL else node.module
        elif isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.startswith("cgru"))


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: p.name)
def test_imports_run_one_way(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    module = ".".join(part for part in parts if part != "__init__")
    assert module in LEVEL, f"{module} has no place in the order yet"
    for imported in imports(path):
        assert LEVEL[imported] <= LEVEL[module], f"{module} imports {imported}"


def test_the_source_distribution_has_all_tests_and_their_data(monkeypatch):
    if not (PACKAGE.parent / "MANIFEST.in").exists():
        pytest.skip("not in the sources")
    monkeypatch.chdir(PACKAGE.parent)
    files = pytest.importorskip("setuptools.command.egg_info").FileList()
    for line in Path("MANIFEST.in").read_text().splitlines():
        files.process_template_line(line)
    tests = {str(path) for path in Path("tests").rglob("*") if path.is_file()}
    assert {path for path in tests if "__pycache__" not in path} <= set(files.files)


FENV = """
import ctypes
libm = ctypes.CDLL(None)
def state():
    buffer = ctypes.create_string_buffer(256)
    assert libm.fegetenv(buffer) == 0
    # The x87 control word, and MXCSR without the flags that any arithmetic raises.
    return buffer.raw[:2], int.from_bytes(buffer.raw[28:32], "little") & ~0x3F
import numpy, scipy.linalg
before = state()
tiny = numpy.float32(1e-40)
assert tiny * numpy.float32(0.5) > 0
"""


@pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64",
    reason="knows where glibc puts the state on x86-64 only",
)
def test_the_floating_point_state_stays_as_it_is():
    """Rounding, flush-to-zero, denormals-are-zero and exception masks, by import and by use."""
    use = """
import cgru
assert state() == before, "changed by import"
model = cgru.Sequential([cgru.layers.GRU(3), cgru.layers.Dense(1)])
model.compile("adam", "mse")
model.fit(numpy.ones((4, 5, 2)), numpy.ones(4))
assert state() == before, "changed by fit"
assert tiny * numpy.float32(0.5) > 0
"""
    python(FENV + use)


def test_import_loads_little():
    code = """
import sys, numpy, scipy.linalg
from scipy.linalg import cython_blas
before = set(sys.modules)
import cgru
print(*sorted({name.split(".")[0] for name in set(sys.modules) - before}))
"""
    new = set(python(code).split()) - set(sys.stdlib_module_names)
    assert {name for name in new if not name.startswith("_cy")} == {"cgru"}


def test_import_takes_little_time():
    code = """
import time, numpy, scipy.linalg
start = time.process_time()
import cgru
print(time.process_time() - start)
"""
    assert min(float(python(code)) for _ in range(5)) < 0.1


def test_show_config(capsys):
    assert cgru.show_config() is None
    out = capsys.readouterr().out
    facts = cgru.show_config(mode="dicts")
    for name in ("cgru", "NumPy", "SciPy", "BLAS", "instruction set", "threads"):
        assert name in out
        assert facts[name] in out
    assert cgru.__version__ in out
    with pytest.raises(ValueError, match="mode: expected"):
        cgru.show_config("yaml")


def test_the_instruction_level_can_be_chosen():
    code = "import cgru; print(cgru.show_config('dicts')['instruction set'])"
    assert python(code).startswith(_kernels.isa_levels()[-1])
    for level in _kernels.isa_levels():
        assert python(code, CGRU_ISA=level).startswith(level)
    with pytest.raises(AssertionError, match="CGRU_ISA"):
        python(code, CGRU_ISA="v99")


def test_the_number_of_threads_can_be_chosen():
    code = "import cgru; print(cgru.get_num_threads())"
    for name in ("CGRU_NUM_THREADS", "OMP_NUM_THREADS"):
        assert python(code, **{name: "1"}) == "1"
    with pytest.raises(AssertionError, match="CGRU_NUM_THREADS: expected an integer >= 1"):
        python(code, CGRU_NUM_THREADS="many")


THREADS = """
import threading, os
import numpy as np
import cgru
cgru.set_num_threads(2)
model = cgru.Sequential([cgru.layers.GRU(32), cgru.layers.Dense(1)])
x = np.ones((32, 20, 8), np.float32)
model.predict(x)
"""


def test_one_seed_gives_the_same_weights_in_every_process():
    train = """
import hashlib
cgru.utils.set_random_seed(3)
model = cgru.Sequential([cgru.layers.GRU(32), cgru.layers.Dropout(0.2), cgru.layers.Dense(1)])
model.compile("adam", "mse")
model.fit(np.random.rand(300, 20, 8), np.random.rand(300), epochs=3)
print(hashlib.sha256(model.theta.tobytes()).hexdigest())
"""
    assert python(THREADS + train) == python(THREADS + train)


def test_small_products_leave_the_number_of_threads_as_it_was():
    work = """
def work():
    for _ in range(200):
        model.predict_on_batch(x)
threads = [threading.Thread(target=work) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert cgru.get_num_threads() == 2
"""
    python(THREADS + work)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_computes():
    work = """
stop = threading.Event()
def work():
    while not stop.is_set():
        model.predict_on_batch(x)
thread = threading.Thread(target=work)
thread.start()
for _ in range(20):
    child = os.fork()
    if child == 0:
        model.predict_on_batch(x)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
stop.set()
thread.join()
"""
    python(THREADS + work)


def test_stubs_are_complete():
    tree = ast.parse((PACKAGE / "_kernels.pyi").read_text())
    stubs = {
        node.name: [a.arg for a in node.args.args]
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
    }
    functions = {
        name: value
        for name, value in vars(_kernels).items()
        if not name.startswith("_") and callable(value) and not inspect.isclass(value)
    }
    assert stubs.keys() == functions.keys()
    for name, arguments in stubs.items():
        assert functions[name].__code__.co_varnames[: len(arguments)] == tuple(arguments), name


def test_version_is_that_of_the_installed_package():
    from importlib.metadata import PackageNotFoundError, version

    try:
        assert version("cgru") == cgru.__version__
    except PackageNotFoundError:
        pytest.skip("not installed")


def test_keras_names_are_found_where_keras_has_them():
    import cgru

    for path in (
        "models.load_model", "models.save_model", "saving.load_model", "Layer", "Loss", "Metric",
        "Optimizer", "Initializer", "Regularizer", "initializers.glorot_uniform",
        "initializers.TruncatedNormal", "initializers.Identity", "constraints.max_norm",
        "regularizers.l1_l2", "losses.mean_squared_error", "metrics.binary_accuracy",
        "layers.GlobalAvgPool1D", "layers.MaxPool1D", "utils.register_keras_serializable",
    ):  # fmt: skip
        found = cgru
        for name in path.split("."):
            found = getattr(found, name)
