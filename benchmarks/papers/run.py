"""Train the models of the papers' tables, and write what was found as a page of the documentation.

    python benchmarks/papers/run.py [--task NAME ...] [--cell NAME ...] [--jobs N] [--quick]
    python benchmarks/papers/run.py --choose [--task NAME ...]

Each run is kept when it ends: a command that was killed goes on where it was.  `--choose` compares
settings on the validation data alone, with a seed of its own, and writes chosen.json, which the
runs read.  `--help` lists all options.
"""

import argparse
import concurrent.futures
import itertools
import json
import multiprocessing
import os
import sys
from pathlib import Path

sys.path.insert(1, str(Path(__file__).parents[1]))  # what all benchmarks share

import music
import page
import twin
from adding import Adding
from copying import Copying
from digits import Digits
from results import Results
from task import CELLS, CHOSEN
from tqdm import tqdm

ROOT = Path(__file__).parents[2]
CHOICE_SEED = 0  # of the runs of --choose; the others have 1, 2, ...


def all_tasks(folder):
    """All tasks, the quick ones first."""
    return [
        Digits(),
        *music.tasks(folder),
        *(Adding(time) for time in (200, 400, 600)),
        *(Copying(time) for time in (500, 1000)),
    ]


# ---- In the processes that do the work ----


progress = None  # a queue, to which a worker tells of each epoch


def start_worker(given):
    global progress
    progress = given


def train(task, cell, seed, settings, test):
    return task.run(cell, seed, settings, progress.put, test)


def measure(task, cell, settings):
    return {"settings": settings} | twin.times(task, cell, settings)


# ---- In the process that hands it out ----


class Work:
    """Calls to be made, each of which ends in a result under a name, unless it is there."""

    def __init__(self, results):
        self.results = results
        self.names, self.calls = {}, []

    def add(self, name, settings, epochs, function, *arguments, wanted=True):
        self.names[name] = settings
        if wanted and self.results.get(name, settings) is None:
            self.calls.append((name, epochs, function, *arguments))

    def do(self, jobs):
        """Make the calls, so many at a time, one thread each; keep each result when it is there."""
        print(f"{len(self.calls)} to do, {len(self.found())} kept", file=sys.stderr, flush=True)
        if not self.calls:
            return
        context = multiprocessing.get_context("spawn")
        told = context.Queue()
        pool = concurrent.futures.ProcessPoolExecutor(jobs, context, start_worker, (told,))
        total = sum(epochs for _, epochs, *_ in self.calls)
        with pool, tqdm(total=total, unit="epoch") as bar:
            waiting = {pool.submit(*call[2:]): call[0] for call in self.calls}
            try:
                self.collect(waiting, told, bar)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def collect(self, waiting, told, bar):
        while waiting:
            done, _ = concurrent.futures.wait(waiting, 0.2, concurrent.futures.FIRST_COMPLETED)
            while not told.empty():
                bar.set_postfix_str(f"validation loss {told.get():.4g}", refresh=False)
                bar.update()
            for future in done:
                name, result = waiting.pop(future), future.result()
                self.results.put(name, result)
                bar.write(f"{name}: {page.in_one_line(result)}", file=sys.stderr)

    def found(self):
        """The results that are there, by name."""
        found = {name: self.results.get(name, settings) for name, settings in self.names.items()}
        return {name: result for name, result in found.items() if result is not None}


def choose(tasks, cells, results, jobs, quick, output):
    """Compare the settings of each family's grid on its first task; write the best."""
    families = {task.family: task for task in reversed(tasks)}
    work = Work(results)
    tried = []
    for task, cell in itertools.product(reversed(families.values()), cells):
        for number, change in enumerate(task.grid):
            settings = task.settings_of(cell, quick) | change
            name = f"choose-{task.name}-{cell}-{number}"
            epochs = settings["epochs"]
            work.add(name, settings, epochs, train, task, cell, CHOICE_SEED, settings, False)
            tried.append((task, cell, change, name))
    work.do(jobs)
    found = work.found()
    chosen = json.loads(output.read_text()) if output.exists() else {}
    for (task, cell), group in itertools.groupby(tried, key=lambda each: each[:2]):
        entries = [(found[name]["valid"], change) for _, _, change, name in group]
        best = (min if task.better == "less" else max)(entries, key=lambda each: each[0])
        chosen.setdefault(task.family, {})[cell] = {
            "on": task.title,
            "settings": best[1],
            "tried": [{"settings": change, "valid": valid} for valid, change in entries],
        }
    output.write_text(json.dumps(chosen, indent=1) + "\n")
    print(output)


def main():
    os.environ |= {"CGRU_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # of the workers
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--music", type=Path, default=ROOT / "../shared/data/music", metavar="FOLDER",
        help="with JSB_Chorales.mat and Nottingham.mat; default: %(default)s; random music is "
        "the stand-in if they are not there")  # fmt: skip
    add("--task", action="append", metavar="NAME", help="repeatable; default: all")
    add("--cell", choices=CELLS, action="append", help="repeatable; default: all")
    add("--seeds", type=int, default=3, help="runs of each, with seeds 1, 2, ...")
    add("--jobs", type=int, default=os.cpu_count(), help="runs at a time, one thread each")
    add("--results", type=Path, metavar="FOLDER", help="default: build/papers")
    add("--output", type=Path, metavar="FOLDER", help="of the page; default: docs")
    add("--choose", action="store_true", help="choose settings on the validation data")
    add("--quick", action="store_true", help="small and short, to see that it works: in build/")
    options = parser.parse_args()
    tasks = all_tasks(options.music.resolve())
    names = [task.name for task in tasks]
    for name in options.task or ():
        if name not in names:
            parser.error(f"--task: expected one of {', '.join(names)}, got {name}")
    if options.seeds < 1 or options.jobs < 1:
        parser.error("--seeds, --jobs: expected at least 1")
    wanted = [task for task in tasks if task.name in (options.task or names)]
    cells = options.cell or CELLS
    build = ROOT / ("build/papers-quick" if options.quick else "build/papers")
    results = Results(options.results or build)
    output = options.output or (build if options.quick else ROOT / "docs")

    if options.choose:
        target = results.folder / "chosen.json" if options.quick else CHOSEN
        choose(wanted, cells, results, options.jobs, options.quick, target)
        return

    work = Work(results)
    seeds = range(1, options.seeds + 1)
    for seed, task, cell in itertools.product(seeds, tasks, CELLS):
        settings = task.settings_of(cell, options.quick)
        now = task in wanted and cell in cells
        name, epochs = f"{task.name}-{cell}-{seed}", settings["epochs"]
        work.add(name, settings, epochs, train, task, cell, seed, settings, True, wanted=now)
        if seed == seeds[-1]:
            work.add(
                f"time-{task.name}-{cell}", settings, 0, measure, task, cell, settings, wanted=now
            )
    work.do(options.jobs)
    page.write(output, tasks, seeds, work.found(), twin.STEPS)


if __name__ == "__main__":
    main()
