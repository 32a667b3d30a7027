"""The people's own loop answered from known labels: the benchmark of everything behind the page.

A labeled source is imported with its labels hidden. Then `loop.ask` and `loop.answer` run as for a person, on the
same store, the same learner and the same published rankings, with the page's lookahead: a question is chosen
before the last two answers are learned.
"""

import csv
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from labeler.learning import Learning
from labeler.loop import Loop
from labeler.project import Project
from model import evaluation, load
from model.checkpoint import Model
from model.images import fit_all
from storage.importers import open_source

COLUMNS = (
    "rng_seed", "acquisition", "labels", "seconds", "test_accuracy", "test_elbo", "test_nll", "calibration_error",
    "generated_accuracy", "generated_frechet",
)  # fmt: skip
LOOKAHEAD = 2  # the image on screen and the next one, which a new ranking does not replace
STEPS_PER_LABEL = 8
SETTLE_STEPS = 400  # once the budget is spent
GENERATED = 500  # images of each class that the judge looks at

Progress = Callable[[int, int], None]


@dataclass
class Bench:
    """What every run is measured against: the true labels, the test images, the judge and its floor."""

    source: Path
    classes: list[str]
    test_images: np.ndarray  # (M, S, S[, 3]) at the working size
    test_labels: np.ndarray  # (M,)
    truth: dict[str, str]  # name of a training image -> class name
    judge: evaluation.Judge
    judge_accuracy: float
    judge_features: np.ndarray  # (M, 128) of the test images
    floor: dict[str, float]  # generated_accuracy and generated_frechet of real training images


@dataclass
class Clock:
    """Seconds since the start, without those spent on measuring."""

    begun: float = field(default_factory=time.perf_counter)
    measuring: float = 0.0

    def seconds(self) -> float:
        return time.perf_counter() - self.begun - self.measuring


def simulate(
    source: Path,
    budget: int,
    acquisition: str,
    rng_seeds: Sequence[int],
    out: Path,
    seconds_per_label: float | None = None,
    on_progress: Progress | None = None,
) -> dict[str, Any]:
    """Write curve.csv, curve.png, report.md and models/ into `out`; the report as a dict.

    ValueError when the source has no labels or no test part, or fewer training images than the budget.
    """
    (out / "models").mkdir(parents=True, exist_ok=True)
    bench: Bench | None = None
    rows: list[dict[str, Any]] = []
    walls: dict[int, float] = {}
    for i, rng_seed in enumerate(rng_seeds):
        begun = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="simulate-", dir=out) as folder:
            project = _hidden(source, Path(folder) / "project")
            if bench is None:
                bench = _bench(source, project)
            if budget > len(project.store.sample_ids("pool")):
                raise ValueError(f"{source} has {len(bench.truth)} training images; --budget {budget} asks for more")
            run = _live if seconds_per_label is not None else _run
            report_progress = _share(on_progress, i, len(rng_seeds))
            with project:
                for row in run(project, bench, budget, acquisition, rng_seed, out, report_progress, seconds_per_label):
                    rows.append(row)
                    _write_rows(out / "curve.csv", rows)  # a cut run leaves what it measured
        walls[rng_seed] = time.perf_counter() - begun
    assert bench is not None
    report = _report(bench, rows, walls, acquisition, budget, seconds_per_label)
    _plot(out / "curve.png", bench, rows)
    (out / "report.md").write_text(_markdown(report), encoding="utf-8")
    return report


def milestones(budget: int) -> list[int]:
    """0, 10, 20, 50, 100, 200, 300, 500, 1,000, 2,000, 3,000, 5,000 ... up to the budget, and the budget."""
    marks = [0, 10, 20, 50, *(m * 10**e for e in range(2, 9) for m in (1, 2, 3, 5))]
    return [m for m in marks if m < budget] + [budget]


def _hidden(source: Path, folder: Path) -> Project:
    """A project of the source's training part whose labels nobody was told."""
    opened = open_source(source)
    if not opened.classes or not {"train", "test"} <= set(opened.parts):
        raise ValueError(
            f"{source} is no labeled source with a test part. Expected IDX files named train-* and t10k-*, an .npz with "
            "xtr, ytr, xte, yte, or a folder with train/ and test/ that hold a folder for each class."
        )
    project = Project.create(folder, opened.classes)
    project.import_(source, part="train", measure_share=0.0)
    return project


