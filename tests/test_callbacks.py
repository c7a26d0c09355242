"""Callbacks: their protocol, the decisions that Keras's take, and going on after interruptions."""

import contextlib
import io
import json
import os
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import kills
import numpy as np
import pytest
from processes import python

import cgru
from cgru import callbacks, layers

GOLDEN = json.loads((Path(__file__).parent / "golden" / "callbacks.json").read_text())


def data(count=30):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((count, 4, 2)).astype(np.float32)
    return x, x.sum(axis=(1, 2))[:, np.newaxis]


def make(metrics=("mae",), optimizer="adam", seed=1, kind=layers.GRU, **options):
    """A model that uses all sources of randomness."""
    cgru.utils.set_random_seed(seed)
    model = cgru.Sequential(
        [
            cgru.Input((4, 2)),
            layers.GRU(3, return_sequences=True, name="gru"),
            layers.Dropout(0.3, name="dropout"),
            kind(2, name="last", **options),
            layers.Dense(1, name="dense"),
        ]
    )
    model.compile(optimizer, "mse", metrics=list(metrics))
    return model


class Spy(callbacks.Callback):
    """Notes all that it is told."""

    def __init__(self):
        self.told = []


def _note(event):
    def method(self, *args):
        self.told.append((event, *args))

    return method


for name in callbacks.base.EVENTS:
    setattr(Spy, name, _note(name))


# ---- The protocol ----


def test_every_event_of_keras_is_there():
    events = {
        f"on_{mode}_{when}" for mode in ("train", "test", "predict") for when in ("begin", "end")
    }
    events |= {
        f"on_{mode}batch_{when}"
        for mode in ("", "train_", "test_", "predict_")
        for when in ("begin", "end")
    }
    events |= {"on_epoch_begin", "on_epoch_end"}
    assert set(callbacks.base.EVENTS) == events


def test_a_list_tells_all_of_everything():
    first, second = Spy(), Spy()
    both = callbacks.CallbackList([first, [second]])
    for event in callbacks.base.EVENTS:
        args = (3, {"loss": 1.0}) if "batch" in event or "epoch" in event else ({"loss": 1.0},)
        getattr(both, event)(*args)
        assert first.told[-1] == second.told[-1] == (event, *args)


def test_a_list_of_callbacks():
    spy = Spy()
    model = SimpleNamespace()
    all_of_them = callbacks.CallbackList(
        callbacks.CallbackList([spy]), add_history=True, add_progbar=True, model=model, epochs=3
    )
    kinds = [type(callback) for callback in all_of_them.callbacks]
    assert kinds == [Spy, callbacks.History, callbacks.ProgbarLogger]
    assert spy.model is model
    assert spy.params == {"epochs": 3}
    assert model.history is all_of_them.callbacks[1]
    own = callbacks.History()
    callbacks.CallbackList(own, add_history=True, model=model)
    assert model.history is own
    with pytest.raises(TypeError, match="callbacks: expected Callback objects, got 3"):
        callbacks.CallbackList([spy, 3])


def test_only_those_who_listen_are_called_for_batches(tmp_path):
    class Alias(callbacks.Callback):
        def on_batch_end(self, batch, logs=None):
            self.seen = batch, logs

    class Saver(callbacks.ModelCheckpoint):
        def on_train_batch_end(self, batch, logs=None):
            super().on_train_batch_end(batch, logs)
            self.seen = batch

    deaf = [
        callbacks.Callback(),
        callbacks.History(),
        callbacks.ProgbarLogger(),
        callbacks.EarlyStopping(),
        callbacks.ReduceLROnPlateau(),
        callbacks.LearningRateScheduler(lambda epoch: 0.1),
        callbacks.CSVLogger(tmp_path / "log"),
        callbacks.ModelCheckpoint(tmp_path / "model"),
        callbacks.BackupAndRestore(tmp_path),
        callbacks.LambdaCallback(on_epoch_end=print),
    ]
    for mode in ("train", "test", "predict"):
        assert callbacks.CallbackList(deaf).batch_calls(mode) == ([], [])

    seen = []
    alias, saver = Alias(), Saver(tmp_path / "model")
    listening = [
        alias,
        saver,
        callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(batch)),
        callbacks.LambdaCallback(on_batch_end=lambda batch, logs: seen.append(logs)),
    ]
    begin, end = callbacks.CallbackList(deaf + listening).batch_calls("train")
    assert begin == []
    assert len(end) == 4
    for call in end:
        call(7, {"loss": 2.0})
    assert alias.seen == (7, {"loss": 2.0})
    assert saver.seen == 7
    assert seen == [7, {"loss": 2.0}]
    # Last among the ends, whatever its place in the list.
    backup = callbacks.BackupAndRestore(tmp_path, save_freq=2)
    _, end = callbacks.CallbackList([backup, callbacks.TerminateOnNaN()]).batch_calls("train")
    assert [call.__self__.__class__ for call in end] == [
        callbacks.TerminateOnNaN,
        callbacks.BackupAndRestore,
    ]


