"""The claims of Berkhahn et al. 2019 on a data set: from no label to every label, three ways, at equal steps.

supervised  the trunk and the classification layer, trained on the labels alone
paper       the paper's objective (the preset of that name) and the network it trains, as it is
recipe      ours, as people get it

All three begin from the same weights and learn from the same labels, drawn at random, for the same number of steps with
as many labeled images in each. The last two see the same unlabeled images, first for a warm-up without a label,
whatever the number of labels: each run is the one before with more labels, and the one after with its labels frozen.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from labeler import claims, drawings
from labeler.curve import rounded
from labeler.simulate import Bench, answers_of, bench_of, hidden_project, scratch
from model import baselines, evaluation
from model.checkpoint import Model, load
from model.learner import Learner, LearnerConfig
from model.objective import PRESETS
from model.schedule import warm_up_steps

LABELS: tuple[int | None, ...] = (0, 10, 100, 1000, None)  # None: all
STEPS = 4  # times the warm-up, which they include
IMPORTANCE_SAMPLES, WEIGHTED_ON = 50, 1000  # of z, and test images, of the importance-weighted bound
SHEET_OF = 100  # labels: the run nearest to it draws as_class.png

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Task:
    """What all runs share."""

    images: np.ndarray  # (N, S, S[, 3]), all of them for training
    classes: list[str]
    bench: Bench
    configs: dict[str, LearnerConfig]  # by method
    steps: int
    models: Path
    digest: str  # of the training images and their labels


def regimes(
    source: Path,
    out: Path,
    labels: Sequence[int | None] = LABELS,
    rng_seeds: Sequence[int] = (0,),
    steps: int | None = None,
    flip: bool | None = None,
    on_progress: Progress | None = None,
) -> dict[str, Any]:
    """Write regimes.csv, regimes.png, regimes.md, as_class.png and models/ into `out`; the report as a dict.

    Runs that regimes.csv holds already are kept. ValueError when it holds runs of other settings, and when the source
    has no labels or no test part.
    """
    before = claims.read_rows(out / "regimes.csv")
    answers = answers_of(source)
    (out / "models").mkdir(parents=True, exist_ok=True)
    with scratch(out, "regimes") as folder:
        with hidden_project(source, answers, folder / "project") as project:
            bench, images = bench_of(answers, project), np.array(project.images().array)
        task = _task(images, answers.classes, bench, out / "models", steps, flip)
        counts = sorted({len(images) if n is None else n for n in labels if n is None or n <= len(images)})
        rows = _same_settings(before, task, out / "regimes.csv")
        kept = len(rows)
        for rng_seed in rng_seeds:
            done = {(r["method"], r["labels"]) for r in rows if r["rng_seed"] == rng_seed}
            runs = [(m, n) for m in claims.METHODS for n in counts if (m, n) not in done and (n or m != "supervised")]
            for row in _runs(task, rng_seed, runs, on_progress):
                rows = claims.in_order([*rows, row])
                claims.write_rows(out / "regimes.csv", rows)  # a cut run leaves what it measured
    report = {
        "source": str(source),
        "training_images": len(images),
        "test_images": len(bench.test_labels),
        "steps": task.steps,
        "warm_up_steps": task.configs["recipe"].warm_up_steps,
        "flip": flip,
        "importance_samples": IMPORTANCE_SAMPLES,
        "weighted_on": min(WEIGHTED_ON, len(bench.test_labels)),
        "judge_test_accuracy": round(bench.judge_accuracy, 4),
        "floor": rounded(bench.floor),
        "kept": kept,
        "too_many": [n for n in labels if n is not None and n > len(images)],
        "rows": [{name: value for name, value in row.items() if name != "settings"} for row in rows],
        "claims": claims.claims(rows, len(images), len(bench.test_labels)),
    }
    claims.plot(out / "regimes.png", rows, bench.floor, len(images))
    (out / "regimes.md").write_text(claims.markdown(report), encoding="utf-8")
    _draw_sheet(out, rows, bench)
    return report


def _task(
    images: np.ndarray,
    classes: list[str],
    bench: Bench,
    models: Path,
    steps: int | None,
    flip: bool | None,
) -> Task:
    warm_up = warm_up_steps(len(images))
    steps = STEPS * warm_up if steps is None else steps
    warm_up = min(warm_up, steps // 2)
    configs = {
        method: LearnerConfig(
            objective=PRESETS["recipe" if method == "supervised" else method], flip=flip, warm_up_steps=warm_up
        )
        for method in claims.METHODS
    }
    data = hashlib.sha256(np.ascontiguousarray(images).tobytes() + bench.train_labels.tobytes())
    return Task(images, classes, bench, configs, steps, models, data.hexdigest())


def _settings(task: Task, method: str) -> str:
    """A short name of all that a row depends on besides seed and number of labels."""
    config = asdict(task.configs[method])
    if method == "supervised":
        about = [task.digest, task.steps, *(config[name] for name in baselines.USED_OF_CONFIG)]
    else:
        about = [task.digest, task.steps, config]
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()[: claims.SETTINGS_LENGTH]


def _same_settings(rows: list[dict[str, Any]], task: Task, path: Path) -> list[dict[str, Any]]:
    """The rows, once all of them are known to be of these settings."""
    others = [r for r in rows if r["settings"] != _settings(task, r["method"])]
    if others:
        methods = ", ".join(dict.fromkeys(r["method"] for r in others))
        raise ValueError(
            f"{path} holds {len(others)} of {len(rows)} runs with other settings, another version or other data "
            f"({methods}; steps {others[0]['steps']}). Delete those lines to run them again, or choose another --out."
        )
    return rows


def _runs(
    task: Task, rng_seed: int, runs: Sequence[tuple[str, int]], on_progress: Progress | None
) -> Iterator[dict[str, Any]]:
    """A row for each (method, number of labels), in this order; one warm-up for each method."""
    warm: dict[str, tuple[Learner, float]] = {}
    order = np.random.default_rng(rng_seed).permutation(len(task.images))  # few labels are among the many
    for i, (method, n) in enumerate(runs):
        step = partial(_part, on_progress, i, len(runs))
        labels = {int(p): int(task.bench.train_labels[p]) for p in order[:n]}
        if method == "supervised":
            begun = time.perf_counter()
            learner = Learner(task.images, len(task.classes), config=task.configs[method], rng_seed=rng_seed)
            steps = task.steps - learner.warm_up_steps
            model = baselines.labels_alone(learner, labels, task.classes, rng_seed, steps, step)
            seconds = time.perf_counter() - begun
        else:
            if method not in warm:
                warm[method] = _warmed_up(task, method, rng_seed, step)
            begun = time.perf_counter()
            model = _taught(task, method, rng_seed, warm[method][0], labels, step)
            seconds = time.perf_counter() - begun + warm[method][1]
        model.save(task.models / file_name(rng_seed, method, n))
        about = {"rng_seed": rng_seed, "labels": n, "method": method, "steps": model.header["steps"]}
        figures = _measure(task, model, method, n)
        yield {**about, "seconds": round(seconds, 1), **figures, "settings": _settings(task, method)}


def _warmed_up(task: Task, method: str, rng_seed: int, step: Progress) -> tuple[Learner, float]:
    """(a learner before its first label, seconds it took)."""
    begun = time.perf_counter()
    learner = Learner(task.images, len(task.classes), config=task.configs[method], rng_seed=rng_seed)
    while learner.warming_up:
        learner.take_step()
        step(learner.step, task.steps)
    return learner, time.perf_counter() - begun


def _taught(task: Task, method: str, rng_seed: int, warm: Learner, labels: dict[int, int], step: Progress) -> Model:
    """What a learner that goes on from the warm one's running mean has become after the rest of the steps."""
    learner = Learner(task.images, len(task.classes), config=task.configs[method], rng_seed=rng_seed)
    learner.resume(warm.ema, warm.step)
    learner.set_labels(labels)
    while learner.step < task.steps:
        learner.take_step()
        step(learner.step, task.steps)
    if not labels:
        return baselines.without_labels(learner, task.classes, rng_seed)
    return baselines.network_alone(learner, task.classes) if method == "paper" else learner.as_model(task.classes)


