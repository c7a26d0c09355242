"""Every built-in layer passes the checks of cgru.testing, and broken ones do not."""

import numpy as np
import pytest

import cgru
from cgru import layers
from cgru.testing import check_layer

SEQUENCES = (None, None, 3)
PAIR = [SEQUENCES, SEQUENCES]

# The layers that there are, each as (options, shape of the input) with several options.
CASES = {
    "Activation": [({"activation": name}, SEQUENCES) for name in ("tanh", "softmax", "relu")],
    "ActivityRegularization": [({"l1": 0.1, "l2": 0.2}, SEQUENCES), ({}, (None, 3))],
    "Add": [({}, PAIR), ({}, [SEQUENCES, (None, 3)]), ({}, [SEQUENCES] * 3)],
    "AlphaDropout": [
        ({"rate": 0.4}, SEQUENCES),
        ({"rate": 0.4, "noise_shape": (None, 1, None)}, SEQUENCES),
    ],
    "Average": [({}, PAIR), ({}, [SEQUENCES, (None, 1, 3), (None, 3)])],
    "AveragePooling1D": [
        ({"pool_size": 2}, SEQUENCES),
        ({"pool_size": 3, "strides": 2}, SEQUENCES),
        ({"pool_size": 3, "strides": 1, "padding": "same"}, SEQUENCES),
        ({"pool_size": 2, "strides": 4, "padding": "same"}, SEQUENCES),
    ],
    "BatchNormalization": [
        ({}, SEQUENCES),
        ({"momentum": 0.5, "epsilon": 0.1, "scale": False}, (None, 3)),
        ({"center": False, "axis": 1}, (None, 4, 3)),
    ],
    "Bidirectional": [
        (
            {
                "layer": layers.GRU(2, return_sequences=sequences, return_state=state),
                "merge_mode": mode,
            },
            SEQUENCES,
        )
        for mode in ("concat", "sum", "mul", "ave", None)
        for sequences, state in ((False, False), (True, True))
    ]
    + [
        ({"layer": layers.LSTM(2, return_sequences=True, return_state=True)}, SEQUENCES),
        ({"layer": layers.SimpleRNN(2)}, SEQUENCES),
        ({"layer": layers.SimpleRNN(2), "activity_regularizer": "l2"}, SEQUENCES),
    ],
    "Concatenate": [
        ({}, [SEQUENCES, (None, None, 2)]),
        ({"axis": 1}, [SEQUENCES, SEQUENCES]),
        ({"axis": 1}, [(None, 3), (None, 2), (None, 1)]),
        ({"axis": -2}, [(None, 4, 3), (None, 5, 3)]),
    ],
    "Conv1D": [
        ({"filters": 2, "kernel_size": 3}, SEQUENCES),
        ({"filters": 2, "kernel_size": 3, "padding": "same", "activation": "tanh"}, SEQUENCES),
        (
            {"filters": 4, "kernel_size": 2, "padding": "causal", "dilation_rate": 2, "groups": 2},
            (None, None, 4),
        ),
        ({"filters": 3, "kernel_size": 2, "strides": 2, "use_bias": False, "groups": 3}, SEQUENCES),
        ({"filters": 3, "kernel_size": 4, "strides": 3, "padding": "same"}, SEQUENCES),
        ({"filters": 1, "kernel_size": 1, "strides": 2}, SEQUENCES),
    ],
    "Cropping1D": [
        ({}, SEQUENCES),
        ({"cropping": (0, 2)}, SEQUENCES),
        ({"cropping": 0}, SEQUENCES),
    ],
    "Dense": [
        ({"units": 2}, SEQUENCES),
        ({"units": 1, "activation": "softmax", "use_bias": False}, (None, 3)),
        ({"units": 2, "activity_regularizer": "l2", "kernel_regularizer": "l1"}, (None, 2, 2, 3)),
    ],
    "Dot": [
        ({"axes": 2}, [SEQUENCES, (None, 4, 3)]),
        ({"axes": (1, 2), "normalize": True}, [(None, 4, 3), (None, 2, 4)]),
        ({"axes": -1, "normalize": True}, [(None, 3), (None, 3)]),
        ({"axes": 1}, [(None, 3), (None, 3, 2)]),
    ],
    "Dropout": [
        ({"rate": 0.4}, SEQUENCES),
        ({"rate": 0.4, "noise_shape": (None, 1, None), "seed": 3}, SEQUENCES),
        ({"rate": 0.0}, (None, 3)),
    ],
    "ELU": [({}, SEQUENCES), ({"alpha": 0.3}, (None, 3))],
    "Embedding": [
        ({"input_dim": 5, "output_dim": 2}, (None, None)),
        ({"input_dim": 5, "output_dim": 2, "mask_zero": True}, (None, None)),
        ({"input_dim": 2, "output_dim": 1, "embeddings_regularizer": "l2"}, (None, 3, 2)),
        ({"input_dim": 2, "output_dim": 3}, (None,)),
    ],
    "Flatten": [({}, (None, 4, 3)), ({}, (None, 3)), ({}, (None,))],
    "GRU": [
        ({"units": 2}, SEQUENCES),
        (
            {"units": 2, "return_sequences": True, "return_state": True, "go_backwards": True},
            SEQUENCES,
        ),
        (
            {"units": 2, "reset_after": False, "return_sequences": True, "use_bias": False},
            SEQUENCES,
        ),
        ({"units": 2, "dropout": 0.3, "recurrent_dropout": 0.3, "seed": 4}, SEQUENCES),
        ({"units": 2, "zero_output_for_mask": True, "return_sequences": True}, SEQUENCES),
        ({"units": 2, "activation": "softsign", "stateful": True}, SEQUENCES),
        (
            {"units": 2, "activity_regularizer": "l2", "recurrent_activation": "hard_sigmoid"},
            SEQUENCES,
        ),
    ],
    "LSTM": [
        ({"units": 2}, SEQUENCES),
        (
            {"units": 2, "return_sequences": True, "return_state": True, "go_backwards": True},
            SEQUENCES,
        ),
        ({"units": 2, "use_bias": False, "return_sequences": True}, SEQUENCES),
        ({"units": 2, "unit_forget_bias": False, "stateful": True}, SEQUENCES),
        ({"units": 2, "dropout": 0.3, "recurrent_dropout": 0.3, "seed": 4}, SEQUENCES),
        ({"units": 2, "zero_output_for_mask": True, "return_sequences": True}, SEQUENCES),
        (
            {"units": 2, "activation": "softsign", "recurrent_activation": "hard_sigmoid"},
            SEQUENCES,
        ),
        ({"units": 2, "activity_regularizer": "l2", "return_state": True}, SEQUENCES),
    ],
    "SimpleRNN": [
        ({"units": 2}, SEQUENCES),
        (
            {"units": 2, "return_sequences": True, "return_state": True, "go_backwards": True},
            SEQUENCES,
        ),
        ({"units": 2, "use_bias": False, "return_sequences": True}, SEQUENCES),
        ({"units": 2, "dropout": 0.3, "recurrent_dropout": 0.3, "seed": 4}, SEQUENCES),
        ({"units": 2, "zero_output_for_mask": True, "return_sequences": True}, SEQUENCES),
        ({"units": 2, "activation": "softsign", "stateful": True}, SEQUENCES),
        ({"units": 2, "activity_regularizer": "l2"}, SEQUENCES),
    ],
    "GaussianDropout": [({"rate": 0.4}, SEQUENCES), ({"rate": 0.4, "seed": 3}, (None, 3))],
    "GaussianNoise": [({"stddev": 0.4}, SEQUENCES), ({"stddev": 0.4, "seed": 3}, (None, 3))],
    "GlobalAveragePooling1D": [({}, SEQUENCES), ({"keepdims": True}, SEQUENCES)],
    "GlobalMaxPooling1D": [({}, SEQUENCES), ({"keepdims": True}, SEQUENCES)],
    "Identity": [({}, SEQUENCES), ({}, (None, 3))],
    "LayerNormalization": [
        ({}, SEQUENCES),
        ({"axis": [1, 2], "epsilon": 0.1}, (None, 4, 3)),
        ({"axis": 1, "scale": False}, (None, 4, 3)),
        ({"center": False, "axis": -1}, (None, 3)),
    ],
    "LeakyReLU": [({}, SEQUENCES), ({"negative_slope": 0.5}, (None, 3))],
    "Masking": [({}, SEQUENCES), ({"mask_value": -1.0}, SEQUENCES)],
    "MaxPooling1D": [
        ({}, SEQUENCES),
        ({"pool_size": 3, "strides": 1, "padding": "same"}, SEQUENCES),
        ({"pool_size": 2, "strides": 4, "padding": "same"}, SEQUENCES),
    ],
    "Maximum": [({}, PAIR), ({}, [SEQUENCES, (None, 3)]), ({}, [SEQUENCES] * 3)],
    "Minimum": [({}, PAIR), ({}, [SEQUENCES, (None, 3)]), ({}, [SEQUENCES] * 3)],
    "Multiply": [({}, PAIR), ({}, [SEQUENCES, (None, 3)]), ({}, [SEQUENCES] * 3)],
    "Normalization": [
        ({}, SEQUENCES),
        ({"mean": [1.0, 2.0, 3.0], "variance": [1.0, 4.0, 9.0]}, SEQUENCES),
        ({"axis": None, "mean": 1.0, "variance": 4.0, "invert": True}, SEQUENCES),
        ({"axis": (1, 2)}, (None, 4, 3)),
    ],
    "PReLU": [
        ({}, (None, 4, 3)),
        ({"shared_axes": [1]}, SEQUENCES),
        ({"shared_axes": 2, "alpha_initializer": "ones"}, (None, 4, 3)),
    ],
    "Permute": [({"dims": (2, 1)}, SEQUENCES), ({"dims": (3, 1, 2)}, (None, 2, 3, 4))],
    "ReLU": [
        ({}, SEQUENCES),
        ({"max_value": 1.0, "negative_slope": 0.2, "threshold": 0.3}, SEQUENCES),
        ({"max_value": 0.5}, (None, 3)),
    ],
    "RepeatVector": [({"n": 3}, (None, 3)), ({"n": 1}, (None, 3))],
    "Rescaling": [({"scale": 2.0}, SEQUENCES), ({"scale": 0.5, "offset": -1.0}, (None, 3))],
    "Reshape": [
        ({"target_shape": (2, 6)}, (None, 4, 3)),
        ({"target_shape": (-1,)}, (None, 4, 3)),
        ({"target_shape": (-1, 3)}, SEQUENCES),
    ],
    "Softmax": [({}, SEQUENCES), ({"axis": 1}, (None, 4, 3)), ({"axis": (1, 2)}, (None, 4, 3))],
    "SpatialDropout1D": [({"rate": 0.4}, SEQUENCES), ({"rate": 0.4, "seed": 3}, SEQUENCES)],
    "Subtract": [({}, PAIR), ({}, [SEQUENCES, (None, 3)])],
    "TimeDistributed": [
        ({"layer": layers.Dense(2, activation="tanh")}, SEQUENCES),
        ({"layer": layers.BatchNormalization()}, SEQUENCES),
        ({"layer": layers.Conv1D(2, 2)}, (None, None, 4, 3)),
        ({"layer": layers.Embedding(3, 2)}, (None, None, 2)),
        ({"layer": layers.Dropout(0.3, seed=2)}, SEQUENCES),
    ],
    "UnitNormalization": [
        ({}, SEQUENCES),
        ({"axis": [1, 2]}, (None, 4, 3)),
        ({"axis": 1}, SEQUENCES),
    ],
    "UpSampling1D": [({}, SEQUENCES), ({"size": 3}, SEQUENCES)],
    "ZeroPadding1D": [({}, SEQUENCES), ({"padding": (0, 2)}, SEQUENCES)],
}  # fmt: skip
NO_LAYERS = {"Input", "InputLayer", "Layer", "Merge"}  # a function, and what they are made of