def test_lambda_callback():
    told = []
    names = ("on_epoch_begin", "on_epoch_end", "on_train_begin", "on_train_end")
    functions = {
        name: lambda *args, name=name: told.append((name, *args))
        for name in (*names, "on_train_batch_begin", "on_train_batch_end", "on_test_end")
    }
    callback = callbacks.LambdaCallback(**functions)
    for name in functions:
        getattr(callback, name)(1, {"loss": 2.0})
        assert told[-1] == (name, 1, {"loss": 2.0})
    with pytest.raises(TypeError, match="on_epoc_end: expected a method of Callback"):
        callbacks.LambdaCallback(on_epoc_end=print)
    with pytest.raises(TypeError, match="on_test_end: expected a function, got 3"):
        callbacks.LambdaCallback(on_test_end=3)


# ---- The decisions of Keras ----


class FakeModel:
    """Weights that tell the epoch."""

    def __init__(self):
        self.optimizer = SimpleNamespace(learning_rate=1.0, check_settable=lambda: None)
        self.stop_training = False
        self.weights = [-1]
        directions = {"score": "up", "error": "down", "neither": None}
        named = {name: SimpleNamespace(direction=found) for name, found in directions.items()}
        self.objective = SimpleNamespace(named_metrics=named)

    def get_weights(self):
        return list(self.weights)

    def set_weights(self, weights):
        self.weights = list(weights)


def drive(callback, epochs, batches=0):
    """Call a callback as fit does, and return what it did, as the golden script notes it."""
    model = FakeModel()
    callback.set_model(model)
    rates, stopped = [], None
    output = io.StringIO()
    with contextlib.redirect_stdout(output), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        callback.on_train_begin()
        for epoch, logs in enumerate(epochs):
            callback.on_epoch_begin(epoch)
            for batch in range(batches):
                callback.on_train_batch_begin(batch)
                callback.on_train_batch_end(batch, dict(logs))
            model.weights = [epoch]
            logs = dict(logs)
            callback.on_epoch_end(epoch, logs)
            rates.append([model.optimizer.learning_rate, logs.get("learning_rate")])
            if model.stop_training:
                stopped = epoch
                break
        callback.on_train_end()
    return {
        "stopped": stopped,
        "rates": rates,
        "weights": model.weights,
        "lines": output.getvalue().splitlines(),
        "warnings": len(warned),
    }


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: case["callback"])
def test_decisions_are_those_of_keras(case, tmp_path, monkeypatch):
    saved, options = [], dict(case["options"])
    monkeypatch.setattr(
        callbacks.ModelCheckpoint,
        "_write",
        lambda callback, path, epoch, batch: saved.append(os.path.basename(path)),
    )
    if case["callback"] == "ModelCheckpoint":
        options["filepath"] = tmp_path / options["filepath"]
    callback = getattr(callbacks, case["callback"])(**options)
    found = drive(callback, case["epochs"], case["batches"])
    assert found | {"saved": saved} == case["expected"]
    assert drive(callback, case["epochs"])["stopped"] == case["expected"]["stopped"], "used again"


