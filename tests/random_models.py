"""Random models, as Hypothesis draws them: for any library with the layers of Keras."""

import functools

import hypothesis
from hypothesis import strategies as st


def settings(count):
    return hypothesis.settings(
        max_examples=count,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=list(hypothesis.HealthCheck),
    )


units = st.integers(1, 4)
booleans = st.booleans()
activations = st.sampled_from(["linear", "tanh", "sigmoid", "relu", "softplus", "gelu", "selu"])
regularizers = st.sampled_from([None, None, "l1", "l2", "l1l2"])
# Outputs are often 0, where JAX says that the slope of abs is 1; here it is 0, as in TensorFlow and
# PyTorch.  So no l1 on outputs.
activity_regularizers = st.sampled_from([None, None, "l2"])


def options(**strategies):
    return st.fixed_dictionaries(strategies)


RECURRENT = dict(
    units=units,
    activation=st.sampled_from(["tanh", "tanh", "relu", "softsign"]),
    use_bias=booleans,
    go_backwards=booleans,
    return_sequences=booleans,
    zero_output_for_mask=booleans,
    kernel_regularizer=regularizers,
    recurrent_regularizer=regularizers,
    bias_regularizer=regularizers,
    activity_regularizer=activity_regularizers,
)
gates = st.sampled_from(["sigmoid", "sigmoid", "hard_sigmoid"])
CELLS = {
    "GRU": options(**RECURRENT, recurrent_activation=gates, reset_after=booleans),
    "LSTM": options(**RECURRENT, recurrent_activation=gates, unit_forget_bias=booleans),
    # In Keras its activity_regularizer does nothing.
    "SimpleRNN": options(**RECURRENT | {"activity_regularizer": st.none()}),
}
CELL = st.one_of(options(kind=st.just(kind), cell=chosen) for kind, chosen in CELLS.items())
# Keras on JAX keeps the penalty of the last call of a layer only while it trains, and none of one
# that is inside TimeDistributed; here all count.
WITHOUT_PENALTY = {"activity_regularizer": None}
SHARED = CELL.map(lambda chosen: chosen | {"cell": chosen["cell"] | WITHOUT_PENALTY})
DENSE = options(
    units=units,
    activation=activations,
    use_bias=booleans,
    kernel_regularizer=regularizers,
    bias_regularizer=regularizers,
    activity_regularizer=activity_regularizers,
)

POOLING = options(
    pool_size=st.integers(1, 2),
    strides=st.sampled_from([None, 1, 2]),
    padding=st.sampled_from(["valid", "same"]),
)
rates = st.sampled_from([0.0, 0.5])

