"""Optimizers and schedules: against Keras's numbers, and against twins in float64."""

import copy
import functools
import inspect
import itertools
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

import cgru
from cgru import _configs, _kernels, optimizers
from cgru.optimizers import schedules
from cgru.variables import FlatVector, Variable

GOLDEN = json.loads((Path(__file__).parent / "golden" / "optimizers.json").read_text())
ALL = [
    optimizers.SGD, optimizers.RMSprop, optimizers.Adam, optimizers.AdamW, optimizers.Nadam,
    optimizers.Adamax, optimizers.Adagrad, optimizers.Adadelta, optimizers.Lion,
]  # fmt: skip
# With every slot that there is, and every option that keeps a state.
FULL = [
    (optimizers.SGD, {"momentum": 0.9}),
    (optimizers.RMSprop, {"momentum": 0.9, "centered": True}),
    (optimizers.Adam, {"amsgrad": True}),
    *((cls, {}) for cls in ALL[3:]),
]


def case_name(case):
    config = case["config"]["config"]
    default = optimizers.get(case["config"]["class_name"]).get_config()
    skip = ("learning_rate", "name")
    changed = [key for key in config if key not in skip and config[key] != default.get(key)]
    extra = [key for key in case if key not in ("config", "weights")]
    return "-".join([case["config"]["class_name"], *changed, *extra])


def make_flat(kernel=None, bias=None, dtype="f4", rng=None):
    if kernel is None:
        kernel, bias = rng.standard_normal((9, 11)), rng.standard_normal(5)
    return FlatVector(
        [Variable(np.asarray(kernel, dtype), "kernel"), Variable(np.asarray(bias, dtype), "bias")]
    )


def steps_of(optimizer, flat, grads):
    for grad in grads:
        flat.grad[:] = grad
        optimizer.update(flat)
        yield flat.value.copy()


# ---- Keras's numbers ----


@pytest.mark.parametrize("case", GOLDEN["optimizers"], ids=case_name)
@pytest.mark.parametrize(("dtype", "accuracy"), [("f4", 1e-5), ("f8", 1e-10)])
def test_optimizers_follow_those_of_keras(isa, case, dtype, accuracy):
    kernel, bias, *grads = (np.array(a, "f4") for a in [*GOLDEN["initial"], *GOLDEN["grads"]])
    flat = make_flat(kernel.reshape(4, 3), bias, dtype)
    if "constraint" in case:
        flat.variables[0].constraint = lambda w: w * (w >= 0)
    optimizer = optimizers.get(case["config"])
    if "exclude" in case:
        optimizer.exclude_from_weight_decay(var_names=case["exclude"])
    agree = functools.partial(np.testing.assert_allclose, rtol=accuracy, atol=accuracy / 10)
    weights = list(steps_of(optimizer, flat, grads))
    for step, expected in zip(GOLDEN["steps"], case["weights"], strict=False):
        agree(weights[step - 1], expected)
    optimizer.finalize_variable_values(flat.variables)
    agree(flat.value, case["weights"][-1])


@pytest.mark.parametrize("case", GOLDEN["schedules"], ids=lambda c: c["config"]["class_name"])
def test_schedules_follow_those_of_keras(case):
    schedule = _configs.deserialize(case["config"])
    values = [schedule(step) for step in range(len(case["values"]))]
    # Keras takes cosines in float32, whatever it is given.
    accuracy = 1e-6 if "Cosine" in case["config"]["class_name"] else 1e-10
    np.testing.assert_allclose(values, case["values"], rtol=accuracy, atol=accuracy / 100)
    assert all(type(value) is float for value in values)


