"""Every kernel against its NumPy twin and finite differences, at every instruction level."""

import copy
import itertools

import numpy as np
import pytest
import twin
from numeric import check_gradient

import cgru
from cgru import _kernels

# B, T, I, H: each edge on its own, H at and around the vector widths, and random ones.
EDGES = [
    (1, 5, 3, 4),
    (4, 1, 3, 4),
    (4, 5, 1, 4),
    (4, 5, 3, 1),
    (1, 1, 1, 1),
    (2, 3, 2, 8),
    (2, 3, 2, 15),
    (2, 3, 2, 16),
    (2, 3, 2, 17),
    (3, 4, 5, 37),
]
_draw = np.random.default_rng(20140603)
SHAPES = EDGES + [tuple(int(n) for n in _draw.integers(1, [9, 12, 20, 50])) for _ in range(8)]
MASKS = ["no mask", "none masked", "all masked", "random"]


class Sequence:
    """Inputs of a random sequence, and calls of the kernels on them."""

    drop = None  # factors on the states that the gates read

    def __init__(self, rng, shape, reset_after=True, reverse=False, mask="no mask", dtype="f8"):
        B, T, I, H = shape
        draw = lambda *size: (rng.standard_normal(size) * 0.7).astype(dtype)  # noqa: E731
        self.x, self.start = draw(T, B, I), draw(B, H)
        self.kernel, self.recurrent = draw(I, 3 * H), draw(H, 3 * H) / H**0.5
        self.recurrent = self.recurrent.astype(dtype)
        self.bias = draw(2 if reset_after else 1, 3 * H)
        self.reverse = reverse
        self.mask = {
            "no mask": None,
            "none masked": np.ones((T, B), np.uint8),
            "all masked": np.zeros((T, B), np.uint8),
            "random": rng.integers(0, 2, (T, B)).astype(np.uint8),
        }[mask]
        self.dy, self.dlast = draw(T, B, H), draw(B, H)

    def forward(self):
        """States [T, B, H] in time order, the last state, and both buffers."""
        T, B, _ = self.x.shape
        H = self.start.shape[1]
        h = np.full((T + 1, B, H), np.nan, self.x.dtype)
        h[T if self.reverse else 0] = self.start
        gates = np.full((T, B, 4 * H), np.nan, self.x.dtype)
        work = np.full((B, 3 * H), np.nan, self.x.dtype)
        _kernels.gru_forward(
            self.x, self.kernel, self.recurrent, self.bias, self.mask, self.reverse, h, gates, work
        )
        states = h[:-1] if self.reverse else h[1:]
        return states, h[0 if self.reverse else T], h, gates

    def backward(self, input_grad=True, sequences=True):
        """Gradients of x, start, kernel, recurrent kernel and bias."""
        _, _, h, gates = self.forward()
        B, H = self.start.shape
        dx = np.full_like(self.x, np.nan) if input_grad else None
        dh = self.dlast.copy()
        sums = [np.zeros_like(a) for a in (self.kernel, self.recurrent, self.bias)]
        _kernels.gru_backward(
            self.x,
            self.kernel,
            self.recurrent,
            self.mask,
            self.reverse,
            h,
            gates,
            self.dy if sequences else None,
            dh,
            dx,
            *sums,
            np.full((B + 2, 3 * H), np.nan, self.x.dtype),
        )
        return dx, dh, *sums

    def loss(self):
        """A scalar whose gradient `backward` gives."""
        states, last, _, _ = self.forward()
        return float((states * self.dy).sum() + (last * self.dlast).sum())

    def in_float64(self):
        """The same sequence, for the twin to be exact where this one is float32."""
        other = copy.copy(self)
        for name in ("x", "start", "kernel", "recurrent", "bias", "dy", "dlast"):
            setattr(other, name, getattr(self, name).astype("f8"))
        other.drop = None if self.drop is None else self.drop.astype("f8")
        return other

    def twin(self):
        return twin.gru_forward(
            self.x,
            self.start,
            self.kernel,
            self.recurrent,
            self.bias,
            self.mask,
            self.reverse,
            self.drop,
        )

    def twin_backward(self):
        args = (self.kernel, self.recurrent, self.bias, self.mask, self.reverse, self.dy)
        return twin.gru_backward(self.x, self.twin()[0], *args, self.dlast, self.drop)


