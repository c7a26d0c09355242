"""What Keras computes for recurrent layers: outputs and gradients, into recurrent.npz.

Run by hand, where Keras and JAX are: ``KERAS_BACKEND=jax python tests/golden/make_recurrent.py``.
The tests need the file alone.
"""

from pathlib import Path

import numpy as np

PATH = Path(__file__).with_name("recurrent.npz")
SHAPE = (3, 5, 4)
ACTIVATIONS = ["linear", "relu", "elu", "softplus", "softsign", "silu", "gelu", "hard_sigmoid"]

# name -> class, its options, and "mask" or "state" where it is called with them
CASES = {
    "plain": ("GRU", {}, ""),
    "state": ("GRU", {}, "state"),
    "mask": ("GRU", {}, "mask"),
    "no_bias": ("GRU", {"use_bias": False, "return_sequences": True}, ""),
    "before": ("GRU", {"reset_after": False}, "mask state"),
    "before_no_bias": ("GRU", {"reset_after": False, "use_bias": False}, ""),
    "sequences": ("GRU", {"return_sequences": True}, "mask state"),
    "states": ("GRU", {"return_sequences": True, "return_state": True}, "mask"),
    "backwards": (
        "GRU",
        {"go_backwards": True, "return_sequences": True, "return_state": True},
        "mask state",
    ),
    "zero": ("GRU", {"zero_output_for_mask": True, "return_sequences": True}, "mask state"),
    "zero_last": ("GRU", {"zero_output_for_mask": True}, "mask"),
    "zero_back": ("GRU", {"zero_output_for_mask": True, "go_backwards": True}, "mask state"),
    "unroll": ("GRU", {"unroll": True, "implementation": 1}, ""),
    **{f"activation_{name}": ("GRU", {"activation": name}, "") for name in ACTIVATIONS},
    "recurrent_activation": ("GRU", {"recurrent_activation": "hard_sigmoid"}, "mask"),
    **{
        f"bidirectional_{mode}_{sequences}": (
            "Bidirectional",
            {"merge_mode": mode, "layer": {"return_sequences": sequences}},
            "mask" if mode in ("concat", "sum") else "",
        )
        for mode in ("concat", "sum", "ave", "mul", None)
        for sequences in (False, True)
    },
    "bidirectional_states": (
        "Bidirectional",
        {"layer": {"return_sequences": True, "return_state": True}},
        "mask state2",
    ),
    "bidirectional_two": (
        "Bidirectional",
        {"layer": {}, "backward_layer": {"units": 4, "go_backwards": True, "reset_after": False}},
        "",
    ),
    "time_distributed": ("TimeDistributed", {"layer": {}}, ""),
    "lstm": ("LSTM", {}, "mask state"),
    "lstm_plain": ("LSTM", {"use_bias": False}, ""),
    "lstm_states": (
        "LSTM",
        {"return_sequences": True, "return_state": True, "go_backwards": True},
        "mask state",
    ),
    "lstm_zero": ("LSTM", {"zero_output_for_mask": True, "return_sequences": True}, "mask"),
    "lstm_steps": (
        "LSTM",
        {"activation": "softsign", "recurrent_activation": "hard_sigmoid", "return_state": True},
        "mask state",
    ),
    "simple": ("SimpleRNN", {}, "mask state"),
    "simple_plain": ("SimpleRNN", {"use_bias": False}, ""),
    "simple_states": (
        "SimpleRNN",
        {"return_sequences": True, "return_state": True, "go_backwards": True},
        "mask state",
    ),
    "simple_steps": ("SimpleRNN", {"activation": "relu", "return_sequences": True}, "mask state"),
}


def make(layers, kind, options):
    """The layer of a case, from `layers` of Keras or of cgru."""
    options = dict(options)
    if kind in ("GRU", "LSTM", "SimpleRNN"):
        return getattr(layers, kind)(2, **options)
    if kind == "TimeDistributed":
        return layers.TimeDistributed(layers.Dense(3, activation="tanh"))
    inner = layers.GRU(**({"units": 2} | options.pop("layer")))
    if "backward_layer" in options:
        options["backward_layer"] = layers.GRU(**options["backward_layer"])
    return layers.Bidirectional(inner, **options)


def main():
    import jax
    import keras

    rng = np.random.default_rng(1)
    stored = {}
    for name, (kind, options, given) in CASES.items():
        layer = make(keras.layers, kind, options)
        x = rng.standard_normal(SHAPE).astype("f4")
        mask = rng.random(SHAPE[:2]) < 0.6
        count = 2 if "state2" in given or kind == "LSTM" else 1
        states = [rng.standard_normal((SHAPE[0], 2)).astype("f4") for _ in range(count)]
        layer.build(SHAPE)
        for weight in layer.weights:
            weight.assign(rng.standard_normal(weight.shape) * 0.5)
        arguments = {"mask": mask} if "mask" in given else {}

        def call(weights, x, states, layer=layer, arguments=arguments, given=given):
            more = {"initial_state": states} if "state" in given else {}
            others = [v.value for v in layer.non_trainable_variables]
            y, _, losses = layer.stateless_call(
                weights, others, x, return_losses=True, **arguments, **more
            )
            return (*y, *losses) if isinstance(y, (tuple, list)) else (y, *losses)

        weights = [weight.value for weight in layer.trainable_variables]
        y, vjp = jax.vjp(call, weights, x, states)
        dy = tuple(
            np.float32(rng.standard_normal(part.shape)) if part.ndim else np.float32(1)
            for part in y
        )
        dweights, dx, dstates = vjp(dy)
        parts = {"x": [x], "mask": [mask], "state": states, "weight": weights, "y": y}
        parts |= {"dy": dy, "dx": [dx], "dstate": dstates, "dweight": dweights}
        for part, arrays in parts.items():
            for place, array in enumerate(arrays):
                stored[f"{name}/{part}/{place}"] = np.asarray(array)
    np.savez_compressed(PATH, **stored)
    print(PATH, PATH.stat().st_size, "bytes, Keras", keras.__version__)


if __name__ == "__main__":
    main()