COMMON = [
    "weight_decay", "clipnorm", "clipvalue", "global_clipnorm", "use_ema", "ema_momentum",
    "ema_overwrite_frequency", "loss_scale_factor", "gradient_accumulation_steps", "name",
]  # fmt: skip
OWN = {
    "SGD": ["momentum", "nesterov"],
    "RMSprop": ["rho", "momentum", "epsilon", "centered"],
    "Adam": ["beta_1", "beta_2", "epsilon", "amsgrad"],
    "AdamW": ["weight_decay", "beta_1", "beta_2", "epsilon", "amsgrad"],
    "Nadam": ["beta_1", "beta_2", "epsilon"],
    "Adamax": ["beta_1", "beta_2", "epsilon"],
    "Adagrad": ["initial_accumulator_value", "epsilon"],
    "Adadelta": ["rho", "epsilon"],
    "Lion": ["beta_1", "beta_2"],
}


@pytest.mark.parametrize("cls", ALL)
def test_arguments_have_the_order_of_keras(cls):
    own = ["learning_rate", *OWN[cls.__name__]]
    expected = own + [name for name in COMMON if name not in own]
    assert list(inspect.signature(cls).parameters) == expected
    # Given by position, each arrives where it should.
    plain = cls()
    values = [getattr(plain, name) for name in expected]
    changed = {"learning_rate": 0.5, "weight_decay": 0.25, "use_ema": True, "ema_momentum": 0.5}
    values = [changed.get(name, value) for name, value in zip(expected, values, strict=True)]
    optimizer = cls(*values)
    assert {name: getattr(optimizer, name) for name in changed} == changed
    assert optimizer.get_config() == plain.get_config() | changed


# ---- Twins in float64 ----


def nadam(theta, grads, rate, beta_1, beta_2, epsilon):
    m, v, product = np.zeros_like(theta), np.zeros_like(theta), 1.0
    for t, g in enumerate(grads, 1):
        now, after = (beta_1 * (1 - 0.5 * 0.96**i) for i in (t, t + 1))
        product *= now
        m = beta_1 * m + (1 - beta_1) * g
        v = beta_2 * v + (1 - beta_2) * g**2
        ahead = after * m / (1 - product * after) + (1 - now) * g / (1 - product)
        theta = theta - rate * ahead / (np.sqrt(v / (1 - beta_2**t)) + epsilon)
    return theta


def adamax(theta, grads, rate, beta_1, beta_2, epsilon):
    m, u = np.zeros_like(theta), np.zeros_like(theta)
    for t, g in enumerate(grads, 1):
        m = beta_1 * m + (1 - beta_1) * g
        u = np.maximum(beta_2 * u, abs(g))
        theta = theta - rate / (1 - beta_1**t) * m / (u + epsilon)
    return theta


def adagrad(theta, grads, rate, start, epsilon):
    total = np.full_like(theta, start)
    for g in grads:
        total = total + g**2
        theta = theta - rate * g / np.sqrt(total + epsilon)
    return theta


def adadelta(theta, grads, rate, rho, epsilon):
    s, d = np.zeros_like(theta), np.zeros_like(theta)
    for g in grads:
        s = rho * s + (1 - rho) * g**2
        step = np.sqrt(d + epsilon) / np.sqrt(s + epsilon) * g
        d = rho * d + (1 - rho) * step**2
        theta = theta - rate * step
    return theta


def lion(theta, grads, rate, beta_1, beta_2):
    m = np.zeros_like(theta)
    for g in grads:
        theta = theta - rate * np.sign(beta_1 * m + (1 - beta_1) * g)
        m = beta_2 * m + (1 - beta_2) * g
    return theta


TWINS = {
    optimizers.Nadam: (nadam, [0.01, 0.8, 0.9, 0.01]),
    optimizers.Adamax: (adamax, [0.01, 0.8, 0.9, 0.01]),
    optimizers.Adagrad: (adagrad, [0.1, 0.2, 0.01]),
    optimizers.Adadelta: (adadelta, [1.0, 0.8, 0.01]),
    optimizers.Lion: (lion, [0.01, 0.8, 0.9]),
}


