"""Weights, inputs and outputs of modules of PyTorch, into torch/*.safetensors and torch/cases.npz.

Run by hand, where PyTorch is: ``python tests/golden/make_torch_files.py``.  The tests need the
files alone.
"""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

FOLDER = Path(__file__).with_name("torch_files")
B, T, I, H = 3, 6, 4, 5


class Classifier(nn.Module):
    """The last states of both directions; modules in another order than that of their use."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(2 * H, 3)
        self.norm = nn.LayerNorm(2 * H)
        self.table = nn.Embedding(11, I, padding_idx=0)
        self.rnn = nn.GRU(I, H, 2, bidirectional=True)
        self.drop = nn.Dropout(0.4)

    def forward(self, x):
        _, h = self.rnn(self.table(x.T))
        return self.head(self.drop(self.norm(torch.cat([h[-2], h[-1]], dim=-1))))


def modules():
    """Each module, and its input as cgru has it: the batch first."""
    floats, integers = torch.randn(B, T, I), torch.randint(0, 11, (B, T))
    yield "linear", nn.Linear(I, H), floats
    yield "classifier", Classifier(), integers
    for dtype in (torch.float32, torch.float64):
        for kind in KINDS:
            for both in (False, True):
                name = f"{kind.__name__.lower()}_{1 + both}_{str(dtype)[-2:]}"
                module = kind(I, H, 2, bidirectional=both, batch_first=True, dtype=dtype)
                yield name, module, floats.to(dtype)
        yield f"no_bias_{str(dtype)[-2:]}", nn.GRU(I, H, bias=False, dtype=dtype), floats.to(dtype)


KINDS = [nn.GRU, nn.LSTM, nn.RNN]


def main():
    """Write the files."""
    torch.manual_seed(1)
    FOLDER.mkdir(exist_ok=True)
    arrays = {}
    for name, module, x in modules():
        module.eval()
        for parameter in module.parameters():
            nn.init.normal_(parameter, std=0.5)
        save_file(module.state_dict(), FOLDER / f"{name}.safetensors")
        steps_first = not getattr(module, "batch_first", True)
        with torch.no_grad():
            y = module(x.swapaxes(0, 1) if steps_first else x)
        y = y[0] if isinstance(y, tuple) else y
        arrays |= {f"{name}/x": x.numpy(), f"{name}/y": (y.swapaxes(0, 1) if steps_first else y)}
    np.savez_compressed(FOLDER / "cases.npz", **arrays)


if __name__ == "__main__":
    main()
