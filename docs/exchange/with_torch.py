"""Writes sunspots.safetensors and what it forecasts: python with_torch.py."""

import pathlib

import numpy as np
import safetensors.torch
import torch
from torch import nn

import cgru


class Forecaster(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(1, 12, num_layers=2, batch_first=True)
        self.head = nn.Linear(12, 1)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])


folder = pathlib.Path(__file__).parent
years, numbers = cgru.datasets.sunspots.load_data()
root = np.sqrt(numbers / 100).astype("float32")
windows = np.lib.stride_tricks.sliding_window_view(root[:-1], 12)[..., np.newaxis]
x, y = torch.tensor(windows), torch.tensor(root[12:, np.newaxis])

torch.manual_seed(1)
net = Forecaster()
optimizer = torch.optim.Adam(net.parameters(), 0.005)
for _ in range(100):
    for rows in torch.randperm(209).split(32):
        optimizer.zero_grad()
        nn.functional.mse_loss(net(x[rows]), y[rows]).backward()
        optimizer.step()
safetensors.torch.save_file(net.state_dict(), folder / "sunspots.safetensors")
with torch.no_grad():
    np.save(folder / "torch_forecast.npy", net(x).numpy())
