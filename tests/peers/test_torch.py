"""Outputs and gradients agree with PyTorch's nn.GRU (which is reset_after=True), LSTM and RNN."""

import numpy as np
import pytest

import cgru
from cgru import layers
from cgru.saving import to_torch

torch = pytest.importorskip("torch")

SHAPES = [(1, 1, 1, 1), (1, 9, 4, 6), (5, 1, 3, 17), (7, 12, 5, 33), (4, 30, 1, 8)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 1e-5)])
@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("lengths", [False, True])
def test_gru(rng, shape, dtype, tolerance, use_bias, lengths):
    batch, time, features, units = shape
    layer = layers.GRU(
        units, return_sequences=True, return_state=True, use_bias=use_bias, dtype=dtype,
        bias_initializer="random_normal",
    )  # fmt: skip
    layer.build((None, None, features))
    peer = torch.nn.GRU(
        features, units, bias=use_bias, batch_first=True, dtype=getattr(torch, dtype)
    )
    to_torch(layer, peer)

    x = rng.standard_normal((batch, time, features)).astype(dtype)
    start = rng.standard_normal((batch, units)).astype(dtype)
    dy = rng.standard_normal((batch, time, units)).astype(dtype)
    dlast = rng.standard_normal((batch, units)).astype(dtype)
    mask, tx, tstart = None, torch.tensor(x), torch.tensor(start)
    tx.requires_grad_()
    tstart.requires_grad_()
    if lengths:  # PyTorch's form of a mask: each sequence ends somewhere
        ends = rng.integers(1, time + 1, batch)
        mask = np.arange(time) < ends[:, None]
        packed = torch.nn.utils.rnn.pack_padded_sequence(
            tx, torch.tensor(ends), batch_first=True, enforce_sorted=False
        )
        packed_y, tlast = peer(packed, tstart[None])
        ty, _ = torch.nn.utils.rnn.pad_packed_sequence(
            packed_y, batch_first=True, total_length=time
        )
        dy *= mask[:, :, None]
    else:
        ty, tlast = peer(tx, tstart[None])
    ((ty * torch.tensor(dy)).sum() + (tlast[0] * torch.tensor(dlast)).sum()).backward()

    (y, last), backward = layer.forward(x, mask=mask, initial_state=[start])
    dx, [dstart] = backward((dy, dlast))

    def agree(got, wanted):
        scale = max(1.0, float(abs(wanted).max()))
        np.testing.assert_allclose(got, wanted, rtol=0, atol=tolerance * scale)

    agree(y if mask is None else y * mask[:, :, None], ty.detach().numpy())
    agree(last, tlast[0].detach().numpy())
    agree(dx, tx.grad.numpy())
    agree(dstart, tstart.grad.numpy())
    grads = layers.GRU.from_config(layer.get_config())
    grads.build((None, None, features))
    grads.set_weights([weight.grad for weight in layer.weights])
    for name, grad in to_torch(grads, names={"": grads.name}).items():
        agree(grad, getattr(peer, name).grad.numpy())


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 1e-5)])
@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize(("name", "theirs"), [("LSTM", "LSTM"), ("SimpleRNN", "RNN")])
def test_other_recurrent_layers(rng, shape, dtype, tolerance, use_bias, name, theirs):
    batch, time, features, units = shape
    layer = getattr(layers, name)(
        units, return_sequences=True, return_state=True, use_bias=use_bias, dtype=dtype,
        bias_initializer="random_normal",
    )  # fmt: skip
    layer.build((None, None, features))
    peer = getattr(torch.nn, theirs)(
        features, units, bias=use_bias, batch_first=True, dtype=getattr(torch, dtype)
    )
    weights = [peer.weight_ih_l0, peer.weight_hh_l0, *([peer.bias_ih_l0] if use_bias else [])]
    with torch.no_grad():
        for weight, own in zip(weights, layer.weights, strict=True):
            weight.copy_(torch.tensor(np.asarray(own).T.copy()))
        if use_bias:
            peer.bias_hh_l0.zero_()
    x = rng.standard_normal((batch, time, features)).astype(dtype)
    start = [rng.standard_normal((batch, units)).astype(dtype) for _ in range(layer._states)]
    dy = rng.standard_normal((batch, time, units)).astype(dtype)
    dlast = [rng.standard_normal((batch, units)).astype(dtype) for _ in start]
    tx, tstart = torch.tensor(x), [torch.tensor(state[None]) for state in start]
    for leaf in (tx, *tstart):
        leaf.requires_grad_()
    ty, tlast = peer(tx, tuple(tstart) if name == "LSTM" else tstart[0])
    tlast = tlast if name == "LSTM" else (tlast,)
    loss = (ty * torch.tensor(dy)).sum()
    for last, d in zip(tlast, dlast, strict=True):
        loss = loss + (last[0] * torch.tensor(d)).sum()
    loss.backward()

    (y, *last), backward = layer.forward(x, initial_state=start)
    dx, dstart = backward((dy, *dlast))
    ours = [y, *last, dx, *dstart, *(weight.grad.T for weight in layer.weights)]
    peers = [ty.detach(), *(part.detach()[0] for part in tlast), tx.grad]
    peers += [*(part.grad[0] for part in tstart), *(weight.grad for weight in weights)]
    for got, wanted in zip(ours, peers, strict=True):
        scale = max(1.0, float(abs(wanted).max()))
        np.testing.assert_allclose(got, wanted.numpy(), rtol=0, atol=tolerance * scale)


def test_a_model_follows_a_run_of_adam(rng):
    """Twenty steps of Adam from the same start, in float64, end at the same loss."""
    x = rng.standard_normal((16, 8, 3))
    y = x[:, -1:, 0]
    model = cgru.Sequential([layers.GRU(6, dtype="float64"), layers.Dense(1, dtype="float64")])
    model.compile(cgru.optimizers.Adam(0.01, epsilon=1e-12), "mse")
    model.build((None, 8, 3))
    gru, head = torch.nn.GRU(3, 6, batch_first=True).double(), torch.nn.Linear(6, 1).double()
    to_torch(model, torch.nn.ModuleList([gru, head]))
    optimizer = torch.optim.Adam([*gru.parameters(), *head.parameters()], 0.01, eps=1e-12)
    for _ in range(20):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(head(gru(torch.tensor(x))[0][:, -1]), torch.tensor(y))
        loss.backward()
        optimizer.step()
        ours = model.train_on_batch(x, y)
        # With an epsilon too small to matter: Keras (and cgru) add it before the bias correction,
        # PyTorch after it.
        assert ours == pytest.approx(float(loss.detach()), rel=1e-7)