class PackedSequence(Sequence):
    """The same through the packed kernel, which takes [B, T, ...] with any distances."""

    def sizes(self, keep=True):
        T, B, I = self.x.shape
        double = self.x.dtype == np.float64
        return _kernels.packed_sizes(3, T, B, I, self.start.shape[1], double, keep)

    def scratch(self, size):
        return np.full(size, np.nan, self.x.dtype)

    def packed(self):
        packed = self.scratch(self.sizes()[0])
        _kernels.packed_pack(self.kernel, self.recurrent, self.bias, packed)
        return packed

    def states(self, count, first):
        """Room for states, with the initial one, and for what is read of them."""
        h = self.scratch((count, *self.start.shape))
        h[first] = self.start
        return h, None if self.drop is None else h * self.drop

    def forward(self):
        T = len(self.x)
        h, self.read = self.states(T + 1, T if self.reverse else 0)
        gates = self.scratch(self.sizes()[1])
        mask = None if self.mask is None else self.mask.T
        _kernels.packed_forward(
            3,
            self.x.swapaxes(0, 1),
            self.packed(),
            mask,
            self.reverse,
            not self.start.any(),
            True,
            h,
            None,
            self.drop,
            self.read,
            gates,
        )
        return h[:-1] if self.reverse else h[1:], h[0 if self.reverse else T], h, gates

    def last(self):
        """The last state, where no other is asked for."""
        T = len(self.x)
        first, end = (1, 0) if self.reverse and T == 1 else (0, T % 2)
        h, read = self.states(2, first)
        mask = None if self.mask is None else self.mask.T
        gates = self.scratch(self.sizes(keep=False)[1])
        _kernels.packed_forward(
            3,
            self.x.swapaxes(0, 1),
            self.packed(),
            mask,
            self.reverse,
            False,
            False,
            h,
            None,
            self.drop,
            read,
            gates,
        )
        return h[end]

    def backward(self, input_grad=True, sequences=True):
        _, _, h, gates = self.forward()
        dx = np.full_like(self.x, np.nan) if input_grad else None
        dh = self.dlast.copy()
        sums = [np.zeros_like(a) for a in (self.kernel, self.recurrent, self.bias)]
        _kernels.packed_backward(
            self.x.swapaxes(0, 1),
            self.kernel,
            self.recurrent,
            None if self.mask is None else self.mask.T,
            self.reverse,
            not self.start.any(),
            h,
            None,
            self.drop,
            self.read,
            gates,
            self.dy.swapaxes(0, 1) if sequences else None,
            dh,
            None,
            True,
            dx,
            *sums,
            self.scratch(self.sizes()[2]),
        )
        return dx, dh, *sums


class DroppedSequence(PackedSequence):
    """The same with dropout of states."""

    def __init__(self, rng, shape, reset_after=True, reverse=False, mask="no mask", dtype="f8"):
        super().__init__(rng, shape, reset_after, reverse, mask, dtype)
        self.drop = (rng.integers(0, 2, self.start.shape) * 2).astype(dtype)


KERNELS = pytest.mark.parametrize(
    ("kind", "reset_after"),
    [(Sequence, True), (Sequence, False), (PackedSequence, True), (DroppedSequence, True)],
    ids=["plain", "plain, Cho", "packed", "packed, dropout"],
)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@KERNELS
def test_gru_agrees_with_its_twin(isa, rng, shape, kind, reset_after):
    for reverse, mask in itertools.product([False, True], MASKS):
        case = kind(rng, shape, reset_after, reverse, mask)
        states, last, _, _ = case.forward()
        steps, twin_last = case.twin()
        expected = np.array([steps[t][-1] for t in range(len(case.x))])
        np.testing.assert_allclose(states, expected, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(last, twin_last, rtol=1e-12, atol=1e-12)
        for got, wanted in zip(case.backward(), case.twin_backward(), strict=True):
            scale = max(1, abs(wanted).max())
            np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-12 * scale)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@KERNELS
def test_gru_agrees_with_finite_differences(rng, shape, kind, reset_after):
    for reverse, mask in itertools.product([False, True], MASKS):
        case = kind(rng, shape, reset_after, reverse, mask)
        inputs = (case.x, case.start, case.kernel, case.recurrent, case.bias)
        for array, gradient in zip(inputs, case.backward(), strict=True):
            check_gradient(case.loss, array, gradient, rng)


