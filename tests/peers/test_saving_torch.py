"""Weights go to PyTorch and come from it, and both then compute the same."""

import itertools
import re
from pathlib import Path

import numpy as np
import pytest

import cgru
from cgru.saving import LoadError, MismatchError, from_torch, to_torch

torch = pytest.importorskip("torch")
nn = torch.nn

RECURRENT = {
    "GRU": (nn.GRU, {}),
    "LSTM": (nn.LSTM, {}),
    "RNN": (nn.RNN, {}),
    "RNN with relu": (nn.RNN, {"nonlinearity": "relu"}),
}
TOLERANCE = {"float32": 1e-6, "float64": 1e-12}


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(1)


def agree(got, wanted):
    """To the tolerance, of the largest value where that is above 1."""
    assert got.dtype == wanted.dtype
    tolerance = TOLERANCE[wanted.dtype.name] * max(1, abs(wanted).max())
    np.testing.assert_allclose(got, wanted, rtol=0, atol=tolerance)


def computed(module, x, steps_first=False):
    """What the modules of a chain return, in the shape that cgru has."""
    module.eval()
    y = torch.from_numpy(x.swapaxes(0, 1).copy() if steps_first else x)
    with torch.no_grad():
        for part in module if isinstance(module, nn.Sequential) else [module]:
            y = part(y)
            y = y[0] if isinstance(y, tuple) else y
    y = y.numpy()
    return y.swapaxes(0, 1) if steps_first else y


def check(module, x, steps_first=False):
    """Both ways: from the module, and to it after its weights are lost."""
    model = from_torch(module)
    state = {name: tensor.numpy().copy() for name, tensor in module.state_dict().items()}
    wanted = computed(module, x, steps_first)
    agree(model.predict(x), wanted)

    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    again = to_torch(model, module)
    assert list(again) == list(state)
    for name, array in again.items():
        np.testing.assert_array_equal(array, state[name] if exact(name, module) else array)
    agree(computed(module, x, steps_first), wanted)
    weights = model.get_weights()
    model.set_weights([np.zeros_like(w) for w in weights])
    from_torch(again, model)
    for a, b in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(a, b)


def exact(name, module):
    """Whether a tensor is the same after both ways: not the two biases that become their sum."""
    owner = module.get_submodule(name.rpartition(".")[0])
    return "bias_" not in name or isinstance(owner, nn.GRU)


def recurrent(kind, features, units, dtype="float32", **options):
    cls, fixed = RECURRENT[kind]
    return cls(features, units, dtype=getattr(torch, dtype), **fixed, **options)


@pytest.mark.parametrize("kind", RECURRENT)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_recurrent(rng, kind, dtype):
    x = rng.standard_normal((3, 6, 5)).astype(dtype)
    for number, both, first, bias in itertools.product((1, 3), *[(False, True)] * 3):
        module = recurrent(
            kind, 5, 7, dtype, num_layers=number, bidirectional=both, batch_first=first,
            bias=bias, dropout=0.5 if number > 1 else 0,
        )  # fmt: skip
        check(module, x, steps_first=not first)
        kinds = [type(layer).__name__ for layer in from_torch(module).layers]
        assert kinds.count("Dropout") == number - 1


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(
    "make",
    [
        lambda **k: nn.Linear(5, 3, **k),
        lambda **k: nn.Linear(5, 3, bias=False, **k),
        lambda **k: nn.LayerNorm(5, **k),
        lambda **k: nn.LayerNorm(5, eps=0.1, bias=False, **k),
        lambda **k: nn.Sequential(nn.Dropout(0.3), nn.Linear(5, 2, **k), nn.Identity()),
        lambda **k: nn.Sequential(nn.LayerNorm(5, elementwise_affine=False), nn.Linear(5, 2, **k)),
        *(
            lambda f=f, **k: nn.Sequential(nn.Linear(5, 2, **k), f(), nn.Linear(2, 2, **k))
            for f in (nn.ReLU, nn.Tanh, nn.Sigmoid, nn.SiLU)
        ),
    ],
)
def test_others(rng, make, dtype):
    module = make(dtype=getattr(torch, dtype))
    if isinstance(module, nn.LayerNorm):
        nn.init.normal_(module.weight)
    check(module, rng.standard_normal((4, 5)).astype(dtype))


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_embedding(rng, dtype):
    module = nn.Embedding(9, 4, padding_idx=0, dtype=getattr(torch, dtype))
    check(module, rng.integers(0, 9, (3, 5)))