def _bench(source: Path, project: Project) -> Bench:
    opened = open_source(source)
    index = {name: i for i, name in enumerate(opened.classes or ())}
    images = project.images()
    size, channels = images.array.shape[1], 1 if images.array.ndim == 3 else 3
    test_images, test_names = opened.load_arrays("test")
    if test_names is None:
        raise ValueError(f"the test part of {source} has no labels")
    test = fit_all(test_images, size, channels)
    test_labels = np.array([index[name] for name in test_names])
    truth = {item.name: item.label for item in opened.items("train") if item.label is not None}
    train_labels = np.array([index[truth[s.name]] for s in project.store.samples("pool")])
    judge = evaluation.judge_for(np.asarray(images.array), train_labels, len(index))
    probs, features = judge.see(test)
    real = _some_of_each(train_labels, GENERATED)
    real_probs, real_features = judge.see(images.array[real])
    floor = {
        "generated_accuracy": evaluation.accuracy(real_probs, train_labels[real]),
        "generated_frechet": evaluation.frechet_distance(real_features, features),
    }
    accuracy = evaluation.accuracy(probs, test_labels)
    return Bench(source, list(index), test, test_labels, truth, judge, accuracy, features, floor)


def _some_of_each(labels: np.ndarray, n: int) -> np.ndarray:
    """Sorted positions of up to n of each class, drawn with a fixed rng seed."""
    rng = np.random.default_rng(0)
    chosen = [rng.permutation(np.flatnonzero(labels == k))[:n] for k in np.unique(labels)]
    return np.sort(np.concatenate(chosen))


