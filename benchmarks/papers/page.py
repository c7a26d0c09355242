"""The page that run.py writes: tables in Markdown, pictures beside it, all numbers as JSON."""

import importlib.util
import json
import statistics

import machine
from report import table
from task import CELLS, CHOSEN, HERE

import cgru

NOTES = HERE / "notes.md"  # written by hand, ends the page if it is there

HEAD = """\
# The papers' tables

The experiments with which recurrent cells are compared in the literature, done with cgru. All of
this was measured and written by one command (`make papers` sets up what it needs and runs it); it
goes on where it was stopped:

```sh
python benchmarks/papers/run.py --music FOLDER
```

The piano rolls, `JSB_Chorales.mat` and `Nottingham.mat`, are not part of cgru: FOLDER has them
(`make papers MUSIC=FOLDER`). Without them random music takes their place. PyTorch is timed if it
is installed.

{facts}
Every model is one recurrent layer and one dense layer, in the initialization of Keras (a bias of 1
for the forget gate of the LSTM; nothing else is set by hand), with as many units as keep the number
of parameters of the whole model within the same limit for the three cells; float32. They are
trained by Adam with the norm of the whole gradient limited, and a learning rate that falls to 0
along half a cosine wave over the steps given. After each epoch the validation data is evaluated;
the weights after the best epoch are kept, and only these see the test data, once (there is one
exception, told at the end). Settings were chosen on the validation data, with another seed: by
`run.py --choose`, which tried what the last table has, or by hand, as told below it.

Scores are the mean over seeds 1 to {seeds} ± their standard deviation, on the test data; "missing"
is what was not run. Seconds are the processor time of one run on one thread, with the evaluations
of the validation data, the mean over the seeds: what a clock shows where no other program runs.
Those of PyTorch are for the same run: those of cgru, times the ratio of the processor times of
their training steps (the same model and the same batches, in its own layout, the fused Adam, one
thread; the median of {timed} steps in turns).
"""

SECTIONS = {
    "adding": """\
## The adding problem

At each step a number from 0 to 1 and a mark, which is 1 at two steps; the target, after the last
step, is the sum of the two marked numbers (Hochreiter and Schmidhuber 1997; in the form of Bai et
al. 2018, arXiv 1803.01271). Every batch is drawn anew; validation and test are {held_out} sequences
each. Always answering 1 gives a mean squared error of 0.167.
""",
    "copying": """\
## Copying memory

Ten symbols of eight kinds, T - 1 blanks, eleven marks; the symbols are to be repeated at the last
ten steps, and nothing at all others (Hochreiter and Schmidhuber 1997; in the form of Bai et al.
2018). The score is the mean cross-entropy of all T + 20 steps in nats. Every batch is drawn anew;
validation and test are {held_out} sequences each. Remembering nothing gives 10 ln(8) / (T + 20),
and one symbol in eight right.
""",
    "music": """\
## Polyphonic music

Which of 88 keys are down at the next step, given all steps so far: the piano rolls, and the split,
of Boulanger-Lewandowski et al. 2012. The score is the sum of the binary cross-entropies of the 88
keys, in nats, of the steps 2 to T of each sequence, and its mean over all these steps of all
sequences, as in Bai et al. 2018 (the sum over all sequences by the number of all steps, so that
long sequences count for more). Published: Chung et al. 2014 (arXiv 1412.3555, table 2, test) and
Bai et al. 2018 (arXiv 1803.01271, table 1).
""",
    "digits": """\
## Digits, row by row

The 8 by 8 images of handwritten digits of scikit-learn, each a sequence of 8 rows: 1077 to train
on, 270 for validation, 450 for the test. The papers do this with the larger images of MNIST, pixel
by pixel, so there is no figure to compare with.
""",
}

STAND_IN = """\
**The music was not there: this is random music instead, and compares with nothing.**
"""

CHOICES = """\
## What was chosen

The validation scores of all settings that `python benchmarks/papers/run.py --choose` tried; it
trains one model for each, does not look at the test data, and keeps the best (in bold).
"""


# ---- Numbers as text ----


def number(value):
    return f"{value:.3f}" if abs(value) >= 1 else f"{value:.3g}"


def spread(values, count):
    """The mean and the standard deviation, and of how many runs if they are not `count`."""
    if not values:
        return "missing"
    text = number(statistics.mean(values))
    if len(values) > 1:
        text += f" ± {statistics.stdev(values):.1g}"
    return text if len(values) == count else f"{text} ({len(values)} of {count} seeds)"


def in_one_line(found):
    if "ratio" in found:
        peer = f", PyTorch {found['ratio']:.2f} times as long" if found["ratio"] else ""
        return f"{found['cgru'] * 1e3:.1f} ms a step{peer}"
    test = f", test {number(found['test'])}" if "test" in found else ""
    return f"validation {number(found['valid'])}{test}, {found['cpu']:.0f} s of CPU"


def in_words(settings):
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in settings.items())


# ---- The tables ----


