"""The people's own loop answered from known labels: the benchmark of everything behind the page.

A labeled source is imported with its labels hidden. Then `loop.ask` and `loop.answer` run as for a person, on the
same store, the same learner and the same published rankings, with the page's lookahead: a question is chosen
before the last two answers are learned.
"""

import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from labeler import curve, drawings, live
from labeler.learning import Learning
from labeler.loop import Loop
from labeler.project import Project
from labeler.ranker import rank_now
from model import evaluation, load
from model.checkpoint import Model
from model.images import fit_all
from storage.importers import open_source
from storage.processes import runs

LOOKAHEAD = 2  # the image on screen and the next one, which a new ranking does not replace
FULL_PACE = 60  # labels
GENERATED = 500  # images of each class that the judge looks at

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Pace:
    """Gradient steps in place of seconds."""

    warm_up_steps: int | None = None  # None: as many as for people
    steps_per_label: int = 15  # up to label FULL_PACE; what two cores take in two or three seconds
    settle_steps: int | None = None  # once the budget is spent; None: by the number of images, see settle_for()

    def steps_for(self, label: int) -> int:
        """Steps after the label of this number, from 1: of a thousand the last ones get a fifteenth of the steps."""
        steps = round(self.steps_per_label * FULL_PACE / max(label, FULL_PACE))
        return min(self.steps_per_label, max(steps, 1))


@dataclass(frozen=True)
class Answers:
    """What the source knows and the loop does not."""

    classes: list[str]
    truth: dict[str, str]  # name of a training image -> class name
    test_images: Sequence[np.ndarray] | np.ndarray
    test_labels: list[str]


@dataclass(frozen=True, eq=False)
class Bench:
    """What every version is measured against."""

    test_images: np.ndarray  # (M, S, S[, 3]) at the working size
    test_labels: np.ndarray  # (M,)
    judge: evaluation.Judge
    judge_accuracy: float
    judge_features: np.ndarray  # (M, 128) of the test images
    train_labels: np.ndarray  # (N,) true classes of all training images, in the order of the project's array
    train: evaluation.Seen  # up to GENERATED training images of each class
    floor: dict[str, float]  # generated_accuracy and generated_frechet of these in place of generated ones

    @property
    def test(self) -> evaluation.Seen:
        return evaluation.Seen(self.test_images, self.test_labels, self.judge_features)


@dataclass
class Clock:
    """Seconds since the start, without those spent on measuring."""

    begun: float
    measuring: float = 0.0

    def seconds(self) -> float:
        return time.time() - self.begun - self.measuring

    @contextmanager
    def stopped(self) -> Iterator[None]:
        begun = time.time()
        yield
        self.measuring += time.time() - begun