def _measure(task: Task, model: Model, method: str, n: int) -> dict[str, Any]:
    """The figures of a row; what a method cannot have is absent."""
    bench, test = task.bench, task.bench.test
    found: dict[str, float] = {}
    if n == 0:
        found["test_accuracy"] = baselines.clustering_accuracy(model, task.images, test.images, test.labels)
    else:
        probs = model.predict_proba(test.images)
        found["test_accuracy"] = evaluation.accuracy(probs, test.labels)
        found["calibration_error"] = evaluation.calibration_error(probs, test.labels)
    if method != "supervised":
        some = np.sort(np.random.default_rng(0).permutation(len(test.images))[:WEIGHTED_ON])
        found["test_elbo"] = float(model.elbo(test.images).mean())
        found["test_weighted_elbo"] = float(model.elbo(test.images[some], IMPORTANCE_SAMPLES).mean())
        drawn, _ = evaluation.generation_figures(model, bench.judge, test, bench.train)
        wanted = claims.DRAWN if n else claims.NAMELESS
        found |= {name: drawn[name] for name in wanted}
    return {name: value for name, value in rounded(found).items() if value is not None}


def file_name(rng_seed: int, method: str, labels: int) -> str:
    return f"seed{rng_seed}-{method}-labels{labels:05d}.safetensors"


def _draw_sheet(out: Path, rows: list[dict[str, Any]], bench: Bench) -> None:
    """as_class.png of our recipe, by the run whose number of labels is nearest to SHEET_OF."""
    drawn = [r for r in rows if r["method"] == "recipe" and r["labels"]]
    files = [out / "models" / file_name(r["rng_seed"], r["method"], r["labels"]) for r in drawn]
    found = [(abs(np.log(r["labels"] / SHEET_OF)), f) for r, f in zip(drawn, files, strict=True) if f.exists()]
    if found:
        drawings.as_class_sheet(out / "as_class.png", load(min(found)[1]), bench.test)


def _part(on_progress: Progress | None, i: int, n: int, done: int, total: int) -> None:
    """Progress of run i of n as progress of the whole, in thousandths."""
    if on_progress is not None:
        on_progress(1000 * i + round(1000 * done / total), 1000 * n)