@pytest.mark.parametrize("case", GOLDEN["csv"])
def test_csv_files_are_those_of_keras(case, tmp_path):
    for append in (False, True):
        drive(callbacks.CSVLogger(tmp_path / "log", case["separator"], append), case["epochs"])
    assert (tmp_path / "log").read_bytes().decode() == case["text"]
    with pytest.raises(ValueError, match="separator: expected one character, got ', '"):
        callbacks.CSVLogger(tmp_path / "log", ", ")


# ---- Watching figures ----


def test_auto_mode_knows_the_loss_and_metrics_that_say_what_is_better():
    def better(monitor, value):
        callback = callbacks.EarlyStopping(monitor)
        callback.set_model(FakeModel())
        return callback.is_improvement(value, 1.0)

    for monitor, up in (
        ("loss", False),
        ("val_loss", False),
        ("val_score", True),
        ("error", False),
    ):
        assert better(monitor, 2.0) is up
        assert better(monitor, 0.5) is not up
    for monitor in ("neither", "unknown", "out_loss"):
        with pytest.raises(ValueError, match=f"whether less or more of '{monitor}'"):
            better(monitor, 2.0)
    model = make(metrics=[cgru.metrics.Recall(), cgru.metrics.Recall(0.3)])
    stop = callbacks.EarlyStopping("recall_1", patience=1)
    assert len(model.fit(*data(), epochs=9, callbacks=[stop]).epoch) < 9


def test_an_unknown_mode_is_auto():
    with pytest.warns(UserWarning, match="mode: expected 'auto', 'min' or 'max', got 'less'"):
        callback = callbacks.EarlyStopping("loss", mode="less")
    assert callback.mode == "auto"


