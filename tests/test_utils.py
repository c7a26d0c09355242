"""Helpers for data: as in Keras, and errors at the door."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import cgru
from cgru import layers, utils

sys.path.insert(0, str(Path(__file__).parent / "golden"))
from make_utils import LABELS, PADDING, PATH, SEQUENCES

GOLDEN = json.loads(PATH.read_text())


def test_golden():
    for case, expected in zip(PADDING, GOLDEN["padded"], strict=True):
        np.testing.assert_array_equal(utils.pad_sequences(SEQUENCES, **case), expected)
    for (labels, count), expected in zip(LABELS, GOLDEN["categorical"], strict=True):
        np.testing.assert_array_equal(utils.to_categorical(labels, count), expected)


@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("rate", [1, 2])
@pytest.mark.parametrize("part", [(None, None), (4, 20)])
def test_windows_are_those_of_the_definition(stride, rate, part):
    series, targets = np.arange(30) * 10, np.arange(30)
    windows = utils.timeseries_dataset_from_array(
        series, targets, 4, stride, rate, batch_size=3, start_index=part[0], end_index=part[1]
    )
    first, end = part[0] or 0, part[1] or 30
    starts = range(first, end - 3 * rate, stride)
    batches = list(windows)
    assert len(batches) == len(windows) == -(-len(starts) // 3)
    x, y = (np.concatenate(items) for items in zip(*batches, strict=True))
    np.testing.assert_array_equal(y, starts)
    np.testing.assert_array_equal(x, [[series[s + i * rate] for i in range(4)] for s in starts])


def test_windows_are_shuffled_anew(rng):
    data = np.arange(50.0)
    windows = utils.timeseries_dataset_from_array(data, None, 5, shuffle=True, seed=1, batch_size=8)
    first, second = (np.concatenate(list(windows)) for _ in range(2))
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(np.sort(first[:, 0]), np.sort(second[:, 0]))
    again = utils.timeseries_dataset_from_array(data, None, 5, shuffle=True, seed=1, batch_size=8)
    np.testing.assert_array_equal(np.concatenate(list(again)), first)


def test_windows_are_fitted(rng):
    series = rng.standard_normal((200, 2))
    windows = utils.timeseries_dataset_from_array(series[:-10], series[10:, 0], 10, batch_size=16)
    model = cgru.Sequential([layers.GRU(4), layers.Dense(1)])
    model.compile("adam", "mse")
    history = model.fit(windows, epochs=3, validation_data=windows)
    assert len(history.history["val_loss"]) == 3
    assert model.optimizer.iterations == 3 * len(windows)
    model.evaluate(windows)


def test_split_dataset(rng):
    x, y = rng.standard_normal((10, 3)), np.arange(10)
    (a, b), (c, d) = utils.split_dataset((x, y), left_size=0.7)
    np.testing.assert_array_equal(np.concatenate([a, c]), x)
    np.testing.assert_array_equal(np.concatenate([b, d]), y)
    left, right = utils.split_dataset(y, right_size=3, shuffle=True, seed=1)
    assert len(left) == 7
    assert sorted([*left, *right]) == list(range(10))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: utils.to_categorical([0, 5], 3), "x: expected labels from 0 to 2"),
        (lambda: utils.to_categorical([0.5]), "x: expected integers, got 0.5"),
        (lambda: utils.pad_sequences([[1]], padding="left"), "padding: expected 'pre' or 'post'"),
        (lambda: utils.pad_sequences([1]), r"sequences\[0\]: expected a sequence, got 1"),
        (lambda: utils.timeseries_dataset_from_array(np.zeros(5), None, 9), "sequence_length:"),
        (lambda: utils.split_dataset(np.zeros(5), left_size=7), "expected two parts of 5 samples"),
        (lambda: utils.split_dataset(np.zeros(5)), "expected at least one"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_many_classes_take_no_table():
    assert utils.to_categorical([[1], [999_999]], 1_000_000).sum() == 2


class Batches(utils.PyDataset):
    """Three batches, after which it counts an epoch."""

    epochs = 0

    def __len__(self):
        return 3

    def __getitem__(self, index):
        x = np.full((2, 1), index / 4)
        return x, 2 * x

    def on_epoch_end(self):
        self.epochs += 1


def test_batches_by_number():
    batches = Batches(workers=4)
    model = cgru.Sequential([cgru.Input((1,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(batches, epochs=2)
    assert batches.epochs == 2
    assert model.predict(batches).shape == (6, 1)
    assert model.optimizer.iterations == 6


def test_clear_session_restarts_names():
    layers.Dense(1)
    utils.clear_session()
    assert [layers.Dense(1).name, layers.Dense(1).name] == ["dense", "dense_1"]
    assert cgru.Input((1,)).name == "input"