def test_no_layer_is_left_out():
    classes = {name for name in layers.__all__ if isinstance(getattr(layers, name), type)}
    assert CASES.keys() == classes - NO_LAYERS


@pytest.mark.parametrize(
    ("name", "options", "shape"),
    [(name, *case) for name, cases in CASES.items() for case in cases],
    ids=[f"{name}-{place}" for name, cases in CASES.items() for place in range(len(cases))],
)
def test_built_in_layers(name, options, shape):
    check_layer(getattr(layers, name)(**options), shape)


def test_the_layer_stays_as_it_is():
    layer = layers.Dense(2)
    check_layer(layer, (None, 3))
    assert not layer.built
    layer([[1.0, 2.0, 3.0]])
    kernel = layer.kernel.numpy()
    check_layer(layer, (None, 3))
    np.testing.assert_array_equal(layer.kernel, kernel)


def test_inputs_can_be_drawn():
    drawn = []

    def draw(rng, shape):
        drawn.append(shape)
        return rng.integers(0, 7, shape)

    check_layer(lambda: layers.Embedding(7, 2), (None, None), draw=draw)
    assert {(3, 6), (1, 9)} <= set(drawn)


def test_a_model_is_not_checked():
    with pytest.raises(TypeError, match="layer: expected one that is no model, got <Sequential"):
        check_layer(cgru.Sequential([layers.Dense(2)]), (None, 3))