@pytest.mark.parametrize("cls", TWINS)
@pytest.mark.parametrize(("dtype", "accuracy"), [("f4", 1e-5), ("f8", 1e-13)])
def test_kernels_and_their_twins(isa, rng, cls, dtype, accuracy):
    twin, arguments = TWINS[cls]
    flat = make_flat(dtype=dtype, rng=rng)
    theta = flat.value.astype("f8")
    grads = rng.standard_normal((10, theta.size)).astype(dtype)
    grads[:, ::7] = 0
    *_, last = steps_of(cls(*arguments), flat, grads)
    assert last.dtype == dtype
    np.testing.assert_allclose(
        last, twin(theta, grads.astype("f8"), *arguments), rtol=accuracy, atol=accuracy
    )


@pytest.mark.parametrize("cls", ALL)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_results_do_not_depend_on_the_number_of_threads(isa, free_threads, rng, cls, dtype):
    grads = rng.standard_normal((3, 1003)).astype(dtype)
    theta = rng.standard_normal(1003)
    found = []
    for threads in (1, 2, 3):
        _kernels.set_num_threads(threads)
        flat = make_flat(theta[:-3], theta[-3:], dtype)
        optimizer = cls(weight_decay=0.1, use_ema=True)
        *_, last = steps_of(optimizer, flat, grads)
        found.append((last, optimizer.state["average"]))
    for last, average in found[1:]:
        np.testing.assert_array_equal(last, found[0][0])
        np.testing.assert_array_equal(average, found[0][1])


@pytest.mark.parametrize("cls", ALL)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_gradient_shows_in_its_weight_alone(isa, rng, cls, bad):
    flat = make_flat(rng=rng)
    grads = rng.standard_normal((2, flat.value.size))
    grads[0, 50] = bad
    *_, last = steps_of(cls(0.1), flat, grads)
    if not (cls is optimizers.Lion and bad == np.inf):  # which goes by its sign
        assert not np.isfinite(last[50])
    assert np.isfinite(np.delete(last, 50)).all()


# ---- Options around a step ----


def test_weight_decay_spares_what_is_excluded(rng):
    zero = np.zeros(104)
    for exclude, decayed in [
        ({}, [True, True]),
        ({"var_names": ["bia", "gamma"]}, [True, False]),
        ({"var_names": ["^ernel"]}, [True, True]),
        ({"var_list": "first"}, [False, True]),
    ]:
        flat = make_flat(rng=rng)
        before = [variable.numpy() for variable in flat.variables]
        optimizer = optimizers.SGD(0.5, weight_decay=0.1)
        if exclude.get("var_list"):
            exclude = {"var_list": flat.variables[:1]}
        optimizer.exclude_from_weight_decay(**exclude)
        list(steps_of(optimizer, flat, [zero]))
        for variable, old, shrinks in zip(flat.variables, before, decayed, strict=True):
            np.testing.assert_allclose(variable, old * (0.95 if shrinks else 1), rtol=1e-6)
        with pytest.raises(ValueError, match="before the optimizer is built"):
            optimizer.exclude_from_weight_decay(var_names=["bias"])


def test_names_of_what_does_not_decay_are_a_list():
    with pytest.raises(TypeError, match="var_names: expected a list of str, got 'bias'"):
        optimizers.AdamW().exclude_from_weight_decay(var_names="bias")


def test_small_weight_decay_is_not_rounded_away(rng):
    """float32 knows 1 - 2e-8 only as 1, and 1 - 1e-7 as 1 - 1.2e-7."""
    flat = make_flat(rng=rng)
    before = flat.value.astype("f8")
    list(steps_of(optimizers.SGD(1.0, weight_decay=1e-3), flat, np.zeros((500, 104))))
    np.testing.assert_allclose(flat.value, before * (1 - 1e-3) ** 500, rtol=3e-6)


