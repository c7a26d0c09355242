"""Kills training at random moments, again and again: `python tests/kills.py [kills] [seed]`.

Each process is forked from this one, which imports cgru but computes nothing itself.  It goes on
from what the one before it left, and is killed (SIGKILL).  After each kill all files can be read,
and each run that comes to its end has, bit for bit, the weights of one that was not interrupted.
"""

import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import cgru
from cgru import callbacks, layers
from cgru.saving import file

EPOCHS, SAMPLES, BATCH = 12, 40, 8


def make():
    cgru.utils.set_random_seed(5)
    model = cgru.Sequential(
        [
            cgru.Input(batch_shape=(BATCH, None, 2)),
            layers.GRU(4, dropout=0.2, recurrent_dropout=0.1, return_sequences=True),
            layers.LSTM(3, dropout=0.1, stateful=True, return_sequences=True),
            layers.SimpleRNN(3, recurrent_dropout=0.1),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            layers.Dense(1),
        ],
        name="model",
    )
    rate = cgru.optimizers.schedules.ExponentialDecay(0.05, 7, 0.9)
    model.compile(cgru.optimizers.Adam(rate, use_ema=True), "mse", metrics=["mae"])
    return model


def with_backup(folder, save_freq):
    return make(), 0, callbacks.BackupAndRestore(folder / "backup", save_freq)


def with_two_backups(folder):
    return make(), 0, callbacks.BackupAndRestore(folder / "backup", 2, double_checkpoint=True)


def with_checkpoint(folder):
    path = folder / "model.safetensors"
    model = cgru.load_model(path) if path.exists() else make()
    epochs = model.optimizer.iterations // (SAMPLES // BATCH)
    return model, epochs, callbacks.ModelCheckpoint(path)


def with_weights(folder):
    path, model = folder / "model.weights", make()
    if path.exists():
        model.load_weights(path)
    epochs = model.optimizer.iterations // (SAMPLES // BATCH)
    return model, epochs, callbacks.ModelCheckpoint(path, save_weights_only=True)


KINDS = {
    "backup after epochs": lambda folder: with_backup(folder, "epoch"),
    "backup after batches": lambda folder: with_backup(folder, 1),
    "two backups": with_two_backups,
    "checkpoint of the model": with_checkpoint,
    "checkpoint of the weights": with_weights,
}


def train(kind, folder):
    """What a process does: go on, to the end."""
    model, epochs, callback = KINDS[kind](folder)
    x = np.random.default_rng(0).standard_normal((SAMPLES, 5, 2))
    model.fit(x, x.sum(axis=(1, 2)), BATCH, EPOCHS, initial_epoch=epochs, callbacks=[callback])
    file.write(folder / "end", _weights(model))


def _weights(model):
    contents = file.Contents()
    contents.add_all("", {str(i): array for i, array in enumerate(model.get_weights())})
    return contents


def killed(kind, folder, after):
    """Run `train` in a process of its own: whether it was killed, `after` so many seconds."""
    process = os.fork()
    if not process:
        code = 1
        try:
            train(kind, folder)
            code = 0
        finally:
            os._exit(code)
    end = time.monotonic() + after
    while time.monotonic() < end:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            break
        time.sleep(0.0005)
    else:
        os.kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL, f"{kind}: it died of {status}"
        return True
    assert os.WEXITSTATUS(status) == 0, f"{kind}: an error, see above"
    return False


def end_of(folder):
    return file.read(folder / "end").arrays


def torment(kind, kills, seed=0):
    """Kill so often; return how many runs came to their end meanwhile, or after the last kill."""
    moments, done, ends = random.Random(seed), 0, 0
    with tempfile.TemporaryDirectory() as parent:
        straight, folder = Path(parent, "straight"), Path(parent, "run 0")
        straight.mkdir()
        folder.mkdir()
        start = time.monotonic()
        assert not killed(kind, straight, 1000)
        span, expected = time.monotonic() - start, end_of(straight)
        while True:
            if done < kills:
                # Most runs are killed a few times before their end.
                was_killed = killed(kind, folder, moments.uniform(0, 0.7 * span))
            else:
                was_killed = killed(kind, folder, 1000)
            for path in folder.rglob("*"):
                if path.is_file() and path.suffix != ".tmp":
                    file.read(path)
            if was_killed:
                done += 1
                continue
            found, ends = end_of(folder), ends + 1
            assert found.keys() == expected.keys()
            for name, array in expected.items():
                assert found[name].tobytes() == array.tobytes(), f"{kind}: another end, {name}"
            left = {path.name for path in folder.iterdir() if not path.name.startswith("end")}
            assert left <= {"model.safetensors", "model.weights"}, f"{kind}: {left} is left"
            if done == kills:
                return ends
            folder = Path(parent, f"run {ends}")
            folder.mkdir()


def main(kills="50", seed="0"):
    for kind in KINDS:
        ends = torment(kind, int(kills), int(seed))
        print(f"{kind}: killed {kills} times, {ends} runs with the same end", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
