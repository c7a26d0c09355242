"""Models as graphs: several inputs and outputs, shared layers, states, masks, frozen layers."""

import numpy as np
import pytest
from branched import ORDERS, skip
from numeric import check_gradient

import cgru
from cgru import layers


def flat_gradient(model, x, y):
    """The loss and its gradient in float64."""
    return model.value_and_grad(model.theta, x, y)


def check_model(model, x, y, rng):
    """Compare the gradient of a float64 model's loss with finite differences."""
    theta = model.theta
    _, grad = flat_gradient(model, x, y)
    direction = rng.standard_normal(theta.shape)
    step = 1e-6
    ahead, _ = model.value_and_grad(theta + step * direction, x, y)
    behind, _ = model.value_and_grad(theta - step * direction, x, y)
    model.theta = theta
    assert (ahead - behind) / (2 * step) == pytest.approx(grad @ direction, rel=1e-5, abs=1e-9)
    assert np.linalg.norm(grad) > 1e-6


@pytest.fixture
def float64():
    cgru.config.set_floatx("float64")
    yield
    cgru.config.set_floatx("float32")


def encoder_decoder():
    source = cgru.Input((None, 3), name="source")
    target = cgru.Input((None, 2), name="target")
    _, state = layers.GRU(4, return_state=True, name="encoder")(source)
    steps = layers.GRU(4, return_sequences=True, name="decoder")(target, initial_state=state)
    return cgru.Model([source, target], layers.Dense(2, name="words")(steps))


def test_an_encoder_hands_its_state_to_a_decoder(rng, float64):
    model = encoder_decoder()
    model.compile("adam", "mse")
    x = [rng.standard_normal((5, 6, 3)), rng.standard_normal((5, 4, 2))]
    y = rng.standard_normal((5, 4, 2))
    encoder, decoder = model.get_layer("encoder"), model.get_layer("decoder")
    _, state = encoder(x[0])
    expected = model.get_layer("words")(decoder(x[1], initial_state=state))
    np.testing.assert_array_equal(model.predict(x), expected)
    np.testing.assert_array_equal(model.predict({"target": x[1], "source": x[0]}), expected)
    check_model(model, x, y, rng)


def test_a_shared_layer_adds_its_gradients(rng, float64):
    a, b = cgru.Input((4, 3)), cgru.Input((5, 3))
    gru = layers.GRU(4)
    model = cgru.Model([a, b], layers.Dense(1)(layers.Concatenate()([gru(a), gru(b)])))
    assert len([layer for layer in model.layers if layer is gru]) == 1
    model.compile("adam", "mse")
    x = [rng.standard_normal((6, 4, 3)), rng.standard_normal((6, 5, 3))]
    check_model(model, x, rng.standard_normal((6, 1)), rng)


def test_a_tensor_that_fans_out_adds_its_gradients(rng, float64):
    x = cgru.Input((4, 3))
    h = layers.GRU(5, return_sequences=True)(x)
    outputs = [layers.Dense(2)(h), layers.GRU(3)(h)]
    model = cgru.Model(x, outputs)
    model.compile("adam", ["mse", "mae"], loss_weights=[0.3, 2.0])
    data = rng.standard_normal((6, 4, 3))
    check_model(model, data, [rng.standard_normal((6, 4, 2)), rng.standard_normal((6, 3))], rng)


def test_input_gradients_of_a_graph(rng, float64):
    model = encoder_decoder()
    x = [rng.standard_normal((2, 3, 3)), rng.standard_normal((2, 4, 2))]
    y, backward = model.forward(x)
    dy = rng.standard_normal(y.shape)
    for array, grad in zip(x, backward(dy), strict=True):
        check_gradient(lambda: float((model.forward(x)[0] * dy).sum()), array, grad, rng)