@pytest.mark.parametrize(
    ("make_callback", "message"),
    [
        (lambda: callbacks.EarlyStopping(monitor=3), "monitor: expected the name"),
        (lambda: callbacks.EarlyStopping(patience=-1), "patience: expected an integer >= 0"),
        (lambda: callbacks.EarlyStopping(min_delta="a"), "min_delta: expected a number"),
        (lambda: callbacks.EarlyStopping(baseline="a"), "baseline: expected a number"),
        (lambda: callbacks.EarlyStopping(start_from_epoch=0.5), "start_from_epoch: expected"),
        (lambda: callbacks.ReduceLROnPlateau(factor=1.0), "factor: expected a number >= 0 and < 1"),
        (lambda: callbacks.ReduceLROnPlateau(cooldown=-1), "cooldown: expected"),
        (lambda: callbacks.ReduceLROnPlateau(min_lr=-1), "min_lr: expected"),
        (lambda: callbacks.ModelCheckpoint("a", save_freq="batch"), "save_freq: expected 'epoch'"),
        (
            lambda: callbacks.ModelCheckpoint("a", save_freq=0),
            "save_freq: expected an integer >= 1",
        ),
        (
            lambda: callbacks.ModelCheckpoint("a", initial_value_threshold="a"),
            "initial_value_threshold: expected a number",
        ),
        (lambda: callbacks.BackupAndRestore(""), "backup_dir: expected the path of a folder"),
        (lambda: callbacks.BackupAndRestore("a", save_freq=0), "save_freq: expected"),
        (lambda: callbacks.LearningRateScheduler(0.1), "schedule: expected a function"),
    ],
)
def test_arguments_are_checked_at_the_door(make_callback, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make_callback()


def test_early_stopping_restores_the_best_weights():
    model = make()
    weights = []
    stop = callbacks.EarlyStopping("figure", patience=2, mode="min", restore_best_weights=True)
    figures = [3.0, 2.0, 1.0, 4.0, 1.0, 0.0]

    class Figures(callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["figure"] = figures[epoch]
            weights.append(self.model.get_weights())

    history = model.fit(*data(), epochs=6, callbacks=[Figures(), stop])
    assert history.history["figure"] == figures[:5]
    assert (stop.stopped_epoch, stop.best_epoch, stop.best) == (4, 2, 1.0)
    for found, best in zip(model.get_weights(), weights[2], strict=True):
        np.testing.assert_array_equal(found, best)


# ---- Steering ----


def test_reducing_the_learning_rate_of_a_model():
    model = make(optimizer=cgru.optimizers.SGD(1e-30))
    reduce = callbacks.ReduceLROnPlateau("val_loss", factor=0.5, patience=2)
    x, y = data()
    history = model.fit(x, y, epochs=6, validation_data=(x, y), callbacks=[reduce])
    expected = [1e-30, 1e-30, 1e-30, 5e-31, 5e-31, 2.5e-31]
    assert history.history["learning_rate"] == expected


def test_a_schedule_is_not_reduced():
    rate = cgru.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)
    model = make(optimizer=cgru.optimizers.SGD(rate))
    with pytest.raises(TypeError, match="learning_rate: this sgd follows a schedule"):
        model.fit(*data(), callbacks=[callbacks.ReduceLROnPlateau("loss", patience=10)])
    assert model.optimizer.iterations == 0


@pytest.mark.parametrize(
    "schedule",
    [lambda epoch, rate: rate / 2, lambda epoch: 0.5 ** (epoch + 1), lambda *args: args[1] / 2],
)
def test_scheduling_the_learning_rate(schedule, capsys):
    model = make(optimizer=cgru.optimizers.SGD(1.0))
    callback = callbacks.LearningRateScheduler(schedule, verbose=1)
    history = model.fit(*data(), epochs=3, callbacks=[callback])
    assert history.history["learning_rate"] == [0.5, 0.25, 0.125]
    assert model.optimizer.learning_rate == 0.125
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "Epoch 2: LearningRateScheduler setting learning rate to 0.25."


def test_errors_within_a_schedule_come_out():
    def faulty(epoch, rate):
        raise TypeError("mine")

    with pytest.raises(TypeError, match="mine"):
        make().fit(*data(), callbacks=[callbacks.LearningRateScheduler(faulty)])
    with pytest.raises(ValueError, match="schedule: expected it to return a float, got 1"):
        make().fit(*data(), callbacks=[callbacks.LearningRateScheduler(lambda epoch: 1)])


@pytest.mark.parametrize("loss", [np.nan, np.inf, -np.inf])
def test_terminate_on_nan(loss, capsys):
    callback = callbacks.TerminateOnNaN()
    callback.set_model(FakeModel())
    for logs in (None, {}, {"loss": 1.0}):
        callback.on_train_batch_end(2, logs)
    assert not callback.model.stop_training
    callback.on_train_batch_end(3, {"loss": loss})
    assert callback.model.stop_training
    assert capsys.readouterr().out == "Batch 3: Invalid loss, terminating training\n"
    with pytest.raises(RuntimeError, match="loss: expected a finite number, got .* at batch 3"):
        callbacks.TerminateOnNaN(raise_error=True).on_train_batch_end(3, {"loss": loss})


def test_fit_ends_when_the_loss_is_infinite():
    model = make(optimizer=cgru.optimizers.SGD(1e30))
    with np.errstate(all="ignore"):
        history = model.fit(*data(), epochs=50, callbacks=[callbacks.TerminateOnNaN()])
    assert len(history.epoch) < 50
    assert not np.isfinite(history.history["loss"][-1])


# ---- Saving ----


def test_checkpoints_of_the_best_model(tmp_path, capsys):
    model = make()
    save = callbacks.ModelCheckpoint(
        tmp_path / "new" / "{epoch}-{figure:.1f}.weights",
        "figure",
        verbose=1,
        save_best_only=True,
        save_weights_only=True,
        mode="max",
    )
    figures, weights = [1.0, 3.0, 2.0], []

    class Figures(callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["figure"] = figures[epoch]
            weights.append(self.model.get_weights())

    model.fit(*data(), epochs=3, callbacks=[Figures(), save])
    assert sorted(os.listdir(tmp_path / "new")) == ["1-1.0.weights", "2-3.0.weights"]
    path = tmp_path / "new" / "2-3.0.weights"
    again = make(seed=2)
    cgru.saving.load_weights(again, path)
    for found, best in zip(again.get_weights(), weights[1], strict=True):
        np.testing.assert_array_equal(found, best)
    assert capsys.readouterr().out.splitlines()[2:] == [
        f"Epoch 2: figure improved from 1.00000 to 3.00000, saving model to {path}",
        f"Epoch 2: finished saving model to {path}",
        "Epoch 3: figure did not improve from 3.00000",
    ]


def test_checkpoints_of_whole_models(tmp_path):
    model = make()
    x, y = data()
    model.fit(x, y, epochs=2, callbacks=[callbacks.ModelCheckpoint(tmp_path / "model.safetensors")])
    again = cgru.saving.load_model(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(again.predict(x), model.predict(x))
    with pytest.raises(KeyError, match="names 'val_loss', which is not there; there are: epoch"):
        model.fit(x, y, callbacks=[callbacks.ModelCheckpoint(tmp_path / "{val_loss}")])


# ---- TensorBoard ----


def scalars(folder):
    """What the event files of a folder hold: values by name and step."""
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
    found = {}
    for path in folder.glob("events*"):
        content = path.read_bytes()
        while content:
            size = int.from_bytes(content[:8], "little")
            event = event_pb2.Event.FromString(content[12 : 12 + size])
            content = content[16 + size :]
            for value in event.summary.value:
                found[value.tag, event.step] = value.simple_value
    return found


def test_tensorboard(tmp_path):
    pytest.importorskip("tensorboardX")
    model = make(optimizer=cgru.optimizers.SGD(0.5))
    epoch_alone = callbacks.TensorBoard(tmp_path / "a")
    every_second = callbacks.TensorBoard(tmp_path / "b", update_freq=2)
    batches = []
    watch = callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: batches.append(logs))
    history = run(model, 2, watch, epoch_alone, every_second).history
    expected = {
        (f"epoch_{name}", epoch): history[name][epoch]
        for name in ("loss", "mae")
        for epoch in (0, 1)
    }
    expected |= {("epoch_learning_rate", 0): 0.5, ("epoch_learning_rate", 1): 0.5}
    assert scalars(tmp_path / "a" / "train") == pytest.approx(expected)
    for step in (2, 4, 6):
        for name, value in batches[step - 1].items():
            expected[f"batch_{name}", step] = value
    assert scalars(tmp_path / "b" / "train") == pytest.approx(expected)
    validation = scalars(tmp_path / "a" / "validation")
    for epoch in (0, 1):
        for name in ("loss", "mae"):
            figure = pytest.approx(history[f"val_{name}"][epoch])
            assert validation[f"epoch_{name}", epoch] == figure


def test_tensorboard_of_evaluations(tmp_path):
    pytest.importorskip("tensorboardX")
    model = make()
    board = callbacks.TensorBoard(tmp_path)
    run(model, 2, board)
    assert ("evaluation_loss_vs_iterations", 6) in scalars(tmp_path / "validation")
    loss, _ = model.evaluate(*data(), callbacks=[callbacks.TensorBoard(tmp_path / "own")])
    found = scalars(tmp_path / "own" / "validation")
    assert found["evaluation_loss_vs_iterations", 6] == pytest.approx(loss)


def test_tensorboard_of_metrics_of_several_values(tmp_path):
    pytest.importorskip("tensorboardX")
    model = make(metrics=[cgru.metrics.Recall([0.2, 0.5])])
    run(model, 1, callbacks.TensorBoard(tmp_path))
    found = scalars(tmp_path / "train")
    assert {("epoch_recall_0", 0), ("epoch_recall_1", 0)} < found.keys()
    assert ("epoch_recall", 0) not in found


def test_what_tensorboard_does_not_write(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="histogram_freq: expected 0, for only scalars"):
        callbacks.TensorBoard(tmp_path, histogram_freq=1)
    with pytest.raises(ValueError, match="update_freq: expected 'epoch' or an integer"):
        callbacks.TensorBoard(tmp_path, update_freq="day")
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r"pip install cgru\[tensorboard\]"):
        callbacks.TensorBoard(tmp_path)


# ---- Going on after an interruption ----


class InterruptionError(Exception):
    """What stops a run here."""


class Interrupt(callbacks.Callback):
    def __init__(self, event, epoch, batch=None):
        self.place = epoch, batch
        self.epoch = None
        setattr(self, event, self.strike)

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def strike(self, index, logs=None):
        if (self.epoch, index) == self.place or (index, None) == self.place:
            raise InterruptionError


def run(model, epochs, *others, backup=None, **options):
    loop = [*([] if backup is None else [backup]), *others]
    x, y = data()
    options = {"batch_size": 10, "validation_split": 0.1, **options}
    return model.fit(x, y, epochs=epochs, callbacks=loop, **options)


def snapshot(model):
    optimizer = {f"optimizer {k}": v for k, v in model.optimizer.get_state().items()}
    return dict(enumerate(model.get_weights())) | optimizer


def assert_same(model, other):
    found, expected = snapshot(model), snapshot(other)
    assert found.keys() == expected.keys()
    for key, array in expected.items():
        np.testing.assert_array_equal(found[key], array, err_msg=str(key))


OPTIMIZERS = {
    "adam": lambda: cgru.optimizers.Adam(0.01),
    "momentum": lambda: cgru.optimizers.SGD(0.01, momentum=0.9),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(
    "place",
    [("on_epoch_begin", 2), ("on_train_batch_end", 2, 1)],
    ids=["between epochs", "within an epoch"],
)
def test_a_run_interrupted_between_backups_ends_as_if_it_had_not_been(tmp_path, optimizer, place):
    straight = make(optimizer=OPTIMIZERS[optimizer]())
    expected = run(straight, 5)

    model = make(optimizer=OPTIMIZERS[optimizer]())
    with pytest.raises(InterruptionError):
        run(model, 5, Interrupt(*place), backup=callbacks.BackupAndRestore(tmp_path / "b"))
    assert os.listdir(tmp_path / "b") == ["latest.safetensors"]
    model = make(optimizer=OPTIMIZERS[optimizer](), seed=99)  # as in a new process
    history = run(model, 5, backup=callbacks.BackupAndRestore(tmp_path / "b"))
    assert_same(model, straight)
    assert history.epoch == expected.epoch
    assert history.history == expected.history
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("stateful", "kind"),
    [(False, layers.GRU), *((True, kind) for kind in (layers.GRU, layers.LSTM, layers.SimpleRNN))],
)
@pytest.mark.parametrize("batch", [1, 2, 3, 4, 5])
def test_a_run_interrupted_within_an_epoch_ends_as_if_it_had_not_been(
    tmp_path, batch, stateful, kind
):
    options = {"batch_size": 5, "validation_split": 1 / 6, "shuffle": not stateful}
    straight = make(stateful=stateful, kind=kind)
    expected = run(straight, 4, **options)

    model = make(stateful=stateful, kind=kind)
    interrupt = Interrupt("on_train_batch_begin", 1, batch)
    if batch == 5:  # there is none such: after the last batch, before the end of the epoch
        interrupt = Interrupt("on_test_begin", 1)
        interrupt.on_test_begin = lambda logs=None: interrupt.strike(interrupt.epoch)
    with pytest.raises(InterruptionError):
        run(model, 4, interrupt, backup=callbacks.BackupAndRestore(tmp_path, 1), **options)
    batches = []
    count = callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: batches.append(batch))
    model = make(stateful=stateful, kind=kind, seed=99)
    history = run(model, 4, count, backup=callbacks.BackupAndRestore(tmp_path, 1), **options)
    assert len(batches) == 3 * 5 - batch
    assert_same(model, straight)
    assert history.history == expected.history
    assert history.epoch == expected.epoch


