"""The long runs behind docs/model.md: learning curves, the lead over random, what each label adds, each term off.

    make bench-model           (or: python tests/bench_model.py FOLDER_OF_IDX_FILES [part ...])

curve     1,000 labels by the default acquisition
random    100 labels by the default acquisition and at random, paired by rng seed
frozen    20 labels kept against 100, and 100 against 300, at the same number of steps
sets      100 labels on made sets, by the default acquisition and at random
ablation  100 labels, each term of the objective off, from one warm-up at equal steps

Every run is left in runs/bench-model and not done again, so that a cut benchmark goes on where it stopped. The tables
go to docs/benchmarks/.
"""

import csv
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from labeler.curve import write_rows
from labeler.learning import DEFAULT_ACQUISITION
from labeler.simulate import Pace, answers_of, bench_of, hidden_project, measure, settle_for, simulate
from model import evaluation
from model.learner import Learner, LearnerConfig
from model.objective import RECIPE

RUNS = Path("runs/bench-model")
TABLES = Path("docs/benchmarks")
RNG_SEEDS = (0, 1, 2)
SETS: dict[str, Callable[[], datasets.Labeled]] = {
    "glyphs, 10 classes": lambda: datasets.glyphs(6000, 1000),
    "glyphs, 100 classes": lambda: datasets.glyphs(10_000, 2000, n_classes=100),
    "textures, colour 32x32": lambda: datasets.textures(6000, 1000),
    "photos, colour 64x64": lambda: datasets.photos(4000, 1000),
    "vectors": lambda: datasets.vectors(6000, 1000),
    "digits 8x8, imbalance 100:1": datasets.few_digits,
}


def run(source: Path, name: str, budget: int, acquisition: str, rng_seed: int, pace: Pace | None = None) -> list[Any]:
    """Rows of one simulation, from its folder if it was done before."""
    out = RUNS / f"{name}-seed{rng_seed}".replace(" ", "-").replace(",", "").replace(":", "-")
    if not (out / "report.md").exists():
        print(f"{out} ...", flush=True)
        simulate(source, budget, acquisition, [rng_seed], out, pace=pace)
    with open(out / "curve.csv", newline="") as f:
        rows = list(csv.DictReader(f))
    print(
        f"{name}, rng seed {rng_seed}: " + ", ".join(f"{r['labels']}: {r['test_accuracy']}" for r in rows), flush=True
    )
    return rows


def with_interval(values: Sequence[float]) -> str:
    """Mean and 95% interval of the mean by Student's t, for as few values as these."""
    from scipy import stats

    mean, half = np.mean(values), stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return f"{mean:.4f} +- {half:.4f}"


def curve(source: Path) -> None:
    rows = [row for rng_seed in RNG_SEEDS for row in run(source, "curve", 1000, DEFAULT_ACQUISITION, rng_seed)]
    write_rows(TABLES / "fashion-1000.csv", rows)
    for labels in dict.fromkeys(row["labels"] for row in rows):
        at = [row for row in rows if row["labels"] == labels]
        values = [float(row["test_accuracy"]) for row in at]
        seconds = [float(row["seconds"]) for row in at]
        print(f"{labels:>5} labels: accuracy {np.mean(values):.4f}, {min(values):.4f} to {max(values):.4f}; "
              f"{max(seconds):.0f} s at most")  # fmt: skip


def at_random(source: Path) -> None:
    rows, leads = [], []
    for rng_seed in RNG_SEEDS:
        asked, drawn = (run(source, f"lead-{a}", 100, a, rng_seed)[-1] for a in (DEFAULT_ACQUISITION, "random"))
        rows += [asked, drawn]
        leads.append(float(asked["test_accuracy"]) - float(drawn["test_accuracy"]))
    write_rows(TABLES / "fashion-lead.csv", rows)
    print(f"lead over random at 100 labels, settled, paired: {with_interval(leads)}")