def random_stack(rng, dtype):
    """A chain of modules with a recurrent one in it, an input for it, and whether time is first."""
    kind = {"dtype": getattr(torch, dtype)}
    features = int(rng.integers(1, 12))
    steps_first = bool(rng.integers(2))
    x = rng.standard_normal((rng.integers(1, 5), rng.integers(1, 9), features)).astype(dtype)
    modules = []
    if rng.random() < 0.3:
        modules.append(nn.Embedding(20, features, **kind))
        x = rng.integers(0, 20, x.shape[:2])
    places = rng.permutation(["recurrent", *rng.choice(MODULES, rng.integers(0, 4))])
    for place in places:
        units = int(rng.integers(1, 20))
        if place == "recurrent":
            both = bool(rng.integers(2))
            modules.append(
                recurrent(
                    rng.choice(list(RECURRENT)),
                    features,
                    units,
                    dtype,
                    num_layers=int(rng.integers(1, 4)),
                    bidirectional=both,
                    batch_first=not steps_first,
                    bias=bool(rng.integers(2)),
                )
            )
            features = units * (1 + both)
        elif place == "Linear":
            modules.append(nn.Linear(features, units, bias=bool(rng.integers(2)), **kind))
            features = units
        elif place == "LayerNorm":
            modules.append(nn.LayerNorm(features, eps=0.01, **kind))
            nn.init.normal_(modules[-1].weight)
        else:
            modules.append(getattr(nn, place)())
    return nn.Sequential(*modules), x, steps_first


MODULES = ["recurrent", "Linear", "LayerNorm", "Dropout", "Tanh", "Identity"]


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_random_stacks(rng, dtype):
    for _ in range(125):
        check(*random_stack(rng, dtype))


class Last(nn.Module):
    """As one writes such a module: the last state of a GRU, and a Linear."""

    def __init__(self, dtype=torch.float32):
        super().__init__()
        self.head = nn.Linear(6, 2, dtype=dtype)  # not in the order in which they are used
        self.rnn = nn.GRU(3, 6, 2, batch_first=True, dtype=dtype)
        self.norm = nn.LayerNorm(6, eps=1e-3, dtype=dtype)

    def forward(self, x):
        return self.head(self.norm(self.rnn(x)[0][:, -1]))


def last(dtype=None):
    return cgru.Sequential(
        [
            cgru.Input((None, 3), dtype=dtype),
            cgru.layers.GRU(6, return_sequences=True, name="first", dtype=dtype),
            cgru.layers.GRU(6, name="second", dtype=dtype),
            cgru.layers.LayerNormalization(name="norm", dtype=dtype),
            cgru.layers.Dense(2, name="head", dtype=dtype),
        ]
    )


NAMES = {"rnn": ["first", "second"], "norm": "norm", "head": "head"}


def test_a_module_of_ones_own(rng):
    x = rng.standard_normal((4, 7, 3)).astype("float32")
    module, model = Last(), last()
    with pytest.raises(LoadError, match="make the model yourself"):
        from_torch(module)
    with pytest.raises(MismatchError, match="expected GRU, got Linear"):
        from_torch(module, model)  # in order
    assert from_torch(module, model, names=NAMES) is model
    agree(model.predict(x), computed(module, x))
    from_torch(module.state_dict(), model, names=NAMES)

    fresh = Last()
    state = to_torch(model, fresh, names=NAMES)
    agree(model.predict(x), computed(fresh, x))
    assert state.keys() == fresh.state_dict().keys() == to_torch(model, names=NAMES).keys()


def test_files_of_pytorch(rng, tmp_path):
    save = pytest.importorskip("safetensors.torch").save_file
    module, model = Last(), last()
    save(module.state_dict(), tmp_path / "net.safetensors")
    with pytest.raises(LoadError, match="names: needed for a file, which has no order"):
        from_torch(tmp_path / "net.safetensors", model)
    from_torch(tmp_path / "net.safetensors", model, names=NAMES)
    for name, array in to_torch(model, names=NAMES).items():
        np.testing.assert_array_equal(array, module.state_dict()[name].numpy())

    chain = nn.Sequential(*(nn.Linear(2, 2) for _ in range(12)))
    save(chain.state_dict(), tmp_path / "chain.safetensors")
    model = from_torch(tmp_path / "chain.safetensors", from_torch(nn.Sequential(*chain)))
    x = rng.standard_normal((3, 2)).astype("float32")
    agree(model.predict(x), computed(chain, x))

    for options in ({}, {"_use_new_zipfile_serialization": False}):
        torch.save(chain.state_dict(), tmp_path / "chain.pt", **options)
        with pytest.raises(LoadError, match="seems to be a pickle.*weights_only=True"):
            from_torch(tmp_path / "chain.pt", model)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Sequential(nn.Linear(2, 2), nn.Conv1d(1, 1, 1)), r"source\[1\].*got Conv1d"),
        (lambda: nn.LSTM(2, 3, proj_size=2), "proj_size"),
        (lambda: nn.Embedding(3, 2, max_norm=1.0), "max_norm"),
        (lambda: nn.LayerNorm((2, 3)), "over one axis"),
        (lambda: nn.Sequential(*[nn.Linear(2, 2)] * 2), "used twice"),
        (lambda: nn.Linear(2, 2).half(), "float16.*module.float"),
        (lambda: nn.Linear(2, 2).bfloat16(), "bfloat16.*module.float"),
        (lambda: nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).double()), "float32.*float64"),
        (lambda: nn.Sequential(nn.Linear(2, 2), nn.Dropout(1.0)), "rate: expected"),
        (lambda: nn.Sequential(), "with weights"),
        (lambda: nn.Dropout(), "with weights"),
        (
            lambda: nn.Sequential(nn.GRU(2, 2, batch_first=True), nn.GRU(2, 2)),
            "one batch_first",
        ),
        (lambda: nn.Sequential(nn.Linear(2, 3), nn.Linear(2, 3)), "1.weight: expected"),
        (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)), "got Parametrized"),
    ],
)
def test_modules_that_are_refused(make, message):
    with pytest.raises(LoadError, match=message):
        from_torch(make())