# What may follow [batch, time, features], with its options; and what may follow [batch, features].
ON_SEQUENCES = {
    **CELLS,
    "Bidirectional": options(
        layer=CELL,
        merge_mode=st.sampled_from(["concat", "sum", "ave", "mul"]),
        backward_layer=st.none() | CELL,
    ),
    # One's last states are where another starts, which reads the same or what the first returns.
    "EncoderDecoder": options(encoder=CELL, layer=CELL),
    "Dense": DENSE,
    "TimeDistributed": options(layer=DENSE.map(lambda chosen: chosen | WITHOUT_PENALTY)),
    "Masking": options(mask_value=st.sampled_from([0.0, 1.0])),
    "LayerNormalization": options(
        center=booleans, scale=booleans, epsilon=st.sampled_from([0.1, 0.5])
    ),
    "BatchNormalization": options(center=booleans, scale=booleans),
    "Dropout": options(rate=rates),
    "SpatialDropout1D": options(rate=rates),
    "GaussianNoise": options(stddev=rates),
    "Activation": options(activation=activations),
    "ReLU": options(max_value=st.sampled_from([None, 0.5])),
    "LeakyReLU": options(negative_slope=st.sampled_from([0.1, 0.3])),
    "PReLU": options(shared_axes=st.just([1])),
    "ELU": options(alpha=st.sampled_from([0.5, 1.0])),
    "Conv1D": options(
        filters=units,
        kernel_size=st.integers(1, 2),
        padding=st.sampled_from(["same", "causal"]),
        dilation_rate=st.integers(1, 2),
        activation=activations,
        use_bias=booleans,
    ),
    "Strided": options(
        filters=units,
        kernel_size=st.integers(1, 3),
        strides=st.integers(1, 3),
        padding=st.sampled_from(["valid", "same", "causal"]),
    ),
    "MaxPooling1D": POOLING,
    "AveragePooling1D": POOLING,
    "ZeroPadding1D": options(padding=st.integers(0, 2)),
    "Cropping1D": options(cropping=st.sampled_from([(0, 1), (1, 0), (1, 1)])),
    "GlobalAveragePooling1D": options(keepdims=booleans),
    "GlobalMaxPooling1D": options(keepdims=booleans),
    "Permute": options(dims=st.just((2, 1))),
    "Reshape": options(keeps_steps=booleans),
    "Flatten": options(),
    "Normalization": options(mean=st.just(0.2), variance=st.just(0.5)),
    "Rescaling": options(scale=st.just(0.5), offset=st.just(0.1)),
    "Residual": options(layer=DENSE, merge=st.sampled_from(["Add", "Average", "Maximum"])),
    "Branches": options(layer=CELL, merge=st.sampled_from(["Concatenate", "Dot"])),
    "Shared": options(layer=SHARED, merge=st.sampled_from(["Add", "Subtract", "Multiply"])),
}
ON_VECTORS = {
    "Dense": DENSE,
    "RepeatVector": options(n=st.integers(1, 4)),
    "LayerNormalization": ON_SEQUENCES["LayerNormalization"],
    "BatchNormalization": ON_SEQUENCES["BatchNormalization"],
    "Dropout": ON_SEQUENCES["Dropout"],
    "Activation": ON_SEQUENCES["Activation"],
    "UnitNormalization": options(),
    "Softmax": options(axis=st.just(-1)),  # Keras's raises an error for [batch, time] masks
    "Residual": ON_SEQUENCES["Residual"],
}


@st.composite
def stacks(draw, noise=True):
    """An input and a list of (layer, options)."""
    shape = (draw(st.integers(1, 5)), draw(st.integers(1, 5)), draw(units))
    tokens = draw(booleans)
    stack = (
        [("Embedding", {"output_dim": draw(units), "mask_zero": draw(booleans)})] if tokens else []
    )
    is_sequence = True
    # A second mask replaces the first in Keras; here steps stay masked, as padding must.
    may_mask = not any(chosen["mask_zero"] for _, chosen in stack)
    for _ in range(draw(st.integers(1, 5))):
        table = ON_SEQUENCES if is_sequence else ON_VECTORS
        name = draw(st.sampled_from([name for name in table if may_mask or name != "Masking"]))
        may_mask = may_mask and name != "Masking"
        chosen = draw(table[name])
        if not noise:
            chosen = chosen | {key: 0.0 for key in ("rate", "stddev") if key in chosen}
        stack.append((name, chosen))
        if name in CELLS:
            is_sequence = chosen["return_sequences"]
        elif name in ("Bidirectional", "EncoderDecoder", "Branches", "Shared"):
            is_sequence = chosen["layer"]["cell"]["return_sequences"]
        elif name.startswith("Global"):
            is_sequence = chosen["keepdims"]
        elif name in ("Flatten", "Reshape", "RepeatVector"):
            is_sequence = name == "RepeatVector" or chosen.get("keeps_steps", False)
    return shape, tokens, stack, draw(st.integers(0, 2**32 - 1))


class Zeroed:
    """Layers whose kernels start with zeros."""

    def __init__(self, layers):
        self.layers = layers

    def __getattr__(self, name):
        layer = getattr(self.layers, name)
        names = dict.fromkeys(CELLS, ("kernel", "recurrent"))
        names |= {"Dense": ("kernel",), "Conv1D": ("kernel",), "Embedding": ("embeddings",)}
        zeros = {f"{part}_initializer": "zeros" for part in names.get(name, ())}
        return functools.partial(layer, **zeros)