def test_accumulated_gradients_are_one_step(rng):
    grads = rng.standard_normal((6, 104)).astype("f4")
    flat, other = make_flat(np.ones((9, 11)), np.ones(5)), make_flat(np.ones((9, 11)), np.ones(5))
    optimizer = optimizers.Adam(0.1, gradient_accumulation_steps=3)
    weights = list(steps_of(optimizer, flat, grads))
    means = grads.reshape(2, 3, -1).mean(axis=1)
    expected = list(steps_of(optimizers.Adam(0.1), other, means))
    np.testing.assert_array_equal(weights[1], 1)
    np.testing.assert_allclose(weights[2], expected[0], rtol=1e-5)
    np.testing.assert_array_equal(weights[4], weights[2])
    np.testing.assert_allclose(weights[5], expected[1], rtol=1e-5)
    assert optimizer.iterations == 2


def test_averages_take_the_place_of_weights_at_the_end(rng):
    flat = make_flat(rng=rng)
    optimizer = optimizers.SGD(0.1, use_ema=True, ema_momentum=0.75)
    before = flat.value.copy()
    optimizer.finalize_variable_values(flat.variables)
    np.testing.assert_array_equal(flat.value, before)
    weights = list(steps_of(optimizer, flat, rng.standard_normal((3, 104))))
    np.testing.assert_array_equal(flat.value, weights[2])
    with pytest.raises(ValueError, match="var_list: expected the 2 weights"):
        optimizer.finalize_variable_values(flat.variables[:1])
    stamp = flat.stamp
    optimizer.finalize_variable_values(flat.variables)
    expected = 0.75 * (0.75 * weights[0] + 0.25 * weights[1]) + 0.25 * weights[2]
    np.testing.assert_allclose(flat.value, expected, rtol=1e-5, atol=1e-7)
    assert flat.stamp != stamp, "what was made from the weights does not hold any more"


def test_constraints_hold_after_each_step(rng):
    flat = make_flat(rng=rng)
    flat.variables[1].constraint = lambda w: w / np.linalg.norm(w)
    for theta in steps_of(optimizers.Adam(0.5), flat, rng.standard_normal((4, 104))):
        assert np.linalg.norm(theta[-5:]) == pytest.approx(1, abs=1e-6)
        assert np.linalg.norm(theta[:-5]) > 2


def test_a_loss_scale_changes_nothing(rng):
    grads = rng.standard_normal((2, 104))
    theta = [
        list(steps_of(optimizer, make_flat(np.ones((9, 11)), np.ones(5)), grads))[-1]
        for optimizer in (optimizers.Adam(), optimizers.Adam(loss_scale_factor=1024.0))
    ]
    np.testing.assert_array_equal(*theta)


# ---- The learning rate ----


def test_the_learning_rate_may_be_a_number_a_schedule_or_a_function(rng):
    optimizer = optimizers.SGD(schedules.PiecewiseConstantDecay([0, 1], [1.0, 0.5, 0.25]))
    assert optimizer.learning_rate == 1.0
    flat = make_flat(rng=rng)
    start = flat.value.copy()
    stamp = flat.stamp
    weights = [start, *steps_of(optimizer, flat, np.ones((3, 104)))]
    assert flat.stamp != stamp, "what was made from the weights does not hold any more"
    for rate, (before, after) in zip([1, 0.5, 0.25], itertools.pairwise(weights), strict=True):
        np.testing.assert_allclose(before - after, rate, rtol=1e-5)
    assert optimizer.iterations == 3
    with pytest.raises(TypeError, match="follows a schedule, PiecewiseConstantDecay"):
        optimizer.learning_rate = 0.1
    optimizer.learning_rate = schedules.CosineDecay(0.5, 10)
    assert optimizer.learning_rate == schedules.CosineDecay(0.5, 10)(3)

    optimizer = optimizers.SGD(lambda: 0.125)
    assert optimizer.learning_rate == 0.125
    optimizer.learning_rate = 0.5
    assert optimizer.learning_rate == 0.5
    *_, last = steps_of(optimizer, flat, np.ones((1, 104)))
    np.testing.assert_allclose(weights[-1] - last, 0.5, rtol=1e-5)
    for bad in (-1, "fast", None):
        with pytest.raises(ValueError, match="learning_rate: expected a number >= 0"):
            optimizer.learning_rate = bad