def frozen(source: Path) -> None:
    """Labels that stay as they are while training goes on, against more labels: the same steps in all."""
    rows: list[dict[str, Any]] = []
    taken = {n: sum(Pace().steps_for(label) for label in range(1, n + 1)) for n in (20, 100, 300)}  # while labeling
    for fewer, more in ((20, 100), (100, 300)):
        steps = taken[more] + settle_for(60_000)
        gains: dict[str, list[float]] = {"test_accuracy": [], "generated_accuracy": [], "test_elbo": []}
        for rng_seed in RNG_SEEDS:
            few, many = (_settled(source, n, rng_seed, steps, taken[n]) for n in (fewer, more))
            rows += [{"steps": steps, **few}, {"steps": steps, **many}]
            for name, values in gains.items():
                values.append(float(many[name]) - float(few[name]))
        for name, values in gains.items():
            print(f"{more} labels less {fewer} frozen ones, {steps} steps, {name}: {with_interval(values)}")
    _write(TABLES / "fashion-frozen.csv", rows)


def _settled(source: Path, labels: int, rng_seed: int, steps: int, taken: int) -> dict[str, Any]:
    """The last row of a run that settles until `steps` are taken since the warm-up."""
    name, pace = f"steps{steps}-labels{labels}", Pace(settle_steps=steps - taken)
    return run(source, name, labels, DEFAULT_ACQUISITION, rng_seed, pace)[-1]


def sets(_: Path) -> None:
    rows: list[dict[str, Any]] = []
    for name, make in SETS.items():
        with tempfile.TemporaryDirectory() as folder:
            source = datasets.save(make(), Path(folder) / "set.npz")
            for acquisition in (DEFAULT_ACQUISITION, "random"):
                for rng_seed in RNG_SEEDS:
                    at = run(source, f"{name}-{acquisition}", 100, acquisition, rng_seed)
                    rows += [{"set": name, **row} for row in at]
    _write(TABLES / "sets.csv", rows)


def ablation(source: Path) -> None:
    """Each term off, from one warm-up (but for contrast, which is of the warm-up) and the same 100 labels."""
    answers = answers_of(source)
    with tempfile.TemporaryDirectory() as folder, hidden_project(source, answers, Path(folder) / "project") as project:
        bench, images = bench_of(answers, project), project.images().array
        index = {name: i for i, name in enumerate(answers.classes)}
        truth = np.array([index[answers.truth[s.name]] for s in project.store.samples("pool")])
        rows = []
        for rng_seed in RNG_SEEDS:
            labeled = np.random.default_rng(rng_seed).permutation(len(images))[:100]
            labels = {int(i): int(truth[i]) for i in labeled}
            warmed = _warmed(images, len(index), replace(RECIPE), rng_seed)
            for term in ("none", *(f.name for f in fields(RECIPE) if f.name not in ("beta", "labeled_elbo"))):
                without = RECIPE if term == "none" else replace(RECIPE, **{term: 0.0})
                begun = _warmed(images, len(index), without, rng_seed) if term == "contrast" else warmed
                learner = Learner(images, len(index), None, LearnerConfig(objective=without), rng_seed)
                learner.resume(begun.ema, begun.step)
                learner.set_labels(labels)
                for _ in range(1000):
                    learner.take_step()
                model = learner.as_model(answers.classes)
                swapped = evaluation.swap_figures(model, bench.judge, bench.test)[0]
                rows.append({"without": term, "rng_seed": rng_seed, **measure(model, bench), **swapped})
                print(rows[-1], flush=True)
                _write(TABLES / "ablation.csv", rows)


def _warmed(images: np.ndarray, n_classes: int, objective: Any, rng_seed: int) -> Learner:
    learner = Learner(images, n_classes, None, LearnerConfig(objective=objective), rng_seed)
    while learner.warming_up:
        learner.take_step()
    return learner


def _write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    with open(path, "w", newline="") as f:
        writer = csv.DictWriter(f, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


PARTS = {"curve": curve, "random": at_random, "frozen": frozen, "sets": sets, "ablation": ablation}

if __name__ == "__main__":
    for part in sys.argv[2:] or PARTS:
        PARTS[part](Path(sys.argv[1]))