@KERNELS
def test_gru_in_float32_is_as_close_as_float32_is(isa, rng, kind, reset_after):
    case = kind(rng, (7, 20, 5, 33), reset_after, mask="random", dtype="f4")
    states, *_ = case.forward()
    exact = case.in_float64()
    expected = np.array([exact.twin()[0][t][-1] for t in range(20)])
    assert states.dtype == np.float32
    np.testing.assert_allclose(states, expected, atol=2e-6)
    for got, wanted in zip(case.backward(), exact.twin_backward(), strict=True):
        np.testing.assert_allclose(got, wanted, atol=2e-6 * max(1, abs(wanted).max()))


def test_gates_hold_what_the_equations_say(isa, rng):
    case = Sequence(rng, (3, 6, 2, 19))
    _, _, h, gates = case.forward()
    n, z, r, u = np.split(gates, 4, axis=2)
    steps, _ = case.twin()
    for t in range(6):
        for got, wanted in zip((h[t], z[t], r[t], n[t], u[t]), steps[t], strict=False):
            np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(h[1:], z * h[:-1] + (1 - z) * n, rtol=1e-14, atol=1e-14)


@KERNELS
def test_gru_backward_skips_what_nobody_asks_for(rng, kind, reset_after):
    case = kind(rng, (3, 4, 2, 5), reset_after)
    full = case.backward()
    dx, *rest = case.backward(input_grad=False)
    assert dx is None
    for got, wanted in zip(rest, full[1:], strict=True):
        np.testing.assert_array_equal(got, wanted)
    case.dy[:] = 0
    for got, wanted in zip(case.backward(sequences=False), case.backward(), strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_gradients_of_weights_are_added(rng):
    case = Sequence(rng, (3, 4, 2, 5))
    _, _, *once = case.backward()
    _, _, h, gates = case.forward()
    sums = [np.ones_like(a) for a in once]
    work = np.empty((5, 15))
    _kernels.gru_backward(
        case.x, case.kernel, case.recurrent, None, False, h, gates, case.dy, case.dlast.copy(),
        None, *sums, work,
    )  # fmt: skip
    for got, wanted in zip(sums, once, strict=True):
        np.testing.assert_allclose(got, wanted + 1, rtol=1e-12, atol=1e-12)


@KERNELS
def test_masked_steps_keep_the_state_and_pass_gradients_through(rng, kind, reset_after):
    case = kind(rng, (3, 6, 2, 5), reset_after, mask="all masked")
    states, last, _, _ = case.forward()
    np.testing.assert_array_equal(states, np.broadcast_to(case.start, states.shape))
    np.testing.assert_array_equal(last, case.start)
    dx, dstart, *weights = case.backward()
    np.testing.assert_allclose(dstart, case.dy.sum(axis=0) + case.dlast, rtol=1e-13)
    for gradient in (dx, *weights):
        assert not gradient.any()


def test_masked_steps_are_left_out_of_the_work(rng):
    def written(mask):
        """Of the gates, which the case filled with NaN; so many units are projected apart."""
        case = PackedSequence(rng, (6, 5, 3, 1200), mask=mask)
        return np.isfinite(case.forward()[3]).sum(), case.mask

    whole, _ = written("no mask")
    some, mask = written("random")
    assert 0 < mask.sum() < mask.size
    assert some == whole * mask.sum() // mask.size
    assert written("all masked")[0] == 0


@KERNELS
def test_gru_kernels_refuse_shapes_that_do_not_agree(rng, kind, reset_after):
    case = kind(rng, (3, 4, 2, 5), reset_after)
    case.recurrent = np.ones((5, 14))
    with pytest.raises(ValueError, match="shapes do not agree"):
        case.forward()
    case = kind(rng, (3, 4, 2, 5), reset_after)
    case.dy = case.dy[:3]
    with pytest.raises(ValueError, match="shapes do not agree"):
        case.backward()


class RNNSequence:
    """Inputs of a random sequence of an LSTM (4 gates) or a simple RNN (1), and calls on them."""

    drop = None  # factors on the states that the gates read

    def __init__(self, rng, shape, gates, reverse=False, mask="no mask", dtype="f8"):
        B, T, I, H = shape
        draw = lambda *size: (rng.standard_normal(size) * 0.7).astype(dtype)  # noqa: E731
        count = 2 if gates == 4 else 1
        self.gates = gates
        self.x, self.start = draw(T, B, I), [draw(B, H) for _ in range(count)]
        self.weights = [
            draw(I, gates * H),
            (draw(H, gates * H) / H**0.5).astype(dtype),
            draw(gates * H),
        ]
        self.reverse, self.mask = reverse, Sequence(rng, shape, mask=mask).mask
        self.dy, self.dlast = draw(T, B, H), [draw(B, H) for _ in range(count)]

    def states(self, count, first):
        """Room for states, with the initial ones: h and c, which is None for a simple RNN."""
        buffers = [np.full((count, *s.shape), np.nan, self.x.dtype) for s in self.start]
        for buffer, start in zip(buffers, self.start, strict=True):
            buffer[first] = start
        return (*buffers, None)[:2]

    def forward(self):
        """States [T, B, H] in time order, the last states, and the buffers."""
        T, B, _ = self.x.shape
        h, c = self.states(T + 1, T if self.reverse else 0)
        gates = np.full((T, B, self.weights[0].shape[1]), np.nan, self.x.dtype)
        _kernels.rnn_forward(self.x, *self.weights, self.mask, self.reverse, h, c, gates)
        return self.found(h, c, (h, c, gates))

    def found(self, h, c, buffers):
        end = 0 if self.reverse else len(self.x)
        last = [state[end] for state in (h, c) if state is not None]
        return h[:-1] if self.reverse else h[1:], last, buffers

    def backward(self, input_grad=True, trainable=True, sequences=True):
        """Gradients of x, the weights and the initial states."""
        _, _, buffers = self.forward()
        dx = np.full_like(self.x, np.nan) if input_grad else None
        dstates = [d.copy() for d in self.dlast]
        sums = [np.ones_like(w) if trainable else None for w in self.weights]
        dy = self.dy if sequences else None
        self.call_backward(buffers, dy, *(*dstates, None)[:2], dx, sums)
        return dx, *(None if s is None else s - 1 for s in sums), *dstates

    def call_backward(self, buffers, dy, dh, dc, dx, sums):
        kernel, recurrent, _ = self.weights
        _kernels.rnn_backward(
            self.x, kernel, recurrent, self.mask, self.reverse, *buffers, dy, dh, dc, dx, *sums
        )

    def loss(self):
        states, last, _ = self.forward()
        pairs = zip(last, self.dlast, strict=True)
        return float((states * self.dy).sum() + sum((a * d).sum() for a, d in pairs))

    def twin(self):
        args = (*self.weights, self.mask, self.reverse)
        steps, last = twin.rnn_forward(self.x, self.start, *args, self.drop)
        states = np.array([steps[t][-1][0] for t in range(len(self.x))])
        gradients = twin.rnn_backward(self.x, steps, *args, self.dy, self.dlast, self.drop)
        return states, last, gradients


class PackedRNNSequence(RNNSequence):
    """The same through the packed kernel, which takes [B, T, ...] with any distances."""

    def sizes(self, keep=True):
        (T, B, I), H = self.x.shape, self.dy.shape[2]
        double = self.x.dtype == np.float64
        return _kernels.packed_sizes(self.gates, T, B, I, H, double, keep)

    def scratch(self, size):
        return np.full(size, np.nan, self.x.dtype)

    def call_forward(self, keep, count, first):
        """States h and c, what is read of h, and the gates."""
        packed, gates = self.scratch(self.sizes()[0]), self.scratch(self.sizes(keep)[1])
        _kernels.packed_pack(*self.weights, packed)
        h, c = self.states(count, first)
        read = None if self.drop is None else h * self.drop
        from_zero = keep and not self.start[0].any()
        _kernels.packed_forward(
            self.gates, self.x.swapaxes(0, 1), packed, None if self.mask is None else self.mask.T,
            self.reverse, from_zero, keep, h, c, self.drop, read, gates,
        )  # fmt: skip
        return h, c, read, gates

    def forward(self):
        T = len(self.x)
        h, c, read, gates = self.call_forward(True, T + 1, T if self.reverse else 0)
        return self.found(h, c, (h, c, read, gates))

    def last(self):
        """The last states, where no others are asked for."""
        T = len(self.x)
        first, end = (1, 0) if self.reverse and T == 1 else (0, T % 2)
        h, c, _, _ = self.call_forward(False, 2, first)
        return [state[end] for state in (h, c) if state is not None]

    def call_backward(self, buffers, dy, dh, dc, dx, sums):
        h, c, read, gates = buffers
        kernel, recurrent, _ = self.weights
        _kernels.packed_backward(
            self.x.swapaxes(0, 1), kernel, recurrent, None if self.mask is None else self.mask.T,
            self.reverse, not self.start[0].any(), h, c, self.drop, read, gates,
            None if dy is None else dy.swapaxes(0, 1), dh, dc, True, dx, *sums,
            self.scratch(self.sizes()[2]),
        )  # fmt: skip


class DroppedRNNSequence(PackedRNNSequence):
    """The same with dropout of states."""

    def __init__(self, rng, shape, gates, reverse=False, mask="no mask", dtype="f8"):
        super().__init__(rng, shape, gates, reverse, mask, dtype)
        self.drop = (rng.integers(0, 2, self.start[0].shape) * 2).astype(dtype)


GATES = pytest.mark.parametrize("gates", [4, 1], ids=["LSTM", "simple RNN"])
RNN_KINDS = pytest.mark.parametrize(
    "kind",
    [RNNSequence, PackedRNNSequence, DroppedRNNSequence],
    ids=["plain", "packed", "packed, dropout"],
)


@GATES
@RNN_KINDS
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_rnn_agrees_with_its_twin(isa, rng, shape, kind, gates):
    for reverse, mask in itertools.product([False, True], MASKS):
        for dtype, tolerance in (("f8", 1e-12), ("f4", 3e-5)):
            case = kind(rng, shape, gates, reverse, mask, dtype)
            states, last, _ = case.forward()
            expected, twin_last, gradients = case.twin()
            for got, wanted in zip(
                (states, *last, *case.backward()), (expected, *twin_last, *gradients), strict=True
            ):
                assert got.dtype == dtype
                scale = max(1, abs(wanted).max())
                np.testing.assert_allclose(got, wanted, rtol=0, atol=tolerance * scale)


@GATES
@RNN_KINDS
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_rnn_agrees_with_finite_differences(rng, shape, kind, gates):
    for reverse, mask in itertools.product([False, True], MASKS):
        case = kind(rng, shape, gates, reverse, mask)
        inputs = (case.x, *case.weights, *case.start)
        for array, gradient in zip(inputs, case.backward(), strict=True):
            check_gradient(case.loss, array, gradient, rng)


@GATES
@RNN_KINDS
def test_rnn_backward_skips_what_nobody_asks_for(rng, kind, gates):
    case = kind(rng, (3, 4, 2, 5), gates)
    full, less = case.backward(), case.backward(input_grad=False, trainable=False)
    assert less[:4] == (None,) * 4
    for got, wanted in zip(less[4:], full[4:], strict=True):
        np.testing.assert_array_equal(got, wanted)
    case.dy[:] = 0
    for got, wanted in zip(case.backward(sequences=False), case.backward(), strict=True):
        np.testing.assert_array_equal(got, wanted)


@GATES
@RNN_KINDS
def test_masked_steps_of_an_rnn_keep_states_and_pass_gradients(rng, kind, gates):
    case = kind(rng, (3, 6, 2, 5), gates, mask="all masked")
    states, last, _ = case.forward()
    np.testing.assert_array_equal(states, np.broadcast_to(case.start[0], states.shape))
    np.testing.assert_array_equal(last, case.start)
    dx, dkernel, drecurrent, dbias, dh, *dc = case.backward()
    np.testing.assert_allclose(dh, case.dy.sum(axis=0) + case.dlast[0], rtol=1e-13)
    np.testing.assert_array_equal(dc, case.dlast[1:])
    for gradient in (dx, dkernel, drecurrent, dbias):
        assert not gradient.any()


@GATES
@RNN_KINDS
def test_rnn_kernels_refuse_shapes_that_do_not_agree(rng, kind, gates):
    case = kind(rng, (3, 4, 2, 5), gates)
    case.dy = case.dy[:3]
    with pytest.raises(ValueError, match="shapes do not agree"):
        case.backward()
    case = kind(rng, (3, 4, 2, 5), gates)
    case.weights[1] = np.ones((5, 14))
    with pytest.raises(ValueError, match="shapes do not agree"):
        case.forward()


# B, T, I, H: row tiles, panels and slices of every kind, cut short and not; weights that the L1
# cache holds, where a step is one piece, and weights that it does not.
PACKED_SHAPES = [
    (9, 6, 33, 50),
    (17, 3, 130, 70),
    (1, 20, 5, 64),
    (1, 6, 5, 300),
    (40, 3, 300, 140),
    (3, 50, 4, 20),
    (9, 2, 1030, 20),
]


@pytest.mark.parametrize("shape", PACKED_SHAPES, ids=str)
@pytest.mark.parametrize("kind", [PackedSequence, DroppedSequence])
def test_packed_gru_over_threads(isa, rng, shape, kind, free_threads):
    for from_zero, reverse in itertools.product([False, True], [False, True]):
        case = kind(rng, shape, True, reverse, "random")
        case.start *= not from_zero
        _kernels.set_num_threads(1)
        alone = (case.forward()[0], *case.backward())
        steps, _ = case.twin()
        expected = [steps[t][-1] for t in range(len(steps))], *case.twin_backward()
        for got, wanted in zip(alone, expected, strict=True):
            scale = max(1, np.abs(wanted).max())
            np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-12 * scale)
        np.testing.assert_array_equal(case.last(), case.forward()[1])
        for threads in (1, 2, 3, 7):
            _kernels.set_num_threads(threads)
            for got, wanted in zip((case.forward()[0], *case.backward()), alone, strict=True):
                np.testing.assert_array_equal(got, wanted, "the threads change the result")