def test_what_differs_is_refused():
    model = cgru.Sequential([cgru.Input((2,)), cgru.layers.LayerNormalization()])
    with pytest.raises(MismatchError, match=r"expected eps 0.001, got 1e-05"):
        from_torch(nn.LayerNorm(2), model)
    rnn = cgru.Sequential([cgru.Input((None, 2)), cgru.layers.SimpleRNN(2)])
    with pytest.raises(MismatchError, match="expected nonlinearity tanh, got relu"):
        from_torch(nn.RNN(2, 2, nonlinearity="relu"), rnn)
    table = cgru.Sequential([cgru.Input((None,), dtype="int64"), cgru.layers.Embedding(2, 2)])
    with pytest.raises(MismatchError, match="expected Embedding, got Linear"):
        from_torch(nn.Linear(2, 2, bias=False), table)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.ones(2, 2, dtype=torch.bfloat16),
        torch.ones(2, 2).to_sparse(),
        torch.ones(2, 2, device="meta"),
    ],
)
def test_tensors_that_are_no_arrays(tensor):
    model = cgru.Sequential([cgru.Input((2,)), cgru.layers.Dense(2, use_bias=False)])
    with pytest.raises(LoadError, match="dense tensors of float32 or float64.*'weight'"):
        from_torch({"weight": tensor}, model)


def test_a_module_stays_as_it_was_where_weights_do_not_fit():
    module, model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 3)), from_torch(nn.Linear(2, 2))
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with pytest.raises(MismatchError, match="1.weight, 1.bias") as info:
        to_torch(model, module)
    assert info.value.missing == ["1.weight", "1.bias"]
    with pytest.raises(MismatchError, match="expected .* float64, got .* float32"):
        to_torch(model, nn.Linear(2, 2).double())
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_one_tensor_does_not_get_two_values():
    layer = nn.Linear(2, 2)
    model = from_torch(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)))
    with pytest.raises(LoadError, match=r"0.weight and 1.weight are one tensor"):
        to_torch(model, nn.Sequential(layer, layer))
    model.set_weights([*model.get_weights()[:2]] * 2)
    to_torch(model, nn.Sequential(layer, layer))
    np.testing.assert_array_equal(layer.weight.detach().numpy().T, model.get_weights()[0])


def test_examples_with_pytorch(tmp_path, monkeypatch):
    """Those in the documentation that PyTorch is needed for, between the others."""
    pytest.importorskip("safetensors.torch")
    text = (Path(__file__).parents[2] / "docs" / "torch.rst").read_text()
    blocks = re.findall(r"^\.\. code-block:: py(?:thon)?\n\n((?:    .*\n|\n)+)", text, re.M)
    assert len(blocks) == 5
    monkeypatch.chdir(tmp_path)
    import safetensors.torch

    names = {"torch": torch, "nn": nn, "safetensors": safetensors, "cgru": cgru}
    for block in blocks:
        exec(re.sub("^    ", "", block, flags=re.M), names)
    for source in (names["net"], "net.safetensors"):
        cgru.saving.from_torch(source, names["model"], names=names["names"])
    x = np.ones((2, 5, 8), "float32")
    agree(names["model"].predict(x), computed(names["net"], x))


def test_what_is_no_module():
    with pytest.raises(LoadError, match="got SGD"):
        from_torch(torch.optim.SGD(nn.Linear(1, 1).parameters()))