def test_losses_and_metrics_by_output(rng):
    x = cgru.Input((3,))
    outputs = {"a": layers.Dense(1, name="one")(x), "b": layers.Dense(2, name="two")(x)}
    model = cgru.Model(x, outputs)
    model.compile("sgd", {"a": "mse", "b": "mae"}, loss_weights={"a": 2.0}, metrics={"b": ["mse"]})
    data = rng.standard_normal((8, 3)).astype("float32")
    y = {"a": rng.standard_normal((8, 1)), "b": rng.standard_normal((8, 2))}
    result = model.evaluate(data, y, return_dict=True)
    assert list(result) == model.metrics_names == ["loss", "a_loss", "b_loss", "b_mse"]
    predictions = model.predict(data)
    a = np.mean((predictions["a"] - y["a"]) ** 2)
    b = np.mean(abs(predictions["b"] - y["b"]))
    assert result["a_loss"] == pytest.approx(a, rel=1e-5)
    assert result["loss"] == pytest.approx(2 * a + b, rel=1e-5)
    assert result["b_mse"] == pytest.approx(np.mean((predictions["b"] - y["b"]) ** 2), rel=1e-5)
    before = result["loss"]
    model.fit(data, y, epochs=20)
    assert model.evaluate(data, y)[0] < before


def test_results_of_several_outputs_are_in_the_order_of_keras(rng):
    def results(loss, **options):
        x = cgru.Input((3,))
        model = cgru.Model(x, [layers.Dense(1, name="b")(x), layers.Dense(1, name="a")(x)])
        model.compile("sgd", loss, **options)
        data, y = rng.standard_normal((8, 3)), [rng.standard_normal((8, 1))] * 2
        found = model.evaluate(data, y, return_dict=True)
        assert list(found) == model.metrics_names
        values = [*found.values()] if len(found) > 1 else found["loss"]
        assert model.evaluate(data, y) == model.test_on_batch(data, y) == values
        assert model.train_on_batch(data, y) == pytest.approx(values)
        return list(found)

    metrics = {"a": ["mae"], "b": ["mae", "acc"]}
    parts = ["loss", "b_loss", "a_loss"]
    sorted_names = ["a_acc", "a_mae", "a_weighted_mae", "b_acc", "b_mae"]
    weighted = {"a": ["mae", "acc"]}
    assert results("mse", metrics=metrics, weighted_metrics=weighted) == parts + sorted_names
    assert results(["mse", None]) == ["loss"]
    assert results([None, "mse"], metrics={"b": ["mae"]}) == ["loss", "b_mae"]


def test_an_array_of_weights_is_for_all_outputs(rng):
    x = cgru.Input((3,))
    model = cgru.Model(x, [layers.Dense(1, name="a")(x), layers.Dense(2, name="b")(x)])
    model.compile("sgd", "mse", weighted_metrics=[["mae"], ["mae"]])
    data, weights = rng.standard_normal((8, 3)), np.arange(8.0)
    y = [rng.standard_normal((8, 1)), rng.standard_normal((8, 2))]
    expected = model.evaluate(data, y, sample_weight=[weights, weights])
    assert model.evaluate(data, y, sample_weight=weights) == expected
    assert model.evaluate(data, y, sample_weight=weights[:, np.newaxis]) == expected
    loss = model.compute_loss(y=y, y_pred=model.predict(data), sample_weight=weights)
    assert loss == pytest.approx(expected[0], rel=1e-5)
    with pytest.raises(ValueError, match=r"y: expected a list .* \['a', 'b'\], got list of 1"):
        model.fit(data, y[:1])


def test_an_output_without_a_loss_is_not_trained(rng):
    x = cgru.Input((3,))
    trained, left = layers.Dense(1, name="trained"), layers.Dense(1, name="left")
    model = cgru.Model(x, [trained(x), left(x)])
    model.compile("sgd", [None, "mse"])
    before = trained.get_weights()
    model.fit(rng.standard_normal((8, 3)), [None, rng.standard_normal((8, 1))])
    np.testing.assert_array_equal(trained.get_weights()[0], before[0])


def test_models_within_models(rng, float64):
    inner = cgru.Sequential([cgru.Input((None, 3)), layers.GRU(4, return_sequences=True)])
    x = cgru.Input((5, 3))
    model = cgru.Model(x, layers.Dense(1)(layers.GRU(2)(inner(x))))
    model.compile("adam", "mse")
    assert len(model.weights) == 8
    check_model(model, rng.standard_normal((6, 5, 3)), rng.standard_normal((6, 1)), rng)
    outer = cgru.Sequential([model, layers.Dense(2)])
    outer.build((None, 5, 3))
    assert outer.predict(rng.standard_normal((6, 5, 3))).shape == (6, 2)