@pytest.mark.parametrize("shape", [*PACKED_SHAPES[:3], (1, 6, 5, 140), (9, 2, 300, 40)], ids=str)
@pytest.mark.parametrize("kind", [PackedRNNSequence, DroppedRNNSequence])
@GATES
def test_packed_rnn_over_threads(isa, rng, shape, kind, gates, free_threads):
    if isa == "blas":
        pytest.skip("they run at the best level, as they do without BLAS")
    for from_zero, reverse in ((True, False), (False, True)):
        case = kind(rng, shape, gates, reverse, "random")
        case.start[0] *= not from_zero
        _kernels.set_num_threads(1)
        states, last, _ = case.forward()
        alone = (states, *last, *case.backward())
        expected, twin_last, gradients = case.twin()
        for got, wanted in zip(alone, (expected, *twin_last, *gradients), strict=True):
            scale = max(1, np.abs(wanted).max())
            np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-12 * scale)
        np.testing.assert_array_equal(case.last(), last)
        for threads in (2, 5):
            _kernels.set_num_threads(threads)
            states, last, _ = case.forward()
            for got, wanted in zip((states, *last, *case.backward()), alone, strict=True):
                np.testing.assert_array_equal(got, wanted, "the threads change the result")


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(("inner", "columns"), [(1, 1), (3, 40), (200, 1), (300, 70)])
def test_rows_of_a_product_do_not_depend_on_each_other(isa, rng, dtype, inner, columns):
    a = rng.standard_normal((21, inner)).astype(dtype)
    b = rng.standard_normal((inner, columns)).astype(dtype)
    whole = np.full((21, columns), np.nan, dtype)
    _kernels.matmul(a, b, whole)
    np.testing.assert_allclose(whole, a @ b, rtol=1e-4, atol=1e-4)
    if isa == "blas":
        pytest.skip("BLAS promises nothing of the kind")
    for rows in (slice(0, 1), slice(3, 5), slice(7, 20)):
        part = np.full_like(whole[rows], np.nan)
        _kernels.matmul(a[rows], b, part)
        np.testing.assert_array_equal(part, whole[rows])