def test_going_on_in_another_process(tmp_path):
    straight = make()
    run(straight, 4)
    with pytest.raises(InterruptionError):
        run(
            make(),
            4,
            Interrupt("on_epoch_begin", 2),
            backup=callbacks.BackupAndRestore(tmp_path / "b"),
        )
    code = """
import sys, test_callbacks as t
model = t.make(seed=99)
t.run(model, 4, backup=t.callbacks.BackupAndRestore(sys.argv[1] + "/b"))
t.cgru.saving.save_weights(model, sys.argv[1] + "/end")
"""
    python(code, tmp_path)
    model = make()
    cgru.saving.load_weights(model, tmp_path / "end")
    assert_same(model, straight)


def test_what_other_callbacks_change_is_part_of_a_backup(tmp_path):
    def halve():
        return callbacks.LambdaCallback(on_epoch_end=lower)

    def lower(epoch, logs):
        model.optimizer.learning_rate = model.optimizer.learning_rate / 2

    model = straight = make(optimizer=cgru.optimizers.Adam(0.01))
    run(straight, 4, halve())
    model = make(optimizer=cgru.optimizers.Adam(0.01))
    with pytest.raises(InterruptionError):
        run(model, 4, halve(), Interrupt("on_epoch_begin", 2),
            backup=callbacks.BackupAndRestore(tmp_path))  # fmt: skip
    model = make(optimizer=cgru.optimizers.Adam(0.01))
    run(model, 4, halve(), backup=callbacks.BackupAndRestore(tmp_path))
    assert model.optimizer.learning_rate == 0.01 / 16
    assert_same(model, straight)