def test_masks_travel_through_a_graph(rng):
    x = cgru.Input((None,), dtype="int32")
    h = layers.Embedding(10, 4, mask_zero=True)(x)
    inner = cgru.Sequential([cgru.Input((None, 4)), layers.Dense(4), layers.Dropout(0.5)])
    model = cgru.Model(x, layers.GRU(3)(inner(h)))
    ids = rng.integers(1, 10, (4, 6))
    padded = np.concatenate([ids, np.zeros((4, 3), int)], axis=1)
    np.testing.assert_array_equal(model.predict(padded), model.predict(ids))
    model.compile("sgd", "mse")
    y = rng.standard_normal((4, 3))
    gradients = [model.value_and_grad(model.theta, data, y)[1] for data in (ids, padded)]
    np.testing.assert_allclose(gradients[0], gradients[1], rtol=1e-4, atol=1e-7)


def test_masked_steps_do_not_count_in_the_loss(rng):
    model = cgru.Sequential(
        [cgru.Input((None, 2)), layers.Masking(), layers.GRU(3, return_sequences=True)]
    )
    model.compile("sgd", "mse", metrics=["mae"])
    x, y = rng.standard_normal((4, 5, 2)), rng.standard_normal((4, 5, 3))
    x[:, 3:] = 0
    masked = model.evaluate(x, y)
    np.testing.assert_allclose(masked, model.evaluate(x[:, :3], y[:, :3]), rtol=1e-5)
    y[:, 3:] = 1e6
    np.testing.assert_allclose(masked, model.evaluate(x, y), rtol=1e-5)


# ---- Frozen layers ----


def test_no_gradient_work_for_what_is_frozen(rng):
    """Nothing before the first layer that trains is run for a backward pass."""
    seen = []

    class Watched(layers.Dense):
        def forward(self, x, needs_input_grad=True, needs_backward=True):
            seen.append((self.name, needs_input_grad, needs_backward))
            return super().forward(x, needs_input_grad)

    model = cgru.Sequential([cgru.Input((3,)), *(Watched(2, name=name) for name in "abc")])
    model.compile("sgd", "mse")
    x, y = rng.standard_normal((8, 3)), rng.standard_normal((8, 2))
    model.train_on_batch(x, y)
    assert seen == [("a", False, True), ("b", True, True), ("c", True, True)]
    model.layers[0].trainable = model.layers[1].trainable = False
    model.compile("sgd", "mse")
    before = [layer.get_weights() for layer in model.layers]
    seen.clear()
    model.train_on_batch(x, y)
    assert seen == [("a", False, False), ("b", False, False), ("c", False, True)]
    after = [layer.get_weights() for layer in model.layers]
    np.testing.assert_array_equal(after[1][0], before[1][0])
    assert (after[2][0] != before[2][0]).any()
    model.layers[0].trainable = True
    model.compile("sgd", "mse")
    seen.clear()
    model.train_on_batch(x, y)
    assert seen == [("a", False, True), ("b", True, True), ("c", True, True)]
    np.testing.assert_array_equal(model.layers[1].get_weights()[0], before[1][0])


@pytest.mark.parametrize("options", [{}, {"reset_after": False}, {"activation": "relu"}], ids=str)
def test_a_frozen_layer_passes_gradients_on_and_has_none(rng, options):
    model = cgru.Sequential(
        [
            cgru.Input((4, 3)),
            layers.GRU(3, return_sequences=True),
            layers.GRU(3, return_sequences=True, name="middle", **options),
            layers.Dense(1),
        ]
    )
    model.compile("sgd", "mse")
    x, y = rng.standard_normal((8, 4, 3)), rng.standard_normal((8, 4, 1))
    _, full = model.value_and_grad(model.theta, x, y)
    first = model.layers[0].count_params()
    middle = model.get_layer("middle")
    middle.trainable = False
    for weight in middle.weights:
        weight.grad[...] = 0
    _, part = model.value_and_grad(model.theta, x, y)
    np.testing.assert_array_equal(part[:first], full[:first])
    assert len(part) == len(full) - middle.count_params()
    for weight in middle.weights:
        assert not weight.grad.any()


# ---- Penalties and constraints ----


class Squares(cgru.regularizers.Regularizer):
    def forward(self, x):
        return float(np.square(x).sum()) * 0.1, 0.2 * x


