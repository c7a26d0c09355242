"""The main job on real data: forecast the sunspots, read handwritten digits.

Runs sunspots.py and digits.py, which stand beside this file, with several seeds, compares the
forecasts with simpler ones, and writes a picture and the trained weights.
"""

import argparse
import time
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import cgru

HERE = Path(__file__).parent
SPANS = {"train 1712-1920": (1712, 1920), "1921-1955": (1921, 1955), "1956-1979": (1956, 1979)}


def run(name, seed):
    """What an example leaves behind when it runs with `seed`."""
    source = (HERE / name).read_text()
    assert "set_random_seed(1)" in source
    results = {}
    start = time.perf_counter()
    exec(source.replace("set_random_seed(1)", f"set_random_seed({seed})"), results)
    results["seconds"] = time.perf_counter() - start
    return results


def forecasts(years, numbers):
    """One-year-ahead forecasts for 1712 to 2008 by persistence and by AR(9)."""
    past = np.lib.stride_tricks.sliding_window_view(numbers[:-1], 9)
    design = np.column_stack([np.ones(len(past)), past])
    known = years[9:] <= 1920
    coefficients = np.linalg.lstsq(design[known], numbers[9:][known], rcond=None)[0]
    return {"persistence": numbers[11:-1], "AR(9)": (design @ coefficients)[3:]}


def relative_variance(forecast, years, numbers):
    """Average relative variance by span: the mean squared error over the variance 1700-1979."""
    errors = np.square(forecast - numbers[12:]) / numbers[years <= 1979].var()
    target = years[12:]
    return [errors[(target >= a) & (target <= b)].mean() for a, b in SPANS.values()]


def draw(path, years, numbers, results, digits, accuracy):
    figure = plt.figure(figsize=(10, 8), layout="constrained")
    grid = figure.add_gridspec(3, 10, height_ratios=[3, 2.2, 1.2])
    axes = figure.add_subplot(grid[0, :])
    for first, last in list(SPANS.values())[1:]:
        axes.axvspan(first, last, color="0.92")
    shown = years[12:] >= 1880
    target = years[12:][shown]
    axes.plot(target, numbers[12:][shown], color="0.35", label="observed")
    axes.plot(target, results["GRU"][0][shown], "--", color="C0", label="GRU, one year ahead")
    axes.set(title="Yearly sunspot numbers; grey: the test years", ylabel="sunspot number")
    axes.legend(frameon=False)

    axes = figure.add_subplot(grid[1, :])
    for i, (name, (_, errors)) in enumerate(results.items()):
        color = {"persistence": "0.75", "AR(9)": "C1", "GRU": "C0"}[name]
        bars = axes.bar(np.arange(3) + 0.27 * (i - 1), errors, 0.25, color=color, label=name)
        axes.bar_label(bars, fmt="%.2f", fontsize=8)
    axes.set_xticks(range(3), SPANS)
    axes.margins(y=0.12)
    axes.set(title="Error of the forecasts", ylabel="average relative variance")
    axes.legend(frameon=False)

    predicted = digits["model"].predict(digits["x_test"]).argmax(axis=1)
    wrong = predicted != digits["y_test"]
    order = np.argsort(~wrong, kind="stable")[:10]
    for i, sample in enumerate(order):
        axes = figure.add_subplot(grid[2, i])
        axes.imshow(digits["x_test"][sample], cmap="Greys")
        axes.set_axis_off()
        color = "C3" if wrong[sample] else "C0"
        axes.set_title(
            f"{digits['y_test'][sample]} as {predicted[sample]}", color=color, fontsize=9
        )
    figure.text(
        0.5, -0.01,
        f"Digits read row by row: {accuracy:.1%} of {len(predicted)} held-out images are right; "
        f"the wrong ones first",
        ha="center", va="top",
    )  # fmt: skip
    figure.savefig(path, dpi=120, bbox_inches="tight")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("demo"), help="folder for the results")
    output = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()

    cgru.show_config()
    print("\nForecasting the sunspots, with seeds 1 to 9 ...", flush=True)
    sunspots = [run("sunspots.py", seed) for seed in range(1, 10)]
    years, numbers = sunspots[0]["years"], sunspots[0]["numbers"]
    results = {
        name: (forecast, relative_variance(forecast, years, numbers))
        for name, forecast in forecasts(years, numbers).items()
    }
    errors = [relative_variance(each["forecast"], years, numbers) for each in sunspots]
    results["GRU"] = (sunspots[0]["forecast"], errors[0])
    print("Reading handwritten digits row by row, with seeds 1 to 3 ...", flush=True)
    digits = [run("digits.py", seed) for seed in range(1, 4)]

    print("\nSunspots: average relative variance of the forecasts one year ahead (less is better)")
    print(f"{'':22}" + "".join(f"{name:>18}" for name in SPANS))
    for name, (_, values) in results.items():
        print(f"{name:22}" + "".join(f"{value:18.3f}" for value in values))
    ranges = [f"{min(v):.3f}-{max(v):.3f}" for v in zip(*errors, strict=True)]
    print(f"{'GRU, range of 9 seeds':22}" + "".join(f"{text:>18}" for text in ranges))
    accuracies = [each["accuracy"] for each in digits]
    print(f"\nDigits: {accuracies[0]:.1%} of {len(digits[0]['y_test'])} held-out images are right")
    print(f"        with seeds 1 to 3: {', '.join(f'{value:.1%}' for value in accuracies)}")

    picture = output / "demo.png"
    draw(picture, years, numbers, results, digits[0], accuracies[0])
    print("\nWritten:")
    print(f"  {picture}  the picture")
    for name, each in (("sunspots", sunspots[0]), ("digits", digits[0])):
        weights = output / f"{name}.npz"
        np.savez(weights, *each["model"].get_weights())
        print(
            f"  {weights}  the weights of a model of {each['model'].count_params():,} parameters, "
            f"trained in {each['seconds']:.1f} s"
        )
    print("\nTo use the weights again: model.set_weights(np.load(file).values())")
    print(f"To do the forecast again ({HERE.name}/sunspots.py):\n")
    print((HERE / "sunspots.py").read_text())
    print(f"Done in {time.perf_counter() - start:.1f} s.")


if __name__ == "__main__":
    main()