def recurrent(layers, chosen, **options):
    """The recurrent layer that was chosen, with other options of some names."""
    return getattr(layers, chosen["kind"])(**chosen["cell"] | options)


def build(library, shape, tokens, stack):
    """The model of a stack, by Keras or by cgru.

    Its weights are set afterwards; JAX would compile each way to draw them.
    """
    layers = Zeroed(library.layers)
    source = library.Input(shape[1:2] if tokens else shape[1:], dtype="int32" if tokens else None)
    x = source
    for name, chosen in stack:
        chosen = dict(chosen)
        if name == "Embedding":
            x = layers.Embedding(7, **chosen)(x)
        elif name == "Bidirectional":
            forward, backward = chosen["layer"], chosen["backward_layer"]
            chosen["layer"] = recurrent(layers, forward, go_backwards=False)
            if backward is not None:
                same = {key: forward["cell"][key] for key in ("units", "return_sequences")}
                chosen["backward_layer"] = recurrent(layers, backward, go_backwards=True, **same)
            x = layers.Bidirectional(**chosen)(x)
        elif name == "EncoderDecoder":
            encoder, decoder = chosen["encoder"], chosen["layer"]
            y, *states = recurrent(layers, encoder, return_state=True)(x)
            reads = y if encoder["cell"]["return_sequences"] else x
            states = (states * 2)[: 2 if decoder["kind"] == "LSTM" else 1]
            # Keras finds no mask for a call with an initial state, unless it is told which.
            told = {"mask": x._keras_mask} if hasattr(x, "_keras_mask") else {}
            decode = recurrent(layers, decoder, units=encoder["cell"]["units"])
            x = decode(reads, initial_state=states, **told)
        elif name == "TimeDistributed":
            x = layers.TimeDistributed(layers.Dense(**chosen["layer"]))(x)
        elif name == "Residual":
            width = x.shape[-1]
            h = layers.Dense(**(chosen["layer"] | {"units": width}))(x)
            x = getattr(layers, chosen["merge"])()([x, h])
        elif name == "Branches":
            pair = [recurrent(layers, chosen["layer"])(x) for _ in range(2)]
            x = layers.Dot(-1)(pair) if chosen["merge"] == "Dot" else layers.Concatenate()(pair)
        elif name == "Shared":
            shared = recurrent(layers, chosen["layer"])
            pair = [shared(x), shared(layers.Activation("tanh")(x))]
            x = getattr(layers, chosen["merge"])()(pair)
        elif name == "BatchNormalization" and x.shape[-1] == 1:
            pass  # Keras's raises an error when it trains with a mask
        elif name == "UnitNormalization":  # away from 0, where it has no direction
            x = layers.UnitNormalization()(layers.Rescaling(1.0, 3.0)(x))
        elif name == "Reshape" and chosen["keeps_steps"]:
            # What has this shape already is the same array in Keras on JAX, with the mask of it.
            x = x if x.shape[-1] == 1 else layers.Reshape((-1, 1))(x)
        elif name == "Reshape":
            x = layers.Reshape((-1,))(x)
        elif name == "Strided":
            chosen["kernel_size"] = min(chosen["kernel_size"], x.shape[1])
            x = layers.Conv1D(**chosen)(x)
        elif name in ("MaxPooling1D", "AveragePooling1D"):
            chosen["pool_size"] = min(chosen["pool_size"], x.shape[1])
            x = getattr(layers, name)(**chosen)(x)
        elif name == "Cropping1D":
            x = x if x.shape[1] < 3 else layers.Cropping1D(**chosen)(x)
        else:
            x = getattr(layers, name)(**chosen)(x)
    return library.Model(source, x)


def inputs(rng, shape, tokens):
    """Tokens; or features, of which some steps are 0, as Masking masks them."""
    if tokens:
        return rng.integers(0, 7, shape[:2])
    x = rng.standard_normal(shape).astype("f4")
    x[rng.random(shape[:2]) < 0.3] = 0
    return x