class Scale(layers.Layer):
    """``factor x + shift``: what the broken ones change a part of."""

    def __init__(self, shift=0.0, rate=0.0, **kwargs):
        super().__init__(**kwargs)
        self.shift = shift
        self.rate = rate

    def build(self, input_shape):
        self.factor = self.add_weight((input_shape[-1],), "ones", name="factor")

    def forward(self, x, needs_input_grad=True):
        factor = self.factor.value

        def backward(dy):
            if self.trainable:
                self.factor.grad += (dy * x).reshape(-1, x.shape[-1]).sum(axis=0)
            return dy * factor if needs_input_grad else None

        return x * factor + x.dtype.type(self.shift), backward


class WrongGradient(Scale):
    def forward(self, x):
        y, backward = super().forward(x)
        return y, lambda dy: backward(dy) * 1.001


class NoGradient(Scale):
    def forward(self, x):
        y, backward = super().forward(x)
        return y, lambda dy: backward(dy)[..., :0]


class WrongWeightGradient(Scale):
    def forward(self, x):
        return super().forward(x)[0], lambda dy: dy * self.factor.value


class SetsTheGradient(Scale):
    def forward(self, x):
        def backward(dy):
            self.factor.grad[...] = (dy * x).reshape(-1, x.shape[-1]).sum(axis=0)
            return dy * self.factor.value

        return super().forward(x)[0], backward


