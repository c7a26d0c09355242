"""Time cgru and PyTorch in one run, over a grid of shapes; print ratios.

    python benchmarks/bench.py [--threads N] [--repeats N] [--shape B,T,I,H ...] [--markdown]

The model is GRU(H) on [B, T, I] and Dense(1) on the last state; a training step is forward,
backward and Adam on the mean squared error, float32.  The two take turns, so that whatever else
the machine does meets both; shown is the median of the ratios of neighbours.
"""

import argparse
import statistics
import time
import warnings

import numpy as np

import cgru

GRID = [
    (1, 1, 32, 64),
    (1, 100, 32, 64),
    (32, 50, 8, 32),
    (32, 50, 32, 64),
    (32, 28, 28, 128),
    (64, 100, 64, 128),
    (64, 100, 64, 256),
    (32, 30, 512, 512),
]


def cgru_calls(x, y, units):
    """A training step and a prediction of cgru."""
    model = cgru.Sequential([cgru.layers.GRU(units), cgru.layers.Dense(1)])
    model.compile("adam", "mse")
    return lambda: model.train_on_batch(x, y), lambda: model.predict_on_batch(x)


def torch_calls(x, y, units):
    """The same two of PyTorch."""
    import torch

    torch.set_num_threads(cgru.get_num_threads())
    gru = torch.nn.GRU(x.shape[2], units, batch_first=True)
    head = torch.nn.Linear(units, 1)
    optimizer = torch.optim.Adam([*gru.parameters(), *head.parameters()], fused=True)
    inputs, targets = torch.from_numpy(x), torch.from_numpy(y)

    def train():
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(head(gru(inputs)[0][:, -1]), targets)
        loss.backward()
        optimizer.step()
        return loss.item()

    def predict():
        with torch.inference_mode():
            return head(gru(inputs)[0][:, -1]).numpy()

    return train, predict


def seconds(call, least=0.02):
    """The time of one call, averaged over as many as take a little while."""
    time.sleep(0.02)  # the other library's threads go on spinning for a while
    call()
    count, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < least:
        call()
        count += 1
    return elapsed / count


def compare(ours, theirs, repeats):
    """Medians of our time, of their time, and of the ratio of neighbours."""
    ours(), theirs()
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(repeats)]
    ratios = [b / a for a, b in pairs]
    return *(statistics.median(column) for column in zip(*pairs, strict=True)), statistics.median(
        ratios
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, help="of both; by default what cgru would use")
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument(
        "--shape",
        dest="shapes",
        action="append",
        type=lambda text: tuple(map(int, text.split(","))),
        help="B,T,I,H; may be given several times",
    )
    parser.add_argument("--markdown", action="store_true", help="print the table of the README")
    parser.add_argument("--at-least", type=float, help="fail if a training ratio is below this")
    arguments = parser.parse_args()
    if arguments.threads:
        cgru.set_num_threads(arguments.threads)
    warnings.filterwarnings("ignore")
    try:
        import torch
    except ImportError:
        parser.exit(1, "PyTorch is not installed: pip install torch\n")

    if not arguments.markdown:
        cgru.show_config()
        print(f"{'PyTorch':16} {torch.__version__}\n")
    columns = ["B, T, I, H", "train us", "PyTorch us", "ratio", "predict us", "PyTorch us", "ratio"]
    if arguments.markdown:
        print("| B, T, I, H | training step | prediction |\n|---|---|---|")
    else:
        print(f"{columns[0]:>18}" + "".join(f"{name:>12}" for name in columns[1:]))
    rng = np.random.default_rng(1)
    slowest = float("inf")
    for shape in arguments.shapes or GRID:
        batch, steps, features, units = shape
        x = rng.standard_normal((batch, steps, features), dtype=np.float32)
        y = rng.standard_normal((batch, 1), dtype=np.float32)
        results = []
        both = zip(cgru_calls(x, y, units), torch_calls(x, y, units), strict=True)
        for ours, theirs in both:
            results.append(compare(ours, theirs, arguments.repeats))
        name = ", ".join(map(str, shape))
        if arguments.markdown:
            print(f"| {name} | " + " | ".join(f"{ratio:.1f}" for _, _, ratio in results) + " |")
        else:
            cells = "".join(f"{a * 1e6:12.0f}{b * 1e6:12.0f}{r:12.2f}" for a, b, r in results)
            print(f"{name:>18}{cells}", flush=True)
        slowest = min(slowest, results[0][2])
    if arguments.at_least and slowest < arguments.at_least:
        parser.exit(1, f"a training step is only {slowest:.2f} times as fast as PyTorch's\n")


if __name__ == "__main__":
    main()