@pytest.mark.parametrize(
    ("rows", "inputs", "outputs"), [(1, 1, 1), (1, 4, 3), (6, 5, 1), (7, 1, 9)]
)
@pytest.mark.parametrize("use_bias", [True, False])
def test_dense(isa, rng, rows, inputs, outputs, use_bias):
    x, kernel = rng.standard_normal((rows, inputs)), rng.standard_normal((inputs, outputs))
    bias = rng.standard_normal(outputs) if use_bias else None
    dy = rng.standard_normal((rows, outputs))
    dkernel, dbias = np.zeros_like(kernel), np.zeros(outputs) if use_bias else None

    def loss():
        return float((_kernels.dense_forward(x, kernel, bias) * dy).sum())

    y = _kernels.dense_forward(x.copy("F"), kernel, bias)
    np.testing.assert_allclose(y, x @ kernel + (bias if use_bias else 0), rtol=1e-12, atol=1e-12)
    dx = _kernels.dense_backward(x.copy("F"), kernel, dy.copy("F"), True, dkernel, dbias)
    np.testing.assert_allclose(dx, dy @ kernel.T, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(dkernel, x.T @ dy, rtol=1e-12, atol=1e-12)
    check_gradient(loss, x, dx, rng)
    check_gradient(loss, kernel, dkernel, rng)
    if use_bias:
        np.testing.assert_allclose(dbias, dy.sum(axis=0), rtol=1e-12, atol=1e-12)
        check_gradient(loss, bias, dbias, rng)
    assert _kernels.dense_backward(x, kernel, dy, False, dkernel, dbias) is None


@pytest.fixture
def steps(rng):
    """Parameters, and the gradients of ten steps."""
    return rng.standard_normal(101), list(rng.standard_normal((10, 101)))


def agree(theta, expected):
    np.testing.assert_allclose(theta, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("momentum", "nesterov"), [(0, False), (0.9, False), (0.9, True)])
def test_sgd(isa, steps, momentum, nesterov):
    theta, grads = steps
    expected = twin.sgd(theta, grads, 0.1, momentum, nesterov)
    velocity = np.zeros_like(theta) if momentum else None
    for grad in grads:
        _kernels.sgd(theta, grad, velocity, 0.1, momentum, nesterov)
    agree(theta, expected)


@pytest.mark.parametrize("momentum", [0, 0.9])
@pytest.mark.parametrize("centered", [False, True])
def test_rmsprop(isa, steps, momentum, centered):
    theta, grads = steps
    expected = twin.rmsprop(theta, grads, 0.01, 0.9, momentum, 1e-7, centered)
    square, mean, velocity = (np.zeros_like(theta) for _ in range(3))
    optional = (mean if centered else None, velocity if momentum else None)
    for grad in grads:
        _kernels.rmsprop(theta, grad, square, *optional, 0.01, 0.9, momentum, 1e-7)
    agree(theta, expected)


@pytest.mark.parametrize("amsgrad", [False, True])
def test_adam(isa, steps, amsgrad):
    theta, grads = steps
    expected = twin.adam(theta, grads, 0.01, 0.9, 0.99, 1e-7, amsgrad)
    m, v, most = (np.zeros_like(theta) for _ in range(3))
    for t, grad in enumerate(grads, 1):
        rate = 0.01 * np.sqrt(1 - 0.99**t) / (1 - 0.9**t)
        _kernels.adam(theta, grad, m, v, most if amsgrad else None, rate, 0.9, 0.99, 1e-7)
    agree(theta, expected)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_sigmoid_and_tanh_are_within_4_ulp(isa, dtype):
    x = np.concatenate([np.linspace(-750, 750, 200_001), np.geomspace(1e-300, 800, 100_000)])
    x = np.concatenate([x, -x, [0.0, -0.0]])
    x = x.astype(dtype)
    exact = x.astype(np.longdouble)
    y = np.empty_like(x)
    for kernel, function in ((_kernels.sigmoid, twin.sigmoid), (_kernels.tanh, np.tanh)):
        kernel(x, y)
        with np.errstate(over="ignore", under="ignore"):
            expected = function(exact)
            rounded = expected.astype(dtype)
        assert (abs(y - expected) <= 4 * np.spacing(abs(rounded))).all()
    assert np.signbit(y[-1]), "tanh(-0) is -0"


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_sigmoid_and_tanh_of_infinity_and_nan(isa, dtype):
    x = np.array([np.inf, -np.inf, np.nan] * 7, dtype)
    y = np.empty_like(x)
    _kernels.sigmoid(x, y)
    np.testing.assert_array_equal(y, [1, 0, np.nan] * 7)
    _kernels.tanh(x, y)
    np.testing.assert_array_equal(y, [1, -1, np.nan] * 7)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_all_finite_and_norm(isa, rng, dtype):
    x = rng.standard_normal(100).astype(dtype)
    assert _kernels.all_finite(x)
    assert _kernels.norm(x) == pytest.approx(np.linalg.norm(x))
    assert _kernels.all_finite(x[:0])
    assert _kernels.norm(x[:0]) == 0
    for bad, place in itertools.product((np.nan, np.inf, -np.inf), (0, 50, 99)):
        y = x.copy()
        y[place] = bad
        assert not _kernels.all_finite(y)
    assert _kernels.all_finite(np.full(3, np.finfo(dtype).max, dtype))


def test_levels():
    assert _kernels.isa() in _kernels.isa_levels()
    with pytest.raises(ValueError, match=r"CGRU_ISA.*got 'v99'"):
        _kernels.set_isa("v99")


# ---- What is refused ----


def test_what_is_no_array_or_lacks_an_axis_is_refused():
    x, flat, matrix = np.ones((2, 3, 4), "f4"), np.ones(9999, "f4"), np.ones((4, 4), "f4")
    out = np.ones((4, 4, 4), "f4")
    refused = [
        lambda: _kernels.packed_forward(
            3, x, flat, None, False, True, False, None, None, None, None, flat
        ),
        lambda: _kernels.packed_pack(matrix, None, None, flat),
        lambda: _kernels.gru_forward(x, matrix, matrix, None, None, False, out, out, matrix),
        lambda: _kernels.gru_forward(flat, matrix, matrix, matrix, None, False, out, out, matrix),
        lambda: _kernels.rnn_forward(x, matrix, matrix, flat, None, False, flat, None, out),
        lambda: _kernels.matmul(matrix, flat, matrix),
        lambda: _kernels.dense_forward(matrix, None, None),
        lambda: _kernels.dense_backward(matrix, matrix, None, True, None, None),
        lambda: _kernels.mean_loss(flat, None, None),
        lambda: _kernels.squared_error(None, flat),
        lambda: _kernels.is_ready(flat, None),
        lambda: _kernels.clear(np.ones((), "f4")),
    ]
    for call in refused:
        with pytest.raises(
            (TypeError, ValueError), match="expected|has incorrect type|not be None"
        ):
            call()


@pytest.mark.parametrize("keep", [False, True])
def test_a_layer_refuses_batches_that_are_empty_or_of_other_features(keep):
    layer = cgru.layers.GRU(4)
    layer.build((None, 5, 3))
    layer.forward(np.ones((2, 5, 3), "f4"), needs_backward=keep)
    with pytest.raises(ValueError, match="every dimension must be at least 1"):
        layer.forward(np.zeros((0, 5, 3), "f4"), needs_backward=keep)
    with pytest.raises(ValueError, match="x: expected 3 features, got 2"):
        layer.forward(np.ones((2, 5, 2), "f4"), needs_backward=keep)


def test_gradients_are_to_be_aligned():
    layer = cgru.layers.GRU(4, return_sequences=True)
    layer.build((None, 5, 3))
    _, backward = layer.forward(np.ones((2, 5, 3), "f4"))
    crooked = np.frombuffer(bytes(1 + 2 * 5 * 4 * 4), "f4", offset=1).reshape(2, 5, 4)
    with pytest.raises(ValueError, match="dy"):
        backward(crooked)


@pytest.mark.parametrize("kind", ["GRU", "LSTM", "SimpleRNN"])
def test_a_gradient_may_lie_in_memory_in_any_way(rng, kind):
    layer = getattr(cgru.layers, kind)(4)
    layer.build((None, 5, 3))
    x, dy = rng.standard_normal((2, 5, 3)).astype("f4"), rng.standard_normal((2, 4)).astype("f4")
    found = [layer.forward(x)[1](d) for d in (dy, np.asfortranarray(dy))]
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_a_product_over_nothing_is_zero(isa, dtype):
    c = np.full((3, 5), np.nan, dtype)
    _kernels.matmul(np.empty((3, 0), dtype), np.empty((0, 5), dtype), c)
    np.testing.assert_array_equal(c, 0)


@pytest.mark.parametrize("options", [{}, {"activation": "relu"}, {"reset_after": False}])
def test_a_prediction_keeps_nothing_for_the_way_back(options):
    layer = cgru.layers.GRU(4, **options)
    layer.build((None, 5, 3))
    _, backward = layer.forward(np.ones((2, 5, 3), "f4"), needs_backward=False)
    with pytest.raises(RuntimeError, match="nobody would call it"):
        backward(np.ones((2, 4), "f4"))