class TrainsWhereFrozen(Scale):
    def forward(self, x):
        def backward(dy):
            self.factor.grad += (dy * x).reshape(-1, x.shape[-1]).sum(axis=0)
            return dy * self.factor.value

        return super().forward(x)[0], backward


class WrongShape(Scale):
    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 7)


class OneSizeOnly(Scale):
    def forward(self, x):
        y, backward = super().forward(x)
        return y.reshape(-1, 6, 3), backward


class WritesToItsInput(Scale):
    def forward(self, x):
        y, backward = super().forward(x)
        x[0] = 0
        return y, backward


class WritesToTheGradient(Scale):
    def forward(self, x):
        y, backward = super().forward(x)

        def write(dy):
            dx = backward(dy)
            dy *= 2
            return dx

        return y, write


class LosesAnOption(Scale):
    def get_config(self):
        config = super().get_config()
        del config["shift"]
        return config


class LosesATrainingOption(Scale):
    def forward(self, x, training=False):
        y, backward = super().forward(x)
        return y + self.rate * training, backward

    def get_config(self):
        return super().get_config() | {"rate": 0.5}


class ChangesAnOption(Scale):
    def __init__(self, shift=0.0, **kwargs):
        super().__init__(shift + 1, **kwargs)


class NoKeywords(Scale):
    def __init__(self):
        super().__init__()


class NotForJson(Scale):
    def get_config(self):
        return super().get_config() | {"rate": np.zeros(3)}


class Changes(Scale):
    calls = 0

    def forward(self, x):
        self.calls += 1
        y, backward = super().forward(x)
        return y + self.calls, backward


class RandomWithoutASeed(Scale):
    def forward(self, x, training=False):
        y, backward = super().forward(x)
        return y + (np.random.default_rng().random() if training else 0), backward


class AlwaysDouble(Scale):
    def forward(self, x):
        y, backward = super().forward(x)
        return y.astype("float64"), backward


class ByMemory(Scale):
    def forward(self, x):
        return super().forward(x.ravel(order="K").reshape(x.shape))


class IgnoresItsMask(Scale):
    def forward(self, x, mask=None):
        y, backward = super().forward(x)
        return y + x.mean(axis=1, keepdims=True), backward


class LetsNanThrough(Scale):
    def forward(self, x, mask=None):
        y, backward = super().forward(x)
        kept = x if mask is None else x * mask[..., np.newaxis]
        return y + kept.mean(axis=1, keepdims=True), backward


class WrongMask(Scale):
    def compute_mask(self, x, mask):
        return None if mask is None else mask[:, :-1]


class SecretMask(Scale):
    def compute_mask(self, x, mask):
        return x[..., 0] > 0


class NotStepwise(Scale):
    stepwise = True

    def forward(self, x):
        y, backward = super().forward(x)
        return y + x.mean(axis=1, keepdims=True), backward