def test_penalties_are_part_of_the_loss_and_the_gradient(rng, float64):
    model = cgru.Sequential(
        [
            cgru.Input((4, 3)),
            layers.GRU(
                4,
                kernel_regularizer=Squares(),
                recurrent_regularizer=Squares(),
                bias_regularizer=Squares(),
                activity_regularizer=Squares(),
            ),
            layers.Dense(1, activity_regularizer=Squares()),
        ]
    )
    model.compile("sgd", "mse")
    x, y = rng.standard_normal((6, 4, 3)), rng.standard_normal((6, 1))
    check_model(model, x, y, rng)
    h = model.layers[0](x)
    penalty = sum(0.1 * np.square(part).sum() for part in model.layers[0].weights)
    penalty += sum(0.1 * np.square(part).sum() / len(x) for part in [h, model.predict(x)])
    loss = np.square(model.predict(x) - y).mean() + penalty
    assert model.evaluate(x, y) == pytest.approx(loss, rel=1e-9)
    assert model.train_on_batch(x, y) == pytest.approx(loss, rel=1e-9)


def test_constraints_that_fail_are_refused_with_the_weight():
    class Flat(cgru.constraints.Constraint):
        def __call__(self, w):
            return w.reshape(-1)

    for constraint, message in (
        (cgru.constraints.MaxNorm(1, axis=2), r"of shape \(2, 3\), got axis 2 is out of bounds"),
        (Flat(), r"of shape \(2, 3\), got \(6,\)"),
    ):
        layer = layers.Dense(3, kernel_constraint=constraint, name="d")
        with pytest.raises(ValueError, match=f"constraint: expected .*d/kernel {message}"):
            cgru.Sequential([cgru.Input((2,)), layer])


# ---- Configurations ----


def test_configurations_make_the_same_graph(rng):
    model = encoder_decoder()
    x = [rng.standard_normal((5, 6, 3)), rng.standard_normal((5, 4, 2))]
    for copy in (
        cgru.Model.from_config(model.get_config()),
        cgru.models.clone_model(model),
        cgru.models.model_from_json(model.to_json()),
    ):
        assert copy.get_config() == model.get_config()
        copy.set_weights(model.get_weights())
        np.testing.assert_array_equal(copy.predict(x), model.predict(x))


def test_configurations_of_a_chain(rng):
    model = cgru.Sequential([layers.Bidirectional(layers.GRU(3)), layers.Dense(2)], name="chain")
    x = rng.standard_normal((5, 6, 3))
    model.predict(x)
    copy = cgru.Sequential.from_config(model.get_config())
    assert copy.get_config() == model.get_config()
    copy.set_weights(model.get_weights())
    np.testing.assert_array_equal(copy.predict(x), model.predict(x))
    fresh = cgru.models.clone_model(cgru.Sequential([layers.Dense(2)]))
    assert not fresh.built


def test_only_known_classes_are_made():
    text = cgru.Sequential([cgru.Input((3,)), layers.Dense(2)]).to_json()
    for module, name in (("os", "system"), ("cgru.layers", "system"), ("builtins", "eval")):
        bad = text.replace(
            '"cgru.layers", "class_name": "Dense"', f'"{module}", "class_name": "{name}"'
        )
        assert bad != text
        with pytest.raises(ValueError, match=f"{module}.{name} is not a class of cgru"):
            cgru.models.model_from_json(bad)


def test_a_class_of_ones_own(rng):
    class Twice(layers.Layer):
        def forward(self, x):
            return 2 * x, lambda dy: 2 * dy

    model = cgru.Sequential([cgru.Input((3,)), layers.Dense(2), Twice()])
    with pytest.raises(ValueError, match="custom_objects"):
        cgru.models.model_from_json(model.to_json())
    copy = cgru.models.model_from_json(model.to_json(), custom_objects={"Twice": Twice})
    copy.set_weights(model.get_weights())
    x = rng.standard_normal((4, 3))
    np.testing.assert_array_equal(copy.predict(x), model.predict(x))


# ---- The door ----