@pytest.mark.parametrize("save_freq", ["epoch", 1])
def test_a_backup_of_metrics_of_several_values(tmp_path, save_freq):
    class Single(callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["single"] = np.float32(0.1)

    metrics = [cgru.metrics.Recall([0.2, 0.5])]
    expected = run(make(metrics), 3, Single()).history
    interrupted = make(metrics)
    backup = callbacks.BackupAndRestore(tmp_path, save_freq)
    with pytest.raises(InterruptionError):
        run(interrupted, 3, Single(), Interrupt("on_epoch_begin", 2), backup=backup)
    found = run(interrupted, 3, Single(), backup=backup).history
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert [type(value) is np.ndarray for value in found[name]] == [name.endswith("recall")] * 3
        np.testing.assert_array_equal(found[name], values)


@pytest.mark.parametrize("double", [False, True])
def test_a_damaged_backup(tmp_path, double):
    straight = make()
    run(straight, 4)
    backup = callbacks.BackupAndRestore(tmp_path / "b", double_checkpoint=double)
    with pytest.raises(InterruptionError):
        run(make(), 4, Interrupt("on_epoch_begin", 3), backup=backup)
    latest = tmp_path / "b" / "latest.safetensors"
    latest.write_bytes(latest.read_bytes()[:-10])
    model = make()
    if double:
        with pytest.warns(UserWarning, match="damaged.*the one before it is used"):
            run(model, 4, backup=backup)
        assert_same(model, straight)
        assert not (tmp_path / "b").exists()
    else:
        with pytest.raises(ValueError, match="damaged"):
            run(model, 4, backup=backup)
        assert latest.exists()


def test_a_backup_that_is_kept_ends_the_next_run_at_once(tmp_path):
    model = make()
    backup = callbacks.BackupAndRestore(tmp_path, delete_checkpoint=False)
    history = run(model, 3, backup=backup)
    again = make(seed=5)
    assert run(again, 3, backup=backup).history == history.history
    assert_same(again, model)
    run(again, 4, backup=backup)
    assert again.history.epoch == [0, 1, 2, 3]


def test_a_backup_removes_nothing_but_its_own(tmp_path):
    (tmp_path / "mine").write_text("text")
    run(make(), 1, backup=callbacks.BackupAndRestore(tmp_path))
    assert os.listdir(tmp_path) == ["mine"]


def test_what_was_not_finished_is_removed_unless_somebody_writes_it(tmp_path):
    fcntl = pytest.importorskip("fcntl")
    names = ["a[1]-3.st.0123abcd.tmp", "a[1]-4.st.89efabcd.tmp"]
    others = ["a[1]-3.st", "a1-3.st.0123abcd.tmp", "a[1]-3.st.tmp", "a[1]-3.st.notours0.tmp"]
    for name in names + others:
        (tmp_path / name).touch()
    with open(tmp_path / names[0], "rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        run(make(), 1, callbacks.ModelCheckpoint(tmp_path / "a[1]-{epoch}.st"))
        left = sorted([*others, names[0], "a[1]-1.st"])
        assert sorted(os.listdir(tmp_path)) == left
    run(make(), 1, callbacks.ModelCheckpoint(tmp_path / "a[1]-{epoch}.st"))
    assert sorted(os.listdir(tmp_path)) == sorted([*others, "a[1]-1.st"])


def test_a_backup_of_another_model_is_refused(tmp_path):
    with pytest.raises(InterruptionError):
        run(make(), 4, Interrupt("on_epoch_begin", 2), backup=callbacks.BackupAndRestore(tmp_path))
    other = cgru.Sequential([cgru.Input((4, 2)), layers.GRU(1, name="gru")])
    other.compile("adam", "mse")
    before = other.get_weights()
    with pytest.raises(cgru.saving.MismatchError, match="gru/kernel"):
        run(other, 4, backup=callbacks.BackupAndRestore(tmp_path))
    assert other.optimizer.iterations == 0
    for found, expected in zip(other.get_weights(), before, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_backup_needs_a_model_with_weights(tmp_path):
    model = cgru.Sequential([layers.GRU(2)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="has no weights yet: build it before fit"):
        model.fit([data()], callbacks=[callbacks.BackupAndRestore(tmp_path)])


def test_a_checkpoint_of_other_layers(tmp_path):
    model = make()
    run(model, 2, callbacks.ModelCheckpoint(tmp_path / "weights", save_weights_only=True))
    entry = cgru.Input(batch_shape=model.input_shape)
    other = cgru.Sequential([entry, *model.layers[:-1], layers.GaussianNoise(1), model.layers[-1]])
    other.compile("adam", "mse")
    other.load_weights(tmp_path / "weights")
    x, y = (np.zeros((4, *shape[1:])) for shape in (other.input_shape, other.output_shape))
    source = cgru._random.get_state()
    other.fit(x, y, shuffle=False)  # from the beginning: nothing of that training matters
    assert cgru._random.get_state() == source
    other.load_weights(tmp_path / "weights")
    with pytest.warns(UserWarning, match="goes on with other random numbers: filepath: .*not fit"):
        other.fit(x, y, epochs=3, initial_epoch=2)


@pytest.mark.parametrize("kind", kills.KINDS)
def test_a_run_that_is_killed_ends_as_if_it_had_not_been(kind):
    number = int(os.environ.get("CGRU_KILLS", "5"))
    code = "import sys, kills; print(kills.torment(sys.argv[1], int(sys.argv[2])))"
    assert int(python(code, kind, number)) >= 1


def test_only_callbacks_that_have_begun_are_told_of_the_end(tmp_path):
    x, y = np.ones((4, 2)), np.ones(4)
    model = cgru.Sequential([cgru.Input((2,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    stop = callbacks.EarlyStopping("loss", restore_best_weights=True)
    model.fit(x, y, epochs=2, callbacks=[stop])
    weights = [np.full((2, 1), 7.0), np.zeros(1)]
    model.set_weights(weights)
    missing = callbacks.CSVLogger(tmp_path / "none" / "log.csv")
    with pytest.raises(FileNotFoundError):
        model.fit(x, y, callbacks=[missing, stop])
    np.testing.assert_array_equal(model.get_weights()[0], weights[0])

    class Fails(callbacks.Callback):
        def on_train_end(self, logs=None):
            raise RuntimeError("at the end")

    told = []
    last = callbacks.LambdaCallback(on_train_end=lambda logs: told.append(logs))
    with pytest.raises(RuntimeError, match="at the end"):
        model.fit(x, y, callbacks=[Fails(), last])
    assert len(told) == 1


def test_an_optimizer_of_other_weights_is_refused_before_a_log_is_emptied(tmp_path):
    model = cgru.Sequential([cgru.Input((2,)), layers.Dense(2), layers.Dense(1)])
    model.compile("sgd", "mse")
    log = tmp_path / "log.csv"
    model.fit(np.ones((4, 2)), np.ones(4), callbacks=[callbacks.CSVLogger(log)])
    before = log.read_text()
    model.layers[0].trainable = False
    with pytest.raises(ValueError, match="was used with other weights"):
        model.fit(np.ones((4, 2)), np.ones(4), callbacks=[callbacks.CSVLogger(log)])
    assert log.read_text() == before