class ForgetsItsState(Scale):
    stepwise = True

    def forward(self, x):
        y, backward = super().forward(x.cumsum(axis=1))
        return y, lambda dy: backward(dy)[:, ::-1].cumsum(axis=1)[:, ::-1]


class NeedsAllGradients(Scale):
    def compute_output_shape(self, input_shape):
        return input_shape, input_shape

    def forward(self, x):
        y, backward = super().forward(x)
        return (y, y), lambda dy: backward(dy[0] + dy[1])


class ForgetsItsWeights(Scale):
    def __deepcopy__(self, memo):
        made = type(self)(name=self.name, dtype=self.dtype)
        made.ensure_built((None, None, 3))
        return made


BROKEN = {
    WrongGradient: r"gradients: of x at \(0, 0, 0\): expected .*, got ",
    NoGradient: "gradients: of x: expected shape",
    WrongWeightGradient: r"gradients: of .*/factor at \(0,\): expected .*, got 0$",
    SetsTheGradient: "gradients: of .*/factor",
    TrainsWhereFrozen: "frozen: .* trainable=False",
    WrongShape: r"shapes: compute_output_shape\(.*\) says \[\(3, 6, 7\)\], got \[\(3, 6, 3\)\]",
    OneSizeOnly: "shapes: ValueError",
    WritesToItsInput: "writes: x was written to",
    WritesToTheGradient: "writes: dy was written to",
    LosesAnOption: "copies: a copy by get_config gives other outputs$",
    LosesATrainingOption: "copies: a copy by get_config gives other outputs in training",
    ChangesAnOption: "config: expected .* from a layer made of it",
    NoKeywords: "config: .* missing: the constructor has to hand on",
    NotForJson: "config: TypeError",
    Changes: "determinism: two calls with the same x differ",
    RandomWithoutASeed: "determinism: two layers with the same seed differ",
    AlwaysDouble: "dtypes: output: expected float32, got {'float64'}",
    ByMemory: "memory: outputs",
    IgnoresItsMask: "masks: what comes of valid steps, with 5",
    LetsNanThrough: "masks: what comes of valid steps, with nan",
    WrongMask: "masks: compute_mask: expected bool of shape",
    SecretMask: "masks: compute_mask makes a mask of none",
    NotStepwise: "steps: first steps of a stepwise layer",
    ForgetsItsState: "steps: last steps of a stepwise layer that carries no state",
    NeedsAllGradients: "unused: TypeError",
    ForgetsItsWeights: "copies: a copy by deepcopy gives",
}


def test_a_layer_that_is_right_passes():
    check_layer(Scale(shift=2.0), (None, None, 3))
    check_layer(Scale, (None, 3))


@pytest.mark.parametrize("cls", BROKEN, ids=lambda cls: cls.__name__)
def test_broken_layers_are_found(cls):
    factory = cls if cls is NoKeywords else lambda: cls(shift=2.0)
    with pytest.raises(
        AssertionError, match=f"^{cgru._checks.snake_case(cls.__name__)}.*, {BROKEN[cls]}"
    ):
        check_layer(factory, (None, None, 3))


def test_softmax_over_time_leaves_masked_steps_out(rng):
    x = rng.standard_normal((2, 5, 3)).astype("f4")
    mask = np.array([[True, True, False, True, False], [False] * 5])
    y = layers.Softmax(axis=1)(x, mask=mask)
    np.testing.assert_allclose(y[0, mask[0]], layers.Softmax(axis=1)(x[:1, mask[0]])[0], rtol=1e-6)
    assert not y[0, ~mask[0]].any()
    assert not y[1].any(), "nothing where there is no step at all"
    np.testing.assert_array_equal(layers.Softmax()(x, mask=mask), layers.Softmax()(x))


@pytest.mark.parametrize("name", ["Add", "Multiply", "Maximum", "Minimum", "Average", "Subtract"])
def test_masks_of_merged_inputs_are_broadcast_with_them(rng, name):
    x = [rng.standard_normal(shape).astype("f4") for shape in ((2, 5, 3), (2, 1, 3))]
    masks = [rng.random((2, 5)) < 0.6, np.array([[True], [False]])]
    wide = [x[0], np.repeat(x[1], 5, axis=1)]
    wide_masks = [masks[0], np.repeat(masks[1], 5, axis=1)]
    layer = getattr(layers, name)()
    np.testing.assert_array_equal(layer(x, mask=masks), layer(wide, mask=wide_masks))
    np.testing.assert_array_equal(
        layer.compute_mask(x, masks), layer.compute_mask(wide, wide_masks)
    )