def _run(
    project: Project,
    bench: Bench,
    budget: int,
    acquisition: str,
    rng_seed: int,
    out: Path,
    on_progress: Progress,
    _: float | None = None,
) -> Any:
    """One seed in simulated time: a fixed number of gradient steps for each label. Yields the rows of the curve."""
    clock = Clock()
    learning = Learning(project, rng_seed=rng_seed)
    learner, marks = learning.learner, milestones(budget)
    total = learner.warm_up_steps + budget * STEPS_PER_LABEL + SETTLE_STEPS
    while learner.warming_up:
        learning.improve(10)
        on_progress(learner.step, total)
    learning.publish(acquisition)
    yield _row(project, bench, acquisition, rng_seed, 0, clock, out)

    loop = project.loop(annotator="simulated", lookahead=LOOKAHEAD)
    held = loop.ask_many(LOOKAHEAD)
    unpublished = 0
    for given in range(1, budget + 1):
        if not held:
            raise RuntimeError(f"the loop had nothing to ask after {given - 1} of {budget} labels")
        question = held.pop(0)
        answer(project, loop, question.sample_id, bench.truth)
        held += loop.ask_many(LOOKAHEAD - len(held), have=[q.sample_id for q in held], replace=True)
        learning.sync()
        learning.improve(STEPS_PER_LABEL)
        on_progress(learner.step, total)
        if given == budget:
            learning.improve(SETTLE_STEPS)
        unpublished += 1
        if unpublished >= max(1, given // 50) or given in marks:
            learning.publish(acquisition)
            unpublished = 0
        if given in marks:
            yield _row(project, bench, acquisition, rng_seed, given, clock, out)


def answer(project: Project, loop: Loop, sample_id: int, truth: dict[str, str]) -> None:
    """Answer as the source does, and look into the record: a figure must not come from a label that is not there."""
    store = project.store
    name = truth[store.sample(sample_id).name]
    loop.answer(sample_id, name)
    state = store.state(sample_id)
    found = next((c.name for c in store.classes() if state is not None and c.id == state.class_id), None)
    if found != name:
        raise RuntimeError(f"sample {sample_id} was answered {name!r}, but the record says {found!r}")


def _row(
    project: Project, bench: Bench, acquisition: str, rng_seed: int, labels: int, clock: Clock, out: Path
) -> dict[str, Any]:
    """Measure the newest published version, on the file that it left."""
    seconds, begun = clock.seconds(), time.perf_counter()
    version = project.published()
    if version is None or version.labels != labels:
        learned = None if version is None else version.labels
        raise RuntimeError(f"{labels} labels were given, but the newest version learned from {learned}")
    file = out / "models" / f"seed{rng_seed}-labels{labels:05d}.safetensors"
    file.write_bytes((version.folder / "model.safetensors").read_bytes())
    row = {"rng_seed": rng_seed, "acquisition": acquisition, "labels": labels, "seconds": round(seconds, 1)}
    row |= measure(load(file), bench)
    clock.measuring += time.perf_counter() - begun
    return row


def measure(model: Model, bench: Bench) -> dict[str, float]:
    """The figures of one model file, see DESIGN for each column."""
    probs = model.predict_proba(bench.test_images)
    figures = {
        "test_accuracy": evaluation.accuracy(probs, bench.test_labels),
        "test_elbo": float(model.elbo(bench.test_images).mean()),
        "test_nll": evaluation.negative_log_likelihood(probs, bench.test_labels),
        "calibration_error": evaluation.calibration_error(probs, bench.test_labels),
        **evaluation.generated_figures(model, bench.judge, bench.judge_features, GENERATED),
    }
    return {name: round(value, 4) for name, value in figures.items()}


def _share(on_progress: Progress | None, i: int, n: int) -> Progress:
    """Progress of run i of n as progress of the whole."""

    def report(done: int, total: int) -> None:
        if on_progress is not None:
            on_progress(i * total + done, n * total)

    return report


def _write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as f:
        writer = csv.DictWriter(f, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def _report(
    bench: Bench,
    rows: list[dict[str, Any]],
    walls: dict[int, float],
    acquisition: str,
    budget: int,
    seconds_per_label: float | None,
) -> dict[str, Any]:
    """Median, least and greatest of every figure at each number of labels."""
    curve = []
    for labels in sorted({r["labels"] for r in rows}):
        at = [r for r in rows if r["labels"] == labels]
        figures = {
            name: [round(f([r[name] for r in at]), 4) for f in (statistics.median, min, max)] for name in COLUMNS[3:]
        }
        curve.append({"labels": labels, "seeds": len(at), **figures})
    return {
        "source": str(bench.source),
        "acquisition": acquisition,
        "budget": budget,
        "rng_seeds": list(walls),
        "lookahead": LOOKAHEAD,
        "seconds_per_label": seconds_per_label,
        "steps_per_label": STEPS_PER_LABEL if seconds_per_label is None else None,
        "settle_steps": SETTLE_STEPS if seconds_per_label is None else None,
        "test_images": len(bench.test_labels),
        "judge_test_accuracy": round(bench.judge_accuracy, 4),
        "floor": {name: round(value, 4) for name, value in bench.floor.items()},
        "wall_seconds": {str(k): round(v, 1) for k, v in walls.items()},
        "curve": curve,
    }


def _markdown(report: dict[str, Any]) -> str:
    pace = (
        f"{report['steps_per_label']} gradient steps for each label and {report['settle_steps']} once the budget is spent"
        if report["seconds_per_label"] is None
        else f"in real time, a label every {report['seconds_per_label']:g} s, through the page's routes"
    )
    floor = report["floor"]
    lines = [
        f"# Simulated labeling of {report['source']}",
        "",
        f"Acquisition `{report['acquisition']}`, {report['budget']} labels, rng seeds "
        f"{', '.join(map(str, report['rng_seeds']))}; {pace}. Lookahead {report['lookahead']}: a question is chosen "
        f"before the last {report['lookahead']} answers are learned.",
        f"{report['test_images']:,} test images, never trained on. Median over seeds, [least, greatest].",
        "",
        "| labels | seconds | accuracy | ELBO, nats | NLL | calibration error | generated accuracy | generated Frechet |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for point in report["curve"]:
        cells = [f"{m:.4g} [{low:.4g}, {high:.4g}]" for m, low, high in (point[name] for name in COLUMNS[3:])]
        lines.append(f"| {point['labels']} | " + " | ".join(cells) + " |")
    walls = ", ".join(f"{seed}: {seconds:.0f} s" for seed, seconds in report["wall_seconds"].items())
    lines += [
        "",
        f"The judge is a small classifier trained on all true training labels; it is right on "
        f"{report['judge_test_accuracy']:.1%} of the test images. Real training images in place of generated ones: "
        f"accuracy {floor['generated_accuracy']:.4g}, Frechet {floor['generated_frechet']:.4g}.",
        f"Seconds count import, warm-up, labeling and learning, not the measuring. Whole run by seed, with measuring "
        f"and, for the first, the training of the judge if it was not cached: {walls}.",
        "",
    ]
    return "\n".join(lines)


def _plot(path: Path, bench: Bench, rows: list[dict[str, Any]]) -> None:
    """Accuracy, ELBO and judged generation against the number of labels: a line for each seed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = {
        "test_accuracy": "test accuracy",
        "test_elbo": "test ELBO, nats an image",
        "generated_accuracy": "generated images judged right",
    }
    for axes, (column, title) in zip(figure.subplots(1, 3), panels.items(), strict=True):
        for rng_seed in dict.fromkeys(r["rng_seed"] for r in rows):
            of_seed = [r for r in rows if r["rng_seed"] == rng_seed]
            x, y = [r["labels"] for r in of_seed], [r[column] for r in of_seed]
            axes.plot(x, y, marker="o", markersize=3, label=f"seed {rng_seed}")
        if column == "generated_accuracy":
            axes.axhline(bench.floor[column], color="gray", linestyle=":", label="real images")
        axes.set(title=title, xlabel="labels", xscale="symlog")
        axes.set_xscale("symlog", linthresh=10)
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)