def simulate(
    source: Path,
    budget: int,
    acquisition: str,
    rng_seeds: Sequence[int],
    out: Path,
    seconds_per_label: float | None = None,
    flip: bool | None = None,
    on_progress: Progress | None = None,
    pace: Pace | None = None,
) -> dict[str, Any]:
    """Write curve.csv, curve.png, generation.csv, as_class.png, report.md and models/ into `out`; the report as a dict.

    ValueError when the source has no labels or no test part, or fewer training images than the budget;
    images of the same pixels are one.
    """
    pace = pace or Pace()
    answers = answers_of(source)
    if pace.settle_steps is None:
        pace = replace(pace, settle_steps=settle_for(len(answers.truth)))
    if budget > len(answers.truth):
        raise ValueError(f"{source} has {len(answers.truth)} training images; --budget {budget} asks for more")
    (out / "models").mkdir(parents=True, exist_ok=True)
    bench: Bench | None = None
    rows: list[dict[str, Any]] = []
    drawn: list[dict[str, Any]] = []
    walls: dict[str, float] = {}
    for i, rng_seed in enumerate(rng_seeds):
        begun = time.time()
        with (
            scratch(out, "simulate") as folder,
            hidden_project(
                source, answers, folder / "project", rng_seed=rng_seed, flip=flip, acquisition=acquisition
            ) as project,
        ):
            clock = Clock(begun)
            distinct = project.store.counts()["samples"]
            if budget > distinct:
                raise ValueError(f"{source} has {distinct} distinct training images; --budget {budget} asks for more")
            with clock.stopped():
                bench = bench or bench_of(answers, project)
            run = Run(
                project,
                answers,
                bench,
                budget,
                acquisition,
                rng_seed,
                out,
                clock,
                _share(on_progress, i, len(rng_seeds)),
            )
            for row in run.in_steps(pace) if seconds_per_label is None else run.in_real_time(seconds_per_label):
                rows.append(row)
                curve.write_rows(out / "curve.csv", rows)  # a cut run leaves what it measured
            drawn += leave_drawings(out, bench, rng_seed, rows[-1]["labels"])
            drawings.write_rows(out / "generation.csv", drawn)
        walls[str(rng_seed)] = round(time.time() - begun, 1)
    assert bench is not None
    report = {
        "source": str(source),
        "acquisition": acquisition,
        "budget": budget,
        "rng_seeds": list(rng_seeds),
        "flip": flip,
        "lookahead": LOOKAHEAD,
        "seconds_per_label": seconds_per_label,
        "steps_per_label": pace.steps_per_label if seconds_per_label is None else None,
        "full_pace": FULL_PACE if seconds_per_label is None else None,
        "settle_steps": pace.settle_steps if seconds_per_label is None else None,
        "test_images": len(bench.test_labels),
        "judge_test_accuracy": round(bench.judge_accuracy, 4),
        "floor": curve.rounded(bench.floor),
        "wall_seconds": walls,
        "curve": curve.summary(rows),
        "drawings": drawn,
    }
    curve.plot(out / "curve.png", rows, bench.floor)
    (out / "report.md").write_text(f"{curve.markdown(report)}\n{drawings.markdown(drawn)}", encoding="utf-8")
    return report


@contextmanager
def scratch(out: Path, kind: str) -> Iterator[Path]:
    """A folder in `out` that is gone at the end. What killed runs left there is removed too."""
    for left in out.glob(f"{kind}-*-*"):
        named = re.fullmatch(rf"{kind}-(\d+)-[a-z0-9_]{{8}}", left.name)  # as below, by process
        if named and left.is_dir() and not runs(int(named[1])):
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{kind}-{os.getpid()}-", dir=out) as folder:
        yield Path(folder)


def settle_for(n_images: int) -> int:
    """150 steps for a few hundred images, 500 from 35,000 on."""
    return int(min(150 + n_images / 100, 500))


def milestones(budget: int) -> list[int]:
    """0, 10, 20, 50, 100, 200, 300, 500, 1,000, 2,000, 3,000, 5,000 ... up to the budget, and the budget."""
    marks = [0, 10, 20, 50, *(m * 10**e for e in range(2, 9) for m in (1, 2, 3, 5))]
    return [m for m in marks if m < budget] + [budget]


def answers_of(source: Path) -> Answers:
    """ValueError when the source has no test part or no labels."""
    opened = open_source(source)
    complete = {"train", "test"} <= set(opened.parts)
    named = {item.name: item.label for item in opened.items("train")} if complete else {}
    truth = {name: label for name, label in named.items() if label is not None}
    if truth and (without := [name for name in named if name not in truth]):
        raise ValueError(
            f"{len(without):,} of {len(named):,} training images of {source} have no label, such as {without[0]}: they "
            "cannot be answered. Take them out, or put them into the folder of their class."
        )
    test_images, test_labels = opened.load_arrays("test") if complete else ([], None)
    if not truth or test_labels is None:
        raise ValueError(
            f"{source} is no labeled source with a test part. Expected IDX files named train-* and t10k-*, an .npz "
            "with xtr, ytr, xte, yte, or a folder with train/ and test/ that hold a folder for each class."
        )
    names = opened.classes or sorted(
        {*truth.values(), *test_labels}, key=lambda n: (len(n), n) if n.isdigit() else (99, n)
    )
    return Answers(list(names), truth, test_images, test_labels)


