"""The long runs behind docs/model.md: learning curves, the lead over random, what each label adds, each term off.

    make bench-model           (or: python tests/bench_model.py FOLDER_OF_IDX_FILES [part ...])

curve     1,000 labels by the default acquisition                                       fashion-1000.csv
random    100 labels by the default acquisition and at random                           fashion-lead.csv
frozen    20 labels kept against 100, and 100 against 300, at the same number of steps  fashion-frozen.csv
sets      100 labels on made sets, by the default acquisition and at random             sets.csv
ablation  100 labels, each term of the objective off, mirroring, or y, at equal steps   ablation.csv

The rows of a run join its table in docs/benchmarks when it ends, and a run that has them there is not done
again, on whatever machine: a cut benchmark goes on where it stopped. Each row names the recipe it was measured with.
A part leaves what follows from its rows in docs/benchmarks/PART.md; differences are paired by rng seed.
"""

import csv
import hashlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from tables import DIFFERENCE, Row, Table, cells, column, difference, grouped, header, spread

from labeler.learning import DEFAULT_ACQUISITION
from labeler.simulate import Bench, Pace, answers_of, bench_of, hidden_project, measure, settle_for, simulate
from model import evaluation
from model.learner import Learner, LearnerConfig
from model.objective import RECIPE, Objective
from model.ssvae import SSVAE

SETS: dict[str, Callable[[], datasets.Labeled]] = {
    "glyphs, 10 classes": lambda: datasets.glyphs(6000, 1000),
    "glyphs, 100 classes": lambda: datasets.glyphs(10_000, 2000, n_classes=100),
    "textures, colour 32x32": lambda: datasets.textures(6000, 1000),
    "photos, colour 64x64": lambda: datasets.photos(4000, 1000),
    "vectors": lambda: datasets.vectors(6000, 1000),
    "digits 8x8, imbalance 100:1": datasets.few_digits,
}
FIGURES = ("test_accuracy", "test_elbo", "test_nll", "generated_accuracy", "generated_frechet")
SWAPPED = ("asked_class_seen", "style_moved", "variety")
FROZEN = ((20, 100), (100, 300))  # labels kept, labels at the end
ABLATED_LABELS, ABLATED_STEPS = 100, 1000
MIRRORED = "mirrored"  # in the place of a term: no image is mirrored, whatever its class
UNHEARD = "y"  # in the place of a term: the decoder is never told the class
LEAD = (f"accuracy, {DEFAULT_ACQUISITION}", "accuracy, random", *DIFFERENCE)