def test_graphs_that_cannot_be(rng):
    a, b = cgru.Input((3,), name="a"), cgru.Input((3,), name="b")
    with pytest.raises(ValueError, match="not among the inputs"):
        cgru.Model(a, layers.Dense(1)(b))
    with pytest.raises(ValueError, match="expected what Input"):
        cgru.Model(np.zeros(3), layers.Dense(1)(a))
    h = layers.Dense(1)(a)
    with pytest.raises(ValueError, match=r"expected what Input\(\) returned"):
        cgru.Model(h, layers.Dense(1)(h))
    same = cgru.Input((3,), name="a")
    with pytest.raises(ValueError, match="different names"):
        cgru.Model([a, same], h)
    model = cgru.Model([a, b], layers.Dense(1)(layers.Add()([a, b])))
    x = rng.standard_normal((4, 3))
    with pytest.raises(ValueError, match=r"x: expected a list of 2 arrays, for \['a', 'b'\]"):
        model.predict(x)
    with pytest.raises(ValueError, match="same number of samples in all inputs"):
        model.predict([x, x[:2]])
    with pytest.raises(ValueError, match=r"expected the inputs \['a', 'b'\] as keys"):
        model.predict({"a": x, "c": x})
    with pytest.raises(ValueError, match=r"x\['b'\]: model.* expects shape \(None, 3\)"):
        model.predict([x, x[:, :2]])
    with pytest.raises(ValueError, match=r"x\['b'\]: expected finite"):
        model.predict([x, np.full((4, 3), np.nan)])


def test_get_layer():
    model = cgru.Sequential([cgru.Input((3,)), layers.Dense(2, name="a"), layers.Dense(1)])
    assert model.get_layer("a") is model.get_layer(index=0) is model.layers[0]
    with pytest.raises(ValueError, match="name: expected one of"):
        model.get_layer("b")
    with pytest.raises(ValueError, match="index: .* has 2 layers"):
        model.get_layer(index=2)


def test_pop():
    model = cgru.Sequential([cgru.Input((3,)), layers.Dense(2), layers.Dense(1)])
    model.pop()
    assert model.output_shape == (None, 2)
    assert model.predict(np.zeros((4, 3))).shape == (4, 2)


def test_summary_of_a_graph():
    lines = []
    model = encoder_decoder()
    model.layers[-2].trainable = False
    model.summary(print_fn=lines.append, show_trainable=True)
    assert len(lines) == 8
    assert lines[2].startswith("source (InputLayer)")
    assert "decoder (GRU), frozen" in "\n".join(lines)
    assert lines[5].endswith("target, encoder")
    assert lines[-1] == "Total parameters: 214 (856 bytes), trainable: 118, frozen: 96"
    lines.clear()
    model.summary(print_fn=lines.append, layer_range=["encoder", "decoder"])
    assert [line.split()[0] for line in lines[2:-1]] == ["source", "target", "encoder", "decoder"]


def test_summary_of_models_in_models():
    inner = cgru.Sequential([cgru.Input((None, 3)), layers.GRU(4, name="g")], name="inner")
    model = cgru.Sequential([cgru.Input((None, 3)), inner, layers.Dense(1, name="d")])
    lines = []
    model.summary(80, expand_nested=True, print_fn=lines.append)
    assert [line.split()[0] for line in lines[2:]] == ["inner", "g", "d", "Total"]
    assert lines[3].startswith("  g (GRU)")


