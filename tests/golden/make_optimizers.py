"""Makes optimizers.json: what Keras's optimizers and schedules compute.

Run by hand, where Keras is installed:

    KERAS_BACKEND=jax JAX_ENABLE_X64=1 python tests/golden/make_optimizers.py

In float64: Keras's float32 loses four digits of 1 - 0.999 ** t, the bias correction of Adam.
"""

import json
from pathlib import Path

import keras
import numpy as np
from keras import optimizers
from keras.optimizers import schedules

keras.config.set_floatx("float64")
STEPS = 20
KEPT = [1, 2, 3, 10, 20]

OWN = {
    "SGD": [{}, {"momentum": 0.9}, {"momentum": 0.8, "nesterov": True}],
    "RMSprop": [{}, {"rho": 0.8, "momentum": 0.5}, {"centered": True, "epsilon": 1e-3}],
    "Adam": [{}, {"amsgrad": True, "beta_2": 0.8}, {"beta_1": 0.5, "epsilon": 0.1}],
    "AdamW": [{}, {"weight_decay": 0.1, "amsgrad": True}],
    "Nadam": [{}, {"beta_1": 0.7, "beta_2": 0.95, "epsilon": 0.1}],
    "Adamax": [{}, {"beta_1": 0.7, "beta_2": 0.9, "epsilon": 0.1}],
    "Adagrad": [{}, {"initial_accumulator_value": 0.0, "epsilon": 0.01}],
    "Adadelta": [{"learning_rate": 1.0}, {"learning_rate": 1.0, "rho": 0.5, "epsilon": 1e-2}],
    "Lion": [{}, {"beta_1": 0.5, "beta_2": 0.8}],
}
SHARED = [
    {"weight_decay": 0.3},
    {"clipnorm": 0.5},
    {"clipvalue": 0.3},
    {"global_clipnorm": 1.0},
    {"use_ema": True, "ema_momentum": 0.8},
    {"use_ema": True, "ema_momentum": 0.6, "ema_overwrite_frequency": 3},
    {"gradient_accumulation_steps": 4},
    {
        "gradient_accumulation_steps": 2,
        "use_ema": True,
        "ema_momentum": 0.6,
        "ema_overwrite_frequency": 4,
        "weight_decay": 0.2,
        "global_clipnorm": 0.7,
    },
]
SCHEDULES = [
    schedules.ExponentialDecay(np.float64(0.1), 7, 0.5),
    schedules.ExponentialDecay(np.float64(0.1), 7, 0.5, staircase=True),
    schedules.InverseTimeDecay(np.float64(0.1), 7, 0.5),
    schedules.InverseTimeDecay(np.float64(0.1), 7, 0.5, staircase=True),
    schedules.PiecewiseConstantDecay([5, 12], [0.1, 0.05, 0.02]),
    schedules.PolynomialDecay(np.float64(0.1), 9),
    schedules.PolynomialDecay(np.float64(0.1), 9, 0.01, 2.0),
    schedules.PolynomialDecay(np.float64(0.1), 9, 0.01, 0.5, cycle=True),
    schedules.CosineDecay(np.float64(0.1), 15),
    schedules.CosineDecay(np.float64(0.1), 15, 0.2),
    schedules.CosineDecay(np.float64(0.01), 15, 0.1, warmup_target=0.1, warmup_steps=5),
    schedules.CosineDecay(np.float64(0.1), 15, 0.1, warmup_target=0.05, warmup_steps=0),
    schedules.CosineDecayRestarts(np.float64(0.1), 6),
    schedules.CosineDecayRestarts(np.float64(0.1), 6, 1.0, 0.5, 0.1),
    schedules.CosineDecayRestarts(np.float64(0.1), 5, 1.5, 0.8, 0.2),
]


def trained(optimizer, case):
    """The weights, one after the other, after some of the steps, and at the end of all."""
    names = ["kernel", "bias"]
    constraint = keras.constraints.NonNeg() if case.get("constraint") else None
    variables = [
        keras.Variable(value, name=name) for value, name in zip(INITIAL, names, strict=True)
    ]
    variables[0].constraint = constraint
    if "exclude" in case:
        optimizer.exclude_from_weight_decay(var_names=case["exclude"])
    found = []
    for step, grads in enumerate(GRADS, 1):
        optimizer.apply([keras.ops.convert_to_tensor(grad) for grad in grads], variables)
        if step in KEPT:
            found.append(flat(variables))
    optimizer.finalize_variable_values(variables)
    return [*found, flat(variables)]


def flat(variables):
    return [float(f"{v:.13g}") for variable in variables for v in np.asarray(variable).ravel()]


def f32(array):
    """Numbers that float32 has, too."""
    return array.astype("float32").astype("float64")


def digits(array):
    return [[float(f"{v:.9g}") for v in item.ravel()] for item in array]


rng = np.random.default_rng(1)
SHAPES = [(4, 3), (3,)]
INITIAL = [f32(rng.standard_normal(shape)) for shape in SHAPES]
GRADS = [[f32(rng.standard_normal(shape)) for shape in SHAPES] for _ in range(STEPS)]

runs = [(name, {"learning_rate": 0.05} | own, {}) for name in OWN for own in OWN[name]]
runs += [
    (name, {"learning_rate": 0.05} | options, {})
    for name in OWN
    for options in SHARED
    if name in ("SGD", "Adam", "Nadam") or "weight_decay" in options
]
runs += [("Adam", {"learning_rate": schedule}, {}) for schedule in SCHEDULES[2:8:2]]
runs += [
    ("SGD", {"learning_rate": SCHEDULES[0], "gradient_accumulation_steps": 3}, {}),
    ("SGD", {"learning_rate": 0.5, "weight_decay": 0.1}, {"exclude": ["bias"]}),
    ("AdamW", {"learning_rate": 0.5, "weight_decay": 0.1}, {"exclude": ["kern"]}),
    ("SGD", {"learning_rate": 0.1}, {"constraint": True}),
    ("Adam", {"learning_rate": 0.1, "use_ema": True}, {"constraint": True}),
]
cases = []
for name, options, extra in runs:
    optimizer = getattr(optimizers, name)(**options)
    config = optimizers.serialize(optimizer)
    cases.append({"config": config, **extra, "weights": trained(optimizer, extra)})

steps = list(range(40))
content = {
    "keras": keras.__version__,
    "steps": KEPT,
    "initial": digits(INITIAL),
    "grads": [flat(grads) for grads in GRADS],
    "optimizers": cases,
    "schedules": [
        {
            "config": schedules.serialize(schedule),
            "values": [float(f"{float(schedule(step)):.13g}") for step in steps],
        }
        for schedule in SCHEDULES
    ],
}
path = Path(__file__).with_name("optimizers.json")
path.write_text(json.dumps(content, separators=(",", ":")))
print(f"{path.name}: {len(cases)} optimizers, {len(SCHEDULES)} schedules, {path.stat().st_size} B")
