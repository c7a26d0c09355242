"""What Keras has under a name, cgru has with the same arguments, defaults and kinds of error.

Arguments that may be given by position are those of Keras, in its order; further ones of Keras are
accepted by name.  What differs is in a table, with its reason.
"""

import inspect
import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import numpy as np
import pytest

import cgru
from cgru._configs import arguments

keras = pytest.importorskip("keras")

MODULES = (
    "activations",
    "callbacks",
    "config",
    "constraints",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "models",
    "optimizers",
    "optimizers.schedules",
    "regularizers",
    "utils",
)
METHODS = """
    build compile compute_loss count_params evaluate fit get_config get_layer get_weights
    load_weights predict predict_on_batch reset_states save save_weights set_weights summary
    test_on_batch to_json train_on_batch
"""

# Arguments of Keras that are not here, and why.
LOW_RANK = "adapters and quantization of large language models"
RENORM = "batch renormalization came to Keras after this was written"
AXES = "kernels of sequence layers have their inputs and outputs in the last two axes"
MULTI = "an area for each label: use one metric for each"
STATES = "always float32 or float64, as the layer"
TENSORS = "there are no tensors but arrays"
ABSENT = {
    "dtype": "losses are computed in the dtype of the predictions, metrics in float64",
    "lora_rank": LOW_RANK,
    "lora_alpha": LOW_RANK,
    "quantization_config": LOW_RANK,
    "renorm": RENORM,
    "renorm_clipping": RENORM,
    "renorm_momentum": RENORM,
    "sparse": TENSORS,
    "ragged": TENSORS,
    "optional": TENSORS,
    "tensor": TENSORS,
    "input_tensor": TENSORS,
    "preferred_backend": TENSORS,
    "format": TENSORS,
    "autocast": STATES,
    "input_axes": AXES,
    "output_axes": AXES,
    "multi_label": MULTI,
    "num_labels": MULTI,
    "label_weights": MULTI,
    "from_sorted_ids": "predictions are scores",
    "max_shard_size": "one file",
    "input_tensors": "a clone has inputs of its own",
    "clone_function": "a clone is made of configurations",
    "call_function": "a clone is made of configurations",
    "recursive": "a clone is made of configurations",
}
# The same for one name.
ABSENT_IN = {
    ("metrics.SparseCategoricalCrossentropy", "axis"): "classes are in the last axis",
    ("metrics.CategoricalCrossentropy", "axis"): "classes are in the last axis",
    ("metrics.CosineSimilarity", "axis"): "vectors are in the last axis",
}
OTHERWISE = {
    "optimizers.deserialize": "one function for all kinds of objects",
    "models.Model": "Keras's takes anything",
    "layers.Layer": "the arguments of a base class are given by name",
    "losses.circle": "the arguments of the class; a batch is compared with itself",
    "metrics.Metric": "the dtype of Keras comes first",
}
DEFAULTS = {
    ("losses.Dice", "axis"): "one value for each sample, over the last axis, not one for the batch",
    ("losses.Tversky", "axis"): "as Dice",
    ("losses.dice", "axis"): "as Dice",
    ("losses.tversky", "axis"): "as Dice",
    ("losses.categorical_generalized_cross_entropy", "q"): "the default of the class",
    ("Model.build", "input_shape"): "a model that has an Input need not be told",
    ("Sequential.build", "input_shape"): "a model that has an Input need not be told",
}


def pairs():
    for module in MODULES:
        ours, theirs = cgru, keras
        for part in module.split("."):
            ours, theirs = getattr(ours, part), getattr(theirs, part)
        for name in sorted(vars(theirs)):
            mine, yours = getattr(ours, name, None), getattr(theirs, name)
            if callable(yours) and callable(mine):
                yield f"{module}.{name}", mine, yours
    for cls in ("Model", "Sequential"):
        for name in METHODS.split():
            theirs = getattr(getattr(keras, cls), name, None)
            if theirs is not None:
                yield f"{cls}.{name}", getattr(getattr(cgru, cls), name), theirs
    yield "Input", cgru.Input, keras.Input


