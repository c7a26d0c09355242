"""Time cgru and its peers in one run, and write what was found as a page of the documentation.

    python benchmarks/bench.py [--threads N ...] [--cell NAME ...] [--shape B,T,I,H ...]
                               [--peer NAME ...] [--quick]

A peer that is not installed is left out.  `--help` lists all options.
"""

import argparse
import collections
import importlib.util
import json
import shlex
import subprocess
import sys
from pathlib import Path

import extras
import machine
import report
from peers import PEERS, Cgru

HERE = Path(__file__).parent
NOTES = HERE / "notes.md"  # written by hand, ends the page if it is there

GRID = [
    (1, 1, 32, 64),
    (1, 1, 64, 256),
    (1, 100, 32, 64),
    (1, 100, 64, 256),
    (32, 50, 8, 32),
    (32, 50, 32, 64),
    (32, 28, 28, 128),
    (64, 100, 64, 128),
    (64, 100, 64, 256),
    (128, 50, 128, 512),
    (8, 30, 512, 512),
    (32, 30, 512, 512),
    (32, 30, 1024, 1024),
]


# Of the other cells, which run on the same kernels.
OTHERS = [
    (1, 1, 32, 64),
    (1, 100, 64, 256),
    (32, 50, 32, 64),
    (32, 28, 28, 128),
    (64, 100, 64, 256),
    (32, 30, 512, 512),
]
SHAPES = {"GRU": GRID, "LSTM": OTHERS, "SimpleRNN": OTHERS}


def progress(text):
    print(text, file=sys.stderr, flush=True)


def measure(cores, **options):
    """What measure.py finds on these cores: a list of results for each thing that it measures."""
    threads = len(cores)
    progress(f"\n{threads} thread(s)")
    found = collections.defaultdict(list)
    command = [sys.executable, HERE / "measure.py", json.dumps({"threads": threads} | options)]
    settings = {"stdout": subprocess.PIPE, "text": True, "env": machine.environment(threads)}
    with machine.bound_to(cores), subprocess.Popen(command, **settings) as child:
        for line in child.stdout:
            what, result = json.loads(line)
            found[what].append(result)
            if what == "grid":
                progress(report.summary(result))
            elif "shape" in result:
                progress(f"{report.label(result['shape']):>18}  {what}")
    if child.returncode:
        sys.exit(f"measuring with {threads} thread(s) failed")
    return {"threads": threads} | found


def measure_extras(measured, peers, threads):
    """The sections of the page that are not about the grid."""
    progress("\ncold start, sizes, memory")
    classes = {"cgru": Cgru} | {peer: PEERS[peer] for peer in peers}
    names = ["NumPy and SciPy alone", *(library.name for library in classes.values())]
    sizes = {package: extras.installed_size(package) for package in classes}
    peaks = {
        library.name: extras.peak_memory(library.__name__, threads)
        for library in classes.values()
        if library.train and sys.platform == "linux"
    }
    return [
        *report.scaling(measured),
        *report.gain_of_threads(measured[-1]),
        *report.subnormal(measured),
        *report.masked(measured),
        *report.cold_start(extras.cold_start(names)),
        *report.installed_size(sizes),
        *report.peak_memory(extras.MEMORY_SHAPE, peaks, extras.memory_floor()),
    ]


def is_installed(peer):
    return all(importlib.util.find_spec(package) for package in PEERS[peer].packages)


def shape(text):
    B, T, I, H = map(int, text.split(","))
    return B, T, I, H


def main():
    cores = machine.physical_cores()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--threads", type=int, action="append", help="repeatable; default: 1, and one per core")
    add("--repeats", type=int, default=5, help="rounds in which each library takes a turn")
    add("--cell", choices=SHAPES, action="append", help="repeatable; default: all")
    add("--shape", type=shape, action="append", metavar="B,T,I,H", help="repeatable")
    add("--peer", choices=PEERS, action="append", help="repeatable; default: all installed")
    add("--output", type=Path, metavar="FILE", help="the page, in Markdown; default: print it")
    add("--at-least", type=float, metavar="RATIO", help="fail if any training ratio is below")
    add("--quick", action="store_true", help="skip all that is not about the grid")
    options = parser.parse_args()
    counts = options.threads or sorted({1, len(cores)})
    if not all(1 <= threads <= len(cores) for threads in counts):
        parser.error(f"--threads: expected 1 to {len(cores)}, the cores of this machine")
    if not options.quick and options.cell and "GRU" not in options.cell:
        parser.error("--cell: without GRU there is the grid alone: add --quick")
    if options.repeats < 2:
        parser.error("--repeats: expected at least 2, for a spread")
    peers = [peer for peer in options.peer or PEERS if is_installed(peer)]
    absent = [PEERS[peer].name for peer in options.peer or PEERS if peer not in peers]
    if options.peer and absent:
        parser.exit(1, f"not installed: {', '.join(absent)}\n")
    if options.at_least and not any(PEERS[peer].train for peer in peers):
        parser.error("--at-least: no peer that trains is installed")
    progress(f"left out, not installed: {', '.join(absent) or 'none'}")

    measured = [
        measure(
            cores[:threads],
            repeats=options.repeats,
            shapes={cell: options.shape or SHAPES[cell] for cell in options.cell or SHAPES},
            peers=peers,
            alone=not options.quick,
        )
        for threads in counts
    ]
    command = shlex.join(["python", "benchmarks/bench.py", *sys.argv[1:]])
    packages = {package for peer in peers for package in PEERS[peer].packages}
    facts = machine.describe(
        measured[0]["config"][0], ["cgru", "numpy", "scipy", *sorted(packages)]
    )
    if absent:
        facts.append(("Left out, not installed", ", ".join(absent)))
    parts = report.head(command, options.repeats, facts)
    for found in measured:
        parts += report.speed(found)
    if not options.quick:
        parts += measure_extras(measured, peers, len(cores))
    if NOTES.exists():
        parts.append(NOTES.read_text())
    page = "\n".join(parts)
    if options.output:
        options.output.write_text(page)
    else:
        print(page, end="")

    if options.at_least:
        worst = min(report.worst_training_ratio(found["grid"]) for found in measured)
        if worst < options.at_least:
            parser.exit(1, f"a training step is only {worst:.2f} times as fast as a peer's\n")


if __name__ == "__main__":
    main()