@pytest.mark.parametrize("build", [False, True])
def test_a_model_that_ends_at_a_layer_of_another(rng, build):
    """Shared, so that it changes with it."""
    x = rng.standard_normal((4, 5, 3))
    first = [cgru.Input((None, 3))] if build else []
    model = cgru.Sequential([*first, layers.GRU(4, name="gru"), layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(x, np.ones(4))
    part = cgru.Model(model.inputs, model.get_layer("gru").output)
    for _ in range(2):
        whole = part.predict(x) @ model.layers[-1].kernel.numpy() + model.layers[-1].bias.numpy()
        np.testing.assert_allclose(model.predict(x), whole, rtol=1e-5)
        model.fit(x, np.ones(4))
    assert cgru.Model(model.input, model.output).predict(x).shape == (4, 1)
    assert model.get_layer("gru").input is model.input
    a = cgru.Input((None, 3))
    graph = cgru.Model({"a": a}, layers.Dense(2)(layers.GRU(4, name="g")(a)))
    assert graph.input["a"] is a
    assert cgru.Model(graph.input, graph.get_layer("g").output).predict(x).shape == (4, 4)
    with pytest.raises(AttributeError, match="output: expected new to have been called .* 0 calls"):
        layers.GRU(4, name="new").output  # noqa: B018


def test_compute_loss_and_metrics_results(rng):
    x, y = rng.standard_normal((6, 5, 3)), rng.standard_normal((6, 1))
    model = cgru.Sequential(
        [cgru.Input((None, 3)), layers.GRU(4, kernel_regularizer="l2"), layers.Dense(1)]
    )
    model.compile("sgd", "mse", metrics=[["mae"]])
    assert model.get_metrics_result() == {}
    loss = model.evaluate(x, y, return_dict=True)["loss"]
    assert model.compute_loss(x, y, model.predict(x)) == pytest.approx(loss, rel=1e-6)
    assert len(model.losses) == 1
    weights = rng.random(6)
    assert model.compute_loss(x, y, model.predict(x), weights) == pytest.approx(
        model.evaluate(x, y, sample_weight=weights, return_dict=True)["loss"], rel=1e-6
    )
    model.fit(x, y)
    assert model.get_metrics_result() == {k: v[-1] for k, v in model.history.history.items()}
    with pytest.raises(ValueError, match="y_pred: expected values for 'dense"):
        model.compute_loss(x, y)


def test_a_mask_that_is_an_input(rng):
    """A call on symbolic tensors may name a mask, as one on arrays."""
    x, valid = rng.standard_normal((4, 6, 3)), rng.random((4, 6)) < 0.6
    a, mask = cgru.Input((None, 3)), cgru.Input((None,), dtype="bool")
    gru = layers.GRU(5)
    model = cgru.Model([a, mask], layers.Dense(1)(gru(a, mask=mask)))
    expected = model.layers[-1](gru(x, mask=valid))
    np.testing.assert_allclose(model.predict([x, valid]), expected, rtol=1e-6)
    model.compile("sgd", "mse")
    model.fit([x, valid], np.ones(4))
    copy = cgru.models.model_from_json(model.to_json())
    copy.set_weights(model.get_weights())
    np.testing.assert_array_equal(copy.predict([x, valid]), model.predict([x, valid]))
    assert gru.input is a
    with pytest.raises(TypeError, match="mask: gru.* expects a symbolic tensor, got array"):
        gru(a, mask=valid)
    with pytest.raises(TypeError, match="mask: expected none for add"):
        layers.Add()([a, a], mask=mask)


def test_asking_for_the_inputs_changes_nothing():
    model = cgru.Sequential([cgru.layers.GRU(3, name="gru")])
    x = np.ones((2, 5, 4))
    model.predict(x)
    config = model.get_config()
    part = cgru.Model(model.inputs, model.get_layer("gru").output)
    np.testing.assert_array_equal(part.predict(x), model.predict(x))
    assert model.get_config() == config
    assert model.predict(x[:, :3]).shape == (2, 3)  # the data it was built by had 5 steps


@pytest.mark.parametrize("branched", ORDERS, ids=lambda make: make.__name__)
def test_layers_and_weights_are_in_the_order_of_keras(branched):
    model = branched(cgru)
    assert [layer.name for layer in model.layers] == ORDERS[branched]
    paths = list(dict.fromkeys(weight.path.split("/")[0] for weight in model.weights))
    assert paths == [name for name in ORDERS[branched] if model.get_layer(name).weights]
    assert [step.layer.name for step in model.steps] != paths  # calls stay in theirs
    copy = cgru.models.model_from_json(model.to_json())
    copy.set_weights(model.get_weights())
    assert [layer.name for layer in copy.layers] == ORDERS[branched]
    x = [np.ones((2, *(n or 3 for n in tensor.shape[1:]))) for tensor in model.inputs]
    x = x if len(x) > 1 else x[0]
    for got, y in zip(copy.predict(x), model.predict(x), strict=True):
        np.testing.assert_array_equal(got, y)


def test_build_without_a_shape():
    model = cgru.Sequential([cgru.Input((None, 3)), layers.GRU(4)])
    model.build()
    assert model.output_shape == (None, 4)
    skip(cgru).build()
    for new in (cgru.Sequential([layers.GRU(4)]), layers.GRU(4)):
        with pytest.raises(ValueError, match="input_shape: .* expects the shape .* got None"):
            new.build()


def test_a_build_that_fails_leaves_nothing():
    model = cgru.Sequential([layers.GRU(4), layers.GRU(4)])
    with pytest.raises(ValueError, match="output of gru"):
        model.build((None, 5, 3))
    assert not model.built
    assert "build_input_shape" not in model.get_config()


def test_one_output_in_a_dictionary():
    a = cgru.Input((None, 3))
    model = cgru.Model(a, {"y": layers.GRU(4, return_sequences=True)(a)})
    x = np.ones((1, 5, 3))
    for y in (model.predict_on_batch(x), model.stream().run(x)):
        assert y.keys() == {"y"}
        np.testing.assert_allclose(y["y"], model.predict(x)["y"], rtol=1e-6)
    assert model.stream().step(x[:, 0]).keys() == {"y"}


def test_calls_with_dictionaries(rng):
    a, b = cgru.Input((3,), name="a"), cgru.Input((3,), name="b")
    inner = cgru.Model({"b": b, "first": a}, {"sum": layers.Add()([a, b]), "same": a})
    x, y = rng.standard_normal((2, 4, 3)).astype("f4")
    for named in ({"a": x, "b": y}, {"first": x, "b": y}):
        for found in (inner(named), inner.predict(named), inner.predict_on_batch(named)):
            np.testing.assert_array_equal(found["sum"], x + y)
            np.testing.assert_array_equal(found["same"], x)
    found = inner({"a": a, "b": b})
    outer = cgru.Model([a, b], [found["same"], layers.Add()([found["sum"], a])])
    for model in (outer, cgru.models.clone_model(outer)):
        same, total = model([x, y])
        np.testing.assert_array_equal(same, x)
        np.testing.assert_allclose(total, 2 * x + y, rtol=1e-5)
    single = cgru.Model(a, layers.Dropout(0.5)(a))
    np.testing.assert_array_equal(single({"a": x}), x)
    assert (single(x, True) != x).any()
    with pytest.raises(ValueError, match=r"x: expected the inputs \['b', 'a'\] as keys, got"):
        inner({"a": x})


def test_initial_states_by_position(rng):
    x, h, c = rng.standard_normal((4, 5, 3)), np.ones((4, 6)), np.full((4, 6), 2.0)
    states = {
        layers.GRU(6): h,
        layers.LSTM(6): [h, c],
        layers.Bidirectional(layers.LSTM(6)): [h, c, c, h],
    }
    mask = np.arange(5) < [[5], [2], [1], [4]]
    for layer, state in states.items():
        expected = layer(x, initial_state=state, mask=mask)
        np.testing.assert_array_equal(layer(x, state, mask), expected)
    source, start = cgru.Input((None, 3)), cgru.Input((6,))
    gru = layers.GRU(6)
    model = cgru.Model([source, start], gru(source, start))
    np.testing.assert_allclose(model.predict([x, h]), gru(x, h), rtol=1e-5)


def test_the_shape_may_be_an_argument_of_the_first_layer():
    with pytest.warns(UserWarning, match=r"begin the Sequential with cgru.Input\(shape\)"):
        layer = layers.LSTM(5, input_shape=(10, 1))
    assert "input_shape" not in layer.get_config()
    model = cgru.Sequential([layer, layers.Dense(1)])
    assert model.output_shape == (None, 1)
    assert cgru.models.clone_model(model).input_shape == (None, 10, 1)
    with pytest.warns(UserWarning, match="input_dim"):
        model = cgru.Sequential([layers.Dense(2, input_dim=3)])
    assert model.input_shape == (None, 3)
    with pytest.warns(UserWarning, match="input_shape"):
        both = layers.Bidirectional(layers.GRU(2), input_shape=(None, 3))
    assert cgru.Sequential([both]).output_shape == (None, 4)
    with pytest.warns(UserWarning, match="input_length: not needed"):
        layer = layers.Embedding(1000, 32, input_length=10)
    assert "input_length" not in layer.get_config()
    with pytest.warns(UserWarning, match="alpha: the argument is called negative_slope now"):
        assert layers.LeakyReLU(alpha=0.1).get_config()["negative_slope"] == 0.1


def test_order_where_masks_are_not_known():
    """A mask made inside an inner model, and a layer of one's own that cannot say its mask."""

    class Strict(layers.Layer):
        def forward(self, x, mask=None):
            return x, lambda dy: dy

        def compute_mask(self, x, mask=None):
            raise KeyError("not asked for one step")

    a = cgru.Input((None,), dtype="int32")
    inner = cgru.Model(a, layers.Embedding(5, 3, mask_zero=True)(a), name="inner")
    source = cgru.Input((None,), dtype="int32", name="source")
    h = inner(source)
    model = cgru.Model(source, layers.Add(name="add")([layers.GRU(3, name="g")(h), h]))
    assert [layer.name for layer in model.layers] == ["source", "inner", "g", "add"]
    masked = layers.Embedding(5, 3, mask_zero=True)(source)
    cgru.Model(source, layers.GRU(3)(Strict()(masked)))