PAIRS = {name: found for name, *found in pairs()}


def parameters(function):
    if isinstance(function, cgru.activations.Activation):
        function = function.function
    if inspect.isclass(function):
        function = function.__init__
    elif not inspect.isroutine(function):
        function = function.__call__
    found = inspect.signature(function).parameters.values()
    return [
        p for p in found if p.name != "self" and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
    ]


@pytest.mark.parametrize("name", PAIRS)
def test_arguments(name):
    if name in OTHERWISE:
        return
    ours, theirs = PAIRS[name]
    mine, yours = parameters(ours), parameters(theirs)
    if name.endswith(".get"):  # whose last argument is what an error message speaks of
        mine = mine[:1]
    positional = [p.name for p in mine if p.kind is not p.KEYWORD_ONLY]
    assert positional == [p.name for p in yours][: len(positional)]
    accepted = set(arguments(ours)) if inspect.isclass(ours) else {p.name for p in mine}
    missing = [p.name for p in yours if p.name not in accepted]
    assert [key for key in missing if key not in ABSENT and (name, key) not in ABSENT_IN] == []
    defaults = {p.name: p.default for p in mine}
    for p in yours:
        if p.name in defaults and p.name != "name" and (name, p.name) not in DEFAULTS:
            assert defaults[p.name] == p.default, p.name


NAMED = [
    name
    for name, (ours, theirs) in PAIRS.items()
    if inspect.isclass(ours)
    and name.split(".")[0] in ("losses", "metrics", "optimizers", "layers")
    and "name" in arguments(ours)
    and all(p.default is not p.empty for p in [*parameters(ours), *parameters(theirs)])
    and name not in ("layers.InputLayer", "layers.Input")
]


@pytest.mark.parametrize("name", NAMED)
def test_default_names(name):
    ours, theirs = (found().name.rstrip("0123456789").rstrip("_") for found in PAIRS[name])
    assert ours == theirs


PROMISED = {
    "layers": (
        "GRU LSTM SimpleRNN Dense Embedding Masking Bidirectional TimeDistributed Dropout "
        "SpatialDropout1D "
        "GaussianNoise LayerNormalization BatchNormalization Flatten Reshape Permute RepeatVector "
        "Activation ReLU LeakyReLU PReLU ELU Softmax GlobalAveragePooling1D GlobalMaxPooling1D "
        "AveragePooling1D MaxPooling1D Conv1D Rescaling Normalization ZeroPadding1D Cropping1D "
        "Add Subtract Multiply Average Maximum Concatenate Dot Input InputLayer Layer "
        "add subtract multiply average maximum concatenate dot"
    ),
    "losses": (
        "MeanSquaredError MeanAbsoluteError MeanAbsolutePercentageError "
        "MeanSquaredLogarithmicError Huber LogCosh KLDivergence Poisson Hinge SquaredHinge "
        "CategoricalHinge CosineSimilarity BinaryCrossentropy CategoricalCrossentropy "
        "SparseCategoricalCrossentropy BinaryFocalCrossentropy CategoricalFocalCrossentropy get"
    ),
    "metrics": (
        "Precision Recall AUC F1Score FBetaScore TopKCategoricalAccuracy "
        "SparseTopKCategoricalAccuracy Accuracy BinaryAccuracy CategoricalAccuracy "
        "SparseCategoricalAccuracy MeanAbsoluteError MeanSquaredError RootMeanSquaredError Mean get"
    ),
    "optimizers": "SGD RMSprop Adam AdamW Nadam Adamax Adagrad Adadelta Lion get",
    "optimizers.schedules": (
        "ExponentialDecay CosineDecay CosineDecayRestarts PiecewiseConstantDecay PolynomialDecay "
        "InverseTimeDecay LearningRateSchedule"
    ),
    "callbacks": (
        "Callback History EarlyStopping ModelCheckpoint ReduceLROnPlateau LearningRateScheduler "
        "CSVLogger TerminateOnNaN LambdaCallback BackupAndRestore TensorBoard"
    ),
    "models": "Model Sequential clone_model model_from_json load_model",
    "utils": (
        "to_categorical pad_sequences timeseries_dataset_from_array set_random_seed split_dataset"
    ),
}


