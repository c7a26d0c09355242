"""The experiments of `make papers`: what is learned and judged, and that a run goes on."""

import functools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

PAPERS = Path(__file__).parent.parent / "benchmarks" / "papers"
if not PAPERS.exists():
    pytest.skip("the benchmarks are not here", allow_module_level=True)
pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")


@pytest.fixture
def load(monkeypatch):
    """Imports a module of the experiments."""
    for folder in (PAPERS.parent, PAPERS):
        monkeypatch.syspath_prepend(folder)
    return functools.partial(__import__)


def test_the_sum_of_the_two_marked_numbers_is_asked_for(load, rng):
    x, y = load("adding").Adding.sample(rng, 200, 9)
    assert x.shape == (200, 9, 2)
    assert y.shape == (200, 1)
    assert set(np.unique(x[:, :, 1])) == {0, 1}
    np.testing.assert_array_equal(x[:, :, 1].sum(axis=1), 2)
    assert (x[:, :, 1].sum(axis=0) > 20).all()  # all places are marked
    for row, target in zip(x, y, strict=True):
        assert target == pytest.approx(row[row[:, 1] == 1, 0].sum())
    assert 0 <= x[:, :, 0].min() < 0.05
    assert 0.95 < x[:, :, 0].max() < 1


def test_the_symbols_are_to_be_repeated_at_the_end(load, rng):
    x, y = load("copying").Copying.sample(rng, 50, 30)
    assert x.shape == (50, 50, 10)
    np.testing.assert_array_equal(x.sum(axis=2), 1)
    symbols = x.argmax(axis=2)
    assert set(np.unique(symbols[:, :10])) == set(range(1, 9))
    assert (symbols[:, 10:39] == 0).all()
    assert (symbols[:, 39:] == 9).all()
    assert (y[:, :40] == 0).all()
    np.testing.assert_array_equal(y[:, 40:], symbols[:, :10])


def test_the_likelihood_is_that_of_the_steps_of_all_sequences(load, rng):
    music = load("music")
    lengths = [3, 8]
    logits = [rng.normal(size=(n, 88)).astype(np.float32) for n in lengths]
    targets = [rng.integers(0, 2, (n, 88)).astype(np.float32) for n in lengths]
    p = 1 / (1 + np.exp(-np.concatenate(logits).astype(np.float64)))
    t = np.concatenate(targets)
    wanted = -(t * np.log(p) + (1 - t) * np.log(1 - p)).sum() / 11
    assert music.nll(logits, targets) == pytest.approx(wanted, rel=1e-6)
    x, y = music.shifted([t])
    np.testing.assert_array_equal(x[0], t[:-1])
    np.testing.assert_array_equal(y[0], t[1:])


@pytest.mark.parametrize("cell", ["SimpleRNN", "LSTM", "GRU"])
def test_the_cells_have_equally_many_parameters(load, cell):
    task = load("task")
    music = load("music").Music("stand-in")
    settings = music.settings | {"parameters": 10000}
    model = music.build(cell, settings, 1, 10)
    model.build((None, None, 88))
    count = task.parameters(cell, music.units(cell, settings), 88, 88)
    assert model.count_params() == count
    assert 9000 < count <= 10000


def test_the_best_weights_by_validation_see_the_test_data(load):
    music = load("music").Music("stand-in")
    settings = music.settings | {"parameters": 4000, "epochs": 3, "dropout": 0.0}
    seen = []

    class Spied(type(music)):
        def score(self, model, part, settings):
            seen.append(part)
            return super().score(model, part, settings)

    found = Spied("stand-in").run("GRU", 1, settings)
    assert seen == ["valid", "test"]
    assert found["best_step"] == 8 * (1 + int(np.argmin(found["curve"])))
    assert found["steps"] == 24
    assert found["valid"] == pytest.approx(min(found["curve"]), rel=0.02)
    assert found["valid"] < 88 * np.log(2)


def test_results_of_other_settings_and_damaged_ones_are_none(load, tmp_path):
    results = load("results").Results(tmp_path / "new")
    assert results.get("a", {"lr": 1}) is None
    results.put("a", {"settings": {"lr": 1}, "test": 2.0})
    assert results.get("a", {"lr": 1})["test"] == 2.0
    assert results.get("a", {"lr": 2}) is None
    results.path("a").write_text('{"settings": {"lr"')
    assert results.get("a", {"lr": 1}) is None


def test_the_table_says_what_is_missing_and_who_is_best(load):
    page, adding = load("page"), load("adding").Adding(600)

    def run(test):
        return {
            "test": test, "test_details": {}, "valid": test, "units": 32, "parameters": 3489,
            "cpu": 9.0, "steps": 6, "settings": adding.settings,
        }  # fmt: skip

    found = {f"adding-600-GRU-{seed}": run(seed / 1000) for seed in (1, 2, 3)}
    found["adding-600-LSTM-1"] = run(0.2)
    found["time-adding-600-GRU"] = {"cgru": 0.1, "PyTorch": 0.3, "ratio": 2.5}
    lines = "\n".join(page.Rows(adding, [1, 2, 3], found).lines())
    rows = {line.split()[1]: line.split("|")[2:-1] for line in lines.splitlines() if "|" in line}
    gru = [cell.strip() for cell in rows["GRU"]]
    assert gru == ["0.002 ± 0.001", "5.3e-05", "0.002 ± 0.001", "32", "3489", "9", "22"]
    assert rows["SimpleRNN"][0].strip() == "missing"
    assert rows["LSTM"][0].strip() == "0.2 (1 of 3 seeds)"
    assert rows["LSTM"][-1].strip() == "missing"
    assert "here: GRU, LSTM; Bai et al. 2018: GRU, LSTM, SimpleRNN" in lines


def test_a_command_that_was_killed_goes_on(load, tmp_path):
    music = load("music").Music("stand-in")
    settings = music.settings_of("GRU", quick=True)
    kept = load("results").Results(tmp_path)
    kept.put("music-stand-in-GRU-1", music.run("GRU", 1, settings))
    kept.put("time-music-stand-in-GRU", {"settings": settings, "cgru": 0.001, "ratio": 2.0})
    before = kept.path("music-stand-in-GRU-1").read_text()

    command = [sys.executable, PAPERS / "run.py", "--quick", "--results", tmp_path]
    command += ["--output", tmp_path, "--task", "music-stand-in", "--music", tmp_path]
    command += ["--cell", "GRU", "--jobs", "1", "--seeds", "2"]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    assert run.stderr.startswith("1 to do, 2 kept")
    assert kept.path("music-stand-in-GRU-1").read_text() == before
    found = json.loads((tmp_path / "papers" / "results.json").read_text())
    assert found["music-stand-in-GRU-1"] == json.loads(before)
    first, second = (found[f"music-stand-in-GRU-{seed}"]["test"] for seed in (1, 2))
    assert first != second
    text = (tmp_path / "papers.md").read_text()
    assert "random music" in text
    assert "missing" in text
    assert (tmp_path / "papers" / "music.svg").exists()