def digest(config: LearnerConfig, pace: Pace) -> str:
    """Eight digits that are others when the configuration or the pace is. What the code decides is not in them."""
    return hashlib.sha256(json.dumps([asdict(config), asdict(pace)], sort_keys=True).encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Plan:
    source: Path
    tables: Path = Path("docs/benchmarks")
    runs: Path = Path("runs/bench-model")  # models and pictures, for whoever wants to look at them
    pace: Pace = field(default_factory=Pace)
    rng_seeds: Sequence[int] = (0, 1, 2)

    def table(self, name: str) -> Table:
        return Table(self.tables / f"{name}.csv", digest(LearnerConfig(), self.pace))

    def run(
        self, table: Table, labels: int, acquisition: str = DEFAULT_ACQUISITION, pace: Pace | None = None, **about: Any
    ) -> None:
        """One simulation for each rng seed that the table does not hold yet. `about` tells these rows from others."""
        for rng_seed in self.rng_seeds:
            key = {**about, "acquisition": acquisition, "rng_seed": rng_seed}
            if table.holds(**key, labels=labels):
                continue
            print(f"{table.path.stem}: {labels} labels, {key} ...", flush=True)
            out = self.runs / "-".join([table.path.stem, str(labels), *(_as_file_name(v) for v in key.values())])
            simulate(self.source, labels, acquisition, [rng_seed], out, pace=pace or self.pace)
            with open(out / "curve.csv", newline="", encoding="utf-8") as f:
                table.add([{**about, **row} for row in csv.DictReader(f)])


def _as_file_name(value: Any) -> str:
    return "".join(c if c.isalnum() else "_" for c in str(value))


def curve(plan: Plan, table: Table, labels: int = 1000) -> str:
    plan.run(table, labels)
    lines = header("labels", *FIGURES, "seconds")
    for n, at in grouped(table.rows(), "labels"):
        lines.append(cells(n, *(spread(column(at, name)) for name in (*FIGURES, "seconds"))))
    return text(f"# Up to {labels:,} labels of Fashion-MNIST, asked by `{DEFAULT_ACQUISITION}`", lines)


def at_random(plan: Plan, table: Table, labels: int = 100) -> str:
    for acquisition in (DEFAULT_ACQUISITION, "random"):
        plan.run(table, labels, acquisition)
    lines = header("labels", *LEAD)
    for n, at in grouped(table.rows(), "labels"):
        lines.append(cells(n, *lead(at)))
    return text("# Fashion-MNIST: what the model asks for, and labels at random", lines)


def frozen(plan: Plan, table: Table, pairs: Sequence[tuple[int, int]] = FROZEN, n_images: int = 60_000) -> str:
    """Labels that stay as they are while training goes on, against more labels: the same steps in all."""
    lines = header("labels", "steps", "figure", "fewer", "more", *DIFFERENCE)
    settle = plan.pace.settle_steps if plan.pace.settle_steps is not None else settle_for(n_images)
    for fewer, more in pairs:
        taken = {n: sum(plan.pace.steps_for(label) for label in range(1, n + 1)) for n in (fewer, more)}
        steps = taken[more] + settle  # after the warm-up
        for n in (fewer, more):
            plan.run(table, n, pace=replace(plan.pace, settle_steps=steps - taken[n]), steps=steps, budget=n)
        of_steps = [r for r in table.rows() if r["steps"] == str(steps) and r["budget"] == r["labels"]]
        for name in FIGURES:
            few, many = (column([r for r in of_steps if r["labels"] == str(n)], name) for n in (fewer, more))
            values = (spread(few), spread(many), *difference(few, many))
            lines.append(cells(f"{fewer} and {more}", steps, name, *values))
    return text("# Fashion-MNIST: few labels kept for many steps against more labels for as many", lines)


def sets(plan: Plan, table: Table, labels: int = 100, made: dict[str, Callable[[], datasets.Labeled]] = SETS) -> str:
    lines = header("set", *LEAD)
    for name, make in made.items():
        with tempfile.TemporaryDirectory() as folder:
            of_set = replace(plan, source=Path(folder) / "set.npz")
            for acquisition in (DEFAULT_ACQUISITION, "random"):
                about = {"set": name, "acquisition": acquisition, "labels": labels}
                if not all(table.holds(rng_seed=s, **about) for s in plan.rng_seeds) and not of_set.source.exists():
                    datasets.save(make(), of_set.source)
                of_set.run(table, labels, acquisition, set=name)
        at = [r for r in table.rows() if (r["set"], r["labels"]) == (name, str(labels))]
        lines.append(cells(name, *lead(at)))
    return text(f"# Made sets: {labels} labels that the model asks for, and as many at random", lines)


def ablation(plan: Plan, table: Table, labels: int = ABLATED_LABELS, steps: int = ABLATED_STEPS) -> str:
    """All terms of the first rng seed, then of the next: a benchmark that is cut has whole comparisons."""
    terms = [f.name for f in fields(RECIPE) if f.name != "beta" and getattr(RECIPE, f.name)]
    terms = ["none", *terms, MIRRORED, UNHEARD]
    missing = [(s, t) for s in plan.rng_seeds for t in terms if not table.holds(rng_seed=s, without=t)]
    if missing:
        for row in _ablated(plan.source, missing, labels, steps):
            table.add([row])
            print(row, flush=True)
    rows, lines = table.rows(), header("without", "figure", "mean", "with all terms", *DIFFERENCE)
    whole = [r for r in rows if r["without"] == "none"]
    for term, at in grouped(rows, "without"):
        for name in (*FIGURES, *SWAPPED) if term != "none" else ():
            off, on = column(at, name), column(whole, name)
            lines.append(cells(term, name, spread(off), spread(on), *difference(on, off)))
    return text(f"# Fashion-MNIST: each term off, {labels} labels drawn at random, {steps:,} steps", lines)


def _ablated(source: Path, wanted: Iterable[tuple[int, str]], n_labels: int, steps: int) -> Iterable[Row]:
    """Rows of (rng seed, term off), from one warm-up of each rng seed; contrast is of the warm-up and gets its own."""
    answers = answers_of(source)
    with tempfile.TemporaryDirectory() as folder, hidden_project(source, answers, Path(folder) / "project") as project:
        bench, images = bench_of(answers, project), project.images().array
        warmed: dict[tuple[int, Objective], Learner] = {}
        for rng_seed, term in wanted:
            objective = replace(RECIPE, **{term: 0.0}) if hasattr(RECIPE, term) else RECIPE
            key = rng_seed, objective if term == "contrast" else RECIPE
            if key not in warmed:
                warmed[key] = _warmed(images, len(answers.classes), key[1], rng_seed)
            config = LearnerConfig(objective=objective, flip=False if term == MIRRORED else None)
            learner = Learner(images, len(answers.classes), None, config, rng_seed)
            warm = warmed[key].ema
            learner.resume(_Unheard.of(warm) if term == UNHEARD else warm, warmed[key].step)
            some = np.random.default_rng(rng_seed).permutation(len(images))[:n_labels]
            learner.set_labels({int(i): int(bench.train_labels[i]) for i in some})
            for _ in range(steps):
                learner.take_step()
            yield {"without": term, "rng_seed": rng_seed, **_measured(learner, answers.classes, bench)}


class _Unheard(SSVAE):
    """A network whose decoder is given the same y whatever the class."""

    @classmethod
    def of(cls, vae: SSVAE) -> "_Unheard":
        network = cls(vae.config)
        network.load_state_dict(vae.state_dict())
        return network

    def decode(self, z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return super().decode(z, torch.full_like(y, 1 / self.config.n_classes))


def _measured(learner: Learner, classes: Sequence[str], bench: Bench) -> Row:
    model = learner.as_model(list(classes))
    swapped = evaluation.swap_figures(model, bench.judge, bench.test)[0]
    return {**measure(model, bench), **{name: round(value, 4) for name, value in swapped.items()}}


def _warmed(images: np.ndarray, n_classes: int, objective: Objective, rng_seed: int) -> Learner:
    learner = Learner(images, n_classes, None, LearnerConfig(objective=objective), rng_seed)
    while learner.warming_up:
        learner.take_step()
    return learner


def lead(rows: Sequence[Row]) -> list[str]:
    """Cells of LEAD."""
    by = [[r for r in rows if r["acquisition"] == a] for a in (DEFAULT_ACQUISITION, "random")]
    asked, drawn = (column(of, "test_accuracy") for of in by)
    return [spread(asked), spread(drawn), *difference(drawn, asked)]


def text(title: str, lines: Sequence[str]) -> str:
    return "\n".join(
        [title, "", "Mean over rng seeds [least, greatest]; differences are paired by rng seed.", "", *lines, ""]
    )


PARTS: dict[str, tuple[str, Callable[[Plan, Table], str]]] = {
    "curve": ("fashion-1000", curve),
    "random": ("fashion-lead", at_random),
    "frozen": ("fashion-frozen", frozen),
    "sets": ("sets", sets),
    "ablation": ("ablation", ablation),
}


def main(plan: Plan, parts: Sequence[str]) -> None:
    tables = {part: plan.table(PARTS[part][0]) for part in parts}
    for table in tables.values():
        table.rows()  # one of another recipe is not to come up after hours
    for part, table in tables.items():
        said = PARTS[part][1](plan, table)
        (plan.tables / f"{part}.md").write_text(said, encoding="utf-8")
        print(said, flush=True)


if __name__ == "__main__":
    main(Plan(Path(sys.argv[1])), sys.argv[2:] or list(PARTS))