def hidden_project(source: Path, answers: Answers, folder: Path, **settings: Any) -> Project:
    """A project of the source's training part whose labels nobody was told."""
    project = Project.create(folder, answers.classes)
    for name, value in settings.items():
        project.store.set_setting(name, value)
    project.import_(source, part="train", measure_share=0.0)
    return project


def bench_of(answers: Answers, project: Project) -> Bench:
    """Judge and floor, on the images as the model sees them."""
    index = {name: i for i, name in enumerate(answers.classes)}
    images = project.images()
    test = fit_all(answers.test_images, images.size, images.channels)
    test_labels = np.array([index[name] for name in answers.test_labels])
    train_labels = np.array([index[answers.truth[s.name]] for s in project.store.samples("pool")])
    judge = evaluation.judge_for(np.asarray(images.array), train_labels, len(index))
    probs, features = judge.see(test)
    real = _some_of_each(train_labels, GENERATED)
    real_probs, real_features = judge.see(images.array[real])
    train = evaluation.Seen(images.array[real], train_labels[real], real_features)
    floor = {
        "generated_accuracy": evaluation.accuracy(real_probs, train.labels),
        "generated_frechet": evaluation.frechet_distance(real_features, features),
    }
    accuracy = evaluation.accuracy(probs, test_labels)
    return Bench(test, test_labels, judge, accuracy, features, train_labels, train, floor)


def _some_of_each(labels: np.ndarray, n: int) -> np.ndarray:
    """Sorted positions of up to n of each class, drawn with a fixed rng seed."""
    rng = np.random.default_rng(0)
    chosen = [rng.permutation(np.flatnonzero(labels == k))[:n] for k in np.unique(labels)]
    return np.sort(np.concatenate(chosen))