class Rows:
    """The results of one task by cell."""

    def __init__(self, task, seeds, found):
        self.task, self.count = task, len(seeds)
        self.runs = {
            cell: [found[name] for seed in seeds if (name := f"{task.name}-{cell}-{seed}") in found]
            for cell in CELLS
        }
        self.times = {cell: found.get(f"time-{task.name}-{cell}") for cell in CELLS}

    def score(self, cell, key="test"):
        return spread([run[key] for run in self.runs[cell]], self.count)

    def row(self, cell, papers):
        runs, times = self.runs[cell], self.times[cell]
        published = [self.task.published.get(paper, {}).get(cell) for paper in papers]
        row = [cell, self.score(cell), *(number(v) if v else "" for v in published)]
        if not runs:
            return [*row, *[""] * (5 + len(self.details()))]
        seconds = statistics.mean(run["cpu"] for run in runs)
        peer = times and times["ratio"] and seconds * times["ratio"]
        return [
            *row,
            *(
                spread([run["test_details"][name] for run in runs], self.count)
                for name in self.details()
            ),
            self.score(cell, "valid"),
            str(runs[0]["units"]),
            str(runs[0]["parameters"]),
            f"{seconds:.0f}",
            f"{peer:.0f}" if peer else "missing",
        ]

    def details(self):
        first = next((runs[0] for runs in self.runs.values() if runs), None)
        return list(first["test_details"]) if first else []

    def lines(self):
        task, papers = self.task, list(self.task.published)
        head = ["cell", f"{task.score_name}, test", *papers, *self.details(), "validation"]
        head += ["units", "parameters", "seconds", "PyTorch"]
        yield f"### {task.title}\n"
        yield table(head, [self.row(cell, papers) for cell in CELLS])
        yield self.order()
        yield from self.settings()

    def order(self):
        """The cells from the best to the worst, here and in the papers."""
        means = {
            cell: statistics.mean(run["test"] for run in runs)
            for cell, runs in self.runs.items()
            if runs
        }
        if not means:
            return ""
        if self.task.chance and min(means.values()) >= self.task.chance:
            return (
                f"None does better than one who knows nothing, "
                f"{number(self.task.chance)}: their order says nothing.\n"
            )
        found = {"here": means} | self.task.published
        sign = 1 if self.task.better == "less" else -1
        texts = [
            f"{where}: {', '.join(sorted(values, key=lambda cell: sign * values[cell]))}"
            for where, values in found.items()
            if values
        ]
        return f"From the best to the worst, {'; '.join(texts)}.\n"

    def settings(self):
        """In words, those that all cells share once."""
        found = {cell: runs[0]["settings"] for cell, runs in self.runs.items() if runs}
        if not found:
            return
        first, *others = found.values()
        same = {k: v for k, v in first.items() if all(other[k] == v for other in others)}
        yield f"Settings: {in_words(same)}."
        for cell, settings in found.items():
            own = {key: value for key, value in settings.items() if key not in same}
            if own:
                yield f"{cell}: {in_words(own)}."
        steps = next(runs[0]["steps"] for runs in self.runs.values() if runs)
        yield f"Steps of the optimizer in a run: {steps}.\n"


def choices(tasks):
    chosen = json.loads(CHOSEN.read_text()) if CHOSEN.exists() else {}
    rows = []
    for family in dict.fromkeys(task.family for task in tasks):
        for cell, choice in chosen.get(family, {}).items():
            for each in choice["tried"]:
                text = in_words(each["settings"])
                bold = "**" if each["settings"] == choice["settings"] else ""
                rows.append([f"{choice['on']}, {cell}: {bold}{text}{bold}", number(each["valid"])])
    if rows:
        yield CHOICES
        yield table(["tried", "validation"], rows)


def summary(all_rows):
    """The scores of all tasks in one table, and the time of all runs."""
    yield table(
        ["test", *CELLS],
        [[f"{row.task.title}, {row.task.score_name}", *map(row.score, CELLS)] for row in all_rows],
    )
    cpu = sum(run["cpu"] for row in all_rows for runs in row.runs.values() for run in runs)
    yield f"All these runs together took {cpu / 60:.0f} minutes of one core.\n"


def write(output, tasks, seeds, found, timed):
    """Write the page, its pictures and all results into a folder."""
    import pictures  # which the workers do not need

    beside = output / "papers"
    beside.mkdir(parents=True, exist_ok=True)
    packages = ["cgru", "numpy", "scipy", "scikit-learn"]
    if importlib.util.find_spec("torch"):  # results that were kept may have its times without it
        packages.append("torch")
    facts = machine.describe(cgru.show_config("dicts"), packages)
    lines = "".join(f"- {name}: {fact}\n" for name, fact in facts)
    all_rows = [Rows(task, seeds, found) for task in tasks]
    parts = [HEAD.format(facts=lines, seeds=seeds[-1], timed=timed), *summary(all_rows)]
    for section, text in SECTIONS.items():
        rows = [row for row in all_rows if row.task.section == section]
        parts.append(text.format(**rows[0].task.settings_of("GRU")))
        if any(row.task.name == "music-stand-in" for row in rows):
            parts.append(STAND_IN)
        if pictures.draw(beside / f"{section}.svg", rows):
            parts.append(f"![Validation loss by step](papers/{section}.svg)\n")
        for row in rows:
            parts += row.lines()
    parts += choices(tasks)
    if NOTES.exists():
        parts.append(NOTES.read_text())
    (output / "papers.md").write_text("\n".join(parts))
    (beside / "results.json").write_text(as_json(found))
    print(output / "papers.md")


def as_json(found):
    """A line for each result."""
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(each)}" for name, each in found.items())
    return f"{{\n{lines}\n}}\n"