def test_restarts_are_counted_exactly():
    schedule = schedules.CosineDecayRestarts(1.0, 1, t_mul=3.0, m_mul=0.5)
    starts = np.cumsum([1, 3, 9, 27, 81, 243])
    # Keras's floor(log(243) / log(3)) is 4.
    for wave, start in enumerate(starts, 1):
        assert schedule(start) == 0.5**wave
        assert schedule(start - 1) < schedule(start) or start == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: schedules.ExponentialDecay(0.1, 0, 0.5), "decay_steps: expected a number > 0"),
        (lambda: schedules.InverseTimeDecay(-1, 5, 0.5), "initial_learning_rate: expected"),
        (lambda: schedules.PolynomialDecay(0.1, -2), "decay_steps: expected a number > 0"),
        (lambda: schedules.CosineDecay(0.1, 0), "decay_steps: expected a number > 0"),
        (lambda: schedules.CosineDecay(0.1, 5, warmup_steps=-1), "warmup_steps: expected"),
        (lambda: schedules.CosineDecayRestarts(0.1, 0), "first_decay_steps: expected"),
        (lambda: schedules.CosineDecayRestarts(0.1, 5, t_mul=0.5), "t_mul: expected a number >= 1"),
        (lambda: schedules.PiecewiseConstantDecay([1, 2], [0.1]), "boundaries: expected one less"),
        (lambda: schedules.PiecewiseConstantDecay([2, 1], [0, 0, 0]), "boundaries: expected an as"),
        (lambda: optimizers.SGD(weight_decay=-1), "weight_decay: expected a number >= 0"),
        (lambda: optimizers.AdamW(weight_decay=None), "weight_decay: expected a number >= 0"),
        (lambda: optimizers.SGD(ema_momentum=1.5), "ema_momentum: expected"),
        (lambda: optimizers.SGD(ema_overwrite_frequency=0), "ema_overwrite_frequency: expected"),
        (lambda: optimizers.SGD(loss_scale_factor=0), "loss_scale_factor: expected"),
        (lambda: optimizers.SGD(gradient_accumulation_steps=1), "gradient_accumulation_steps: exp"),
        (lambda: optimizers.Lion(beta_1=0), "beta_1: expected a number > 0"),
        (lambda: optimizers.Adagrad(initial_accumulator_value=-1), "initial_accumulator_value"),
        (lambda: optimizers.Adadelta(rho=1), "rho: expected"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# ---- Configurations and states ----


@pytest.mark.parametrize("cls", ALL)
def test_configurations(cls):
    rate = schedules.CosineDecay(0.01, 15, 0.1, warmup_target=0.1, warmup_steps=5)
    for optimizer in (cls(), cls(0.25, clipnorm=2.0, use_ema=True, name="mine"), cls(rate)):
        config = json.loads(json.dumps(optimizer.get_config()))
        again = cls.from_config(config)
        assert again.get_config() == optimizer.get_config()
        assert again.learning_rate == optimizer.learning_rate
        whole = optimizers.get(json.loads(json.dumps(optimizer.serialized())))
        assert type(whole) is cls
        assert whole.get_config() == optimizer.get_config()
    assert isinstance(again._learning_rate, schedules.CosineDecay)
    assert config["learning_rate"]["module"] == "cgru.optimizers.schedules"
    assert type(optimizers.get(cls.__name__.lower())) is cls


@pytest.mark.parametrize("cls", [cls for cls in vars(schedules).values() if isinstance(cls, type)])
def test_configurations_of_schedules(cls):
    for case in GOLDEN["schedules"]:
        if case["config"]["class_name"] == cls.__name__:
            schedule = _configs.deserialize(case["config"])
            assert schedule.get_config() == case["config"]["config"]
            again = cls.from_config(json.loads(json.dumps(schedule.get_config())))
            assert [again(i) for i in range(20)] == [schedule(i) for i in range(20)]


@pytest.mark.parametrize(("cls", "options"), FULL)
def test_a_state_that_is_set_goes_on_bit_for_bit(rng, cls, options):
    options = options | dict(
        weight_decay=0.1, use_ema=True, ema_overwrite_frequency=2, gradient_accumulation_steps=2
    )
    first, grads = make_flat(rng=rng), rng.standard_normal((14, 104))
    optimizer = cls(0.1, **options)
    list(steps_of(optimizer, first, grads[:7]))
    optimizer.learning_rate = 0.03
    state = optimizer.get_state()
    assert set(state) == {"iterations", "learning_rate", *optimizer.state}
    second = make_flat(*(variable.numpy() for variable in first.variables))
    copies = {key: array.copy() for key, array in state.items()}
    expected = list(steps_of(optimizer, first, grads[7:]))
    for key, array in state.items():
        np.testing.assert_array_equal(array, copies[key], err_msg="the state is a copy")
    again = cls(0.1, **options)
    with pytest.raises(ValueError, match="set_state: build"):
        again.set_state(state)
    again.build(second)
    again.set_state(state)
    assert again.learning_rate == 0.03
    np.testing.assert_array_equal(list(steps_of(again, second, grads[7:])), expected)
    assert again.iterations == optimizer.iterations


def test_states_that_do_not_fit_change_nothing(rng):
    flat = make_flat(rng=rng)
    optimizer = optimizers.Adam()
    list(steps_of(optimizer, flat, rng.standard_normal((2, 104))))
    state = optimizer.get_state()
    for wrong, message in [
        (state | {"m": np.ones(3)}, "state, m: expected shape"),
        (state | {"v_max": state["v"]}, "state: this adam expects"),
        ({"iterations": state["iterations"]}, "state: this adam expects"),
        (state | {"v": state["v"] + 1, "iterations": np.array(-1)}, "iterations: expected"),
        (state | {"v": state["v"] + 1, "learning_rate": np.array(-1.0)}, "learning_rate: exp"),
    ]:
        with pytest.raises(ValueError, match=message):
            optimizer.set_state(wrong)
        for key, array in optimizer.get_state().items():
            np.testing.assert_array_equal(array, state[key])


def test_copies_and_pickles_go_on_alike(rng):
    flat = make_flat(rng=rng)
    optimizer = optimizers.Nadam(schedules.CosineDecay(0.1, 5), weight_decay=0.1)
    optimizer.exclude_from_weight_decay(flat.variables[1:])
    list(steps_of(optimizer, flat, rng.standard_normal((2, 104))))
    grads = rng.standard_normal((2, 104))
    pairs = [copy.deepcopy((optimizer, flat)), pickle.loads(pickle.dumps((optimizer, flat)))]
    expected = list(steps_of(optimizer, flat, grads))
    for pair in pairs:
        np.testing.assert_array_equal(list(steps_of(*pair, grads)), expected)


@pytest.mark.parametrize("cls", ALL)
def test_a_model_learns(cls):
    cgru.utils.set_random_seed(1)
    x = np.random.default_rng(1).standard_normal((64, 4, 2)).astype("f4")
    y = x.sum(axis=(1, 2))[:, None]
    model = cgru.Sequential([cgru.Input((4, 2)), cgru.layers.GRU(6), cgru.layers.Dense(1)])
    rate = {"SGD": 0.1, "Adadelta": 10.0, "Adagrad": 0.1}.get(cls.__name__, 0.01)
    model.compile(cls(rate), "mse")
    losses = [model.train_on_batch(x, y) for _ in range(60)]
    assert losses[-1] < 0.5 * losses[0]