@dataclass
class Run:
    """One seed."""

    project: Project
    answers: Answers
    bench: Bench
    budget: int
    acquisition: str
    rng_seed: int
    out: Path
    clock: Clock
    on_progress: Progress

    def in_steps(self, pace: Pace) -> Iterator[dict[str, Any]]:
        """A fixed number of gradient steps for each label. Yields the rows of the curve."""
        if pace.warm_up_steps is not None:
            self.project.store.set_setting("learner", {"warm_up_steps": pace.warm_up_steps})
        learning = Learning(self.project, rng_seed=self.rng_seed)
        learner, marks = learning.learner, milestones(self.budget)
        steps = sum(pace.steps_for(label) for label in range(1, self.budget + 1))
        total = learner.warm_up_steps + steps + (pace.settle_steps or 0)
        while learner.warming_up:
            learning.improve(10)
            self.on_progress(learner.step, total)
        learning.publish(self.acquisition)
        yield self._row(0)

        loop = self.project.loop(annotator="simulated", lookahead=LOOKAHEAD)
        held = loop.ask_many(LOOKAHEAD)
        unpublished = 0
        for given in range(1, self.budget + 1):
            if not held:
                raise RuntimeError(f"the loop had nothing to ask after {given - 1} of {self.budget} labels")
            answer(self.project, loop, held.pop(0).sample_id, self.answers.truth)
            have = [q.sample_id for q in held]
            held += loop.ask_many(LOOKAHEAD - len(held), have=have, replace=True)
            learning.sync()
            rank_now(learning, learning.rng, self.acquisition)
            learning.improve(pace.steps_for(given))
            self.on_progress(learner.step, total)
            if given == self.budget:
                learning.improve(pace.settle_steps or 0)
            unpublished += 1
            if unpublished >= max(2, given // 10) or given in marks:
                learning.publish(self.acquisition)
                unpublished = 0
            if given in marks:
                yield self._row(given)

    def in_real_time(self, seconds_per_label: float) -> Iterator[dict[str, Any]]:
        """The real server and trainer; afterwards, for each milestone, the first version with that many labels."""
        begun = self.clock.begun + self.clock.measuring
        given = live.sitting(
            self.project,
            self.answers.truth,
            self.budget,
            self.acquisition,
            seconds_per_label,
            self.on_progress,
        )
        if given != self.budget:
            raise RuntimeError(f"the page had nothing to ask after {given} of {self.budget} labels")
        versions = [v for v in self.project.store.versions() if (self.project.folder / v.folder).is_dir()]
        measured: set[int] = set()
        for mark in milestones(self.budget):
            version = next(v for v in versions if v.labels >= mark)
            if version.version not in measured:
                measured.add(version.version)
                file = self.project.folder / version.folder / "model.safetensors"
                yield self._measured(file, version.labels, version.time - begun)

    def _row(self, labels: int) -> dict[str, Any]:
        """The newest published version, which must have learned from exactly these labels."""
        seconds = self.clock.seconds()
        version = self.project.published()
        if version is None or version.labels != labels:
            learned = None if version is None else version.labels
            raise RuntimeError(f"{labels} labels were given, but the newest version learned from {learned}")
        return self._measured(version.folder / "model.safetensors", labels, seconds)

    def _measured(self, weights: Path, labels: int, seconds: float) -> dict[str, Any]:
        with self.clock.stopped():
            file = model_file(self.out, self.rng_seed, labels)
            shutil.copyfile(weights, file)
            about = {"rng_seed": self.rng_seed, "acquisition": self.acquisition, "labels": labels}
            return about | {"seconds": round(seconds, 1)} | measure(load(file), self.bench)


def answer(project: Project, loop: Loop, sample_id: int, truth: dict[str, str]) -> None:
    """Answer as the source does, and look into the record: a figure must not come from a label that is not there."""
    store = project.store
    name = truth[store.sample(sample_id).name]
    loop.answer(sample_id, name)
    state = store.state(sample_id)
    found = next((c.name for c in store.classes() if state is not None and c.id == state.class_id), None)
    if found != name:
        raise RuntimeError(f"sample {sample_id} was answered {name!r}, but the record says {found!r}")


def model_file(out: Path, rng_seed: int, labels: int) -> Path:
    return out / "models" / f"seed{rng_seed}-labels{labels:05d}.safetensors"


def leave_drawings(out: Path, bench: Bench, rng_seed: int, labels: int) -> list[dict[str, Any]]:
    """Rows of generation.csv of one model; as_class.png is of the last seed."""
    model = load(model_file(out, rng_seed, labels))
    drawings.as_class_sheet(out / "as_class.png", model, bench.test)
    return drawings.measure({"rng_seed": rng_seed, "labels": labels}, model, bench.judge, bench.test, bench.train)


def measure(model: Model, bench: Bench) -> dict[str, float | None]:
    """The figures of one model file, see DESIGN for each column; None where there is none."""
    probs = model.predict_proba(bench.test_images)
    figures = {
        "test_accuracy": evaluation.accuracy(probs, bench.test_labels),
        "test_elbo": float(model.elbo(bench.test_images).mean()),
        "test_nll": evaluation.negative_log_likelihood(probs, bench.test_labels),
        "calibration_error": evaluation.calibration_error(probs, bench.test_labels),
        **evaluation.generated_figures(model, bench.judge, bench.judge_features, GENERATED),
    }
    return curve.rounded(figures)


def _share(on_progress: Progress | None, i: int, n: int) -> Progress:
    """Progress of run i of n as progress of the whole."""

    def report(done: int, total: int) -> None:
        if on_progress is not None:
            on_progress(i * total + done, n * total)

    return report
