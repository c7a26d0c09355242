"""The same training in PyTorch, and the times of both, in turns, on the same batches."""

import itertools
import time
from statistics import median

import numpy as np

STEPS = 20  # that are timed, after one that is not


def padded(sequences):
    """Lists of sequences as one array, and the mask of what is not padding."""
    lengths = np.array([len(sequence) for sequence in sequences])
    array = np.zeros((len(sequences), lengths.max(), *sequences[0].shape[1:]), np.float32)
    for row, sequence in zip(array, sequences, strict=True):
        row[: len(sequence)] = sequence
    return array, np.arange(lengths.max()) < lengths[:, np.newaxis]


class Twin:
    """The model of a task in PyTorch, time first, with the fused Adam."""

    def __init__(self, task, cell, settings):
        import torch

        self.torch, self.task, self.clip = torch, task, settings["clip"]
        torch.set_num_threads(1)
        torch.manual_seed(1)
        recurrent = {"SimpleRNN": torch.nn.RNN, "LSTM": torch.nn.LSTM, "GRU": torch.nn.GRU}[cell]
        units = task.units(cell, settings)
        self.recurrent = recurrent(task.inputs, units)
        self.head = torch.nn.Sequential(
            torch.nn.Dropout(settings["dropout"]), torch.nn.Linear(units, task.outputs)
        )
        self.parameters = [*self.recurrent.parameters(), *self.head.parameters()]
        self.adam = torch.optim.Adam(self.parameters, settings["learning_rate"], fused=True)

    def tensors(self, x, y):
        """A batch in the layout that is fastest: not timed."""
        if isinstance(x, list):
            (x, mask), (y, _) = padded(x), padded(y)
            mask = self.torch.from_numpy(np.ascontiguousarray(mask.T))
        else:
            mask = None
        x, y = np.asarray(x, np.float32), np.asarray(y)
        if self.task.sequences:
            y = y.swapaxes(0, 1)
        x, y = (self.torch.from_numpy(np.ascontiguousarray(a)) for a in (x.swapaxes(0, 1), y))
        return x, y, mask

    def train(self, x, y, mask):
        functional = self.torch.nn.functional
        self.adam.zero_grad()
        states, _ = self.recurrent(x)
        logits = self.head(states if self.task.sequences else states[-1])
        if mask is not None:
            values = functional.binary_cross_entropy_with_logits(logits, y, reduction="none")
            loss = values.sum(-1)[mask].mean()
        elif y.dtype == self.torch.int64:
            loss = functional.cross_entropy(logits.flatten(0, -2), y.flatten())
        else:
            loss = functional.mse_loss(logits, y)
        loss.backward()
        self.torch.nn.utils.clip_grad_norm_(self.parameters, self.clip)
        self.adam.step()
        return loss.item()


def seconds(function, *arguments):
    """Of the processor, which other programs on the machine disturb less; on one thread."""
    start = time.process_time()
    function(*arguments)
    return time.process_time() - start


def times(task, cell, settings):
    """Seconds a training step, and how many times as long as cgru PyTorch takes; medians.

    The last two are None where PyTorch is not installed.
    """
    model = task.build(cell, settings, 1, STEPS)
    try:
        twin = Twin(task, cell, settings)
    except ImportError:
        twin = None
    here, there = [], []
    for x, y in itertools.islice(task.batches(settings, 1), STEPS + 1):
        here.append(seconds(model.train_on_batch, x, y))
        if twin:
            there.append(seconds(twin.train, *twin.tensors(x, y)))
    ratios = [b / a for a, b in zip(here[1:], there[1:], strict=False)]
    return {
        "cgru": median(here[1:]),
        "PyTorch": median(there[1:]) if twin else None,
        "ratio": median(ratios) if twin else None,
    }