@pytest.mark.parametrize("module", PROMISED)
def test_promised_names(module):
    ours, theirs = cgru, keras
    for part in module.split("."):
        ours, theirs = getattr(ours, part), getattr(theirs, part)
    names = PROMISED[module].split()
    assert [name for name in names if not hasattr(ours, name)] == []
    assert [name for name in names if not hasattr(theirs, name)] == []


def test_activations_initializers_regularizers_and_constraints_are_all_there():
    for module in ("activations", "initializers", "regularizers", "constraints"):
        theirs = [name for name in vars(getattr(keras, module)) if not name.startswith("_")]
        missing = [name for name in theirs if not hasattr(getattr(cgru, module), name)]
        assert [name for name in missing if name not in ELSEWHERE] == []


ELSEWHERE = [
    *("glu", "threshold"),  # need an argument, and have no layer here
    *("deserialize", "serialize"),  # objects have from_config and get_config
    *("STFT", "STFTInitializer", "stft"),  # for spectrograms
]


def model(library):
    layers = library.layers
    found = library.Sequential(
        [library.Input((4, 3)), layers.GRU(2, name="gru"), layers.Dense(1, name="dense")]
    )
    found.compile("sgd", "mse")
    return found


X, Y = np.zeros((6, 4, 3), "f4"), np.zeros((6, 1), "f4")
MISTAKES = {
    "activation": lambda k: k.layers.Dense(2, activation="no such"),
    "loss": lambda k: k.losses.get("no such"),
    "optimizer": lambda k: k.optimizers.get("no such"),
    "initializer": lambda k: k.layers.Dense(2, kernel_initializer="no such"),
    "compile": lambda k: model(k).compile("no such", "mse"),
    "rank for GRU": lambda k: k.layers.GRU(2)(np.zeros((2, 3), "f4")),
    "rank for Dense": lambda k: k.layers.Dense(2)(np.zeros(3, "f4")),
    "rank for Conv1D": lambda k: k.layers.Conv1D(2, 2)(np.zeros((2, 3), "f4")),
    "units 0": lambda k: k.layers.GRU(0),
    "units -1": lambda k: k.layers.Dense(-1),
    "units 'a'": lambda k: k.layers.Dense("a"),
    "padding": lambda k: k.layers.Conv1D(2, 2, padding="no such"),
    "rate": lambda k: k.layers.Dropout(2.0),
    "merge mode": lambda k: k.layers.Bidirectional(k.layers.GRU(2), merge_mode="no such"),
    "samples of x and y": lambda k: model(k).fit(X, Y[:5], verbose=0),
    "features": lambda k: k.Sequential([k.Input((4, 3)), k.layers.Dense(1)]).predict(X[..., :2]),
    "shapes of weights": lambda k: model(k).set_weights([np.zeros((1, 1))] * 5),
    "number of weights": lambda k: model(k).set_weights([]),
    "name of a layer": lambda k: model(k).get_layer("no such"),
    "place of a layer": lambda k: model(k).get_layer(index=7),
    "no arguments": lambda k: model(k).get_layer(),
    "unknown argument": lambda k: k.layers.Dense(2, no_such=1),
    "Dense without units": lambda k: k.layers.Dense(),
    "not a layer": lambda k: k.Sequential([3]),
    "not compiled": lambda k: k.Sequential([k.Input((4, 3)), k.layers.GRU(1)]).fit(X, Y),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_kinds_of_errors(mistake):
    with pytest.raises(Exception) as theirs:  # noqa: PT011
        MISTAKES[mistake](keras)
    with pytest.raises(type(theirs.value)):
        MISTAKES[mistake](cgru)
