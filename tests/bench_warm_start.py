"""Does training that never starts over decay, and are corrected labels forgotten? Long, resumable.

    make bench-warm-start      (or: python tests/bench_warm_start.py FOLDER_OF_IDX_FILES|digits [rng seeds: 0,1,2])

life       labels come in portions, 10, 100, 1,000 and 10,000 in all, and one learner takes them in, each for its steps
scratch    100, 1,000 or 10,000 labels at once, for as many steps as the life had until then
corrected  a fifth of 1,000 labels is wrong for half of the steps of `scratch`, then corrected
retracted  beside 1,000 right labels a fifth as many wrong ones, of other images, for half of the steps, then undone

All of them begin with the same warm-up of their rng seed, which knows no label, and are compared in pairs. A row that
docs/benchmarks/warm-start.csv holds is not measured again, so that a cut benchmark goes on where it stopped; delete
the file to begin anew. On digits, as a trial, the rows go to runs/.
"""

import hashlib
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import datasets
import numpy as np
from sklearn.datasets import load_digits
from tables import DIFFERENCE, Row, Table, cells, column, difference, grouped, header, spread

from model import evaluation, load
from model.checkpoint import Model
from model.learner import Learner, LearnerConfig

RUNS = Path("runs/bench-warm-start")
ALLOWED = {"life": 0.005, "corrected": 0.01, "retracted": 0.01}  # of accuracy, under `scratch`

TEXT = """\
# Warm starts

Labels that come in portions (life), labels of which a fifth was wrong at first (corrected), and labels beside which
there were a fifth as many wrong ones that were undone (retracted), against all labels at once for as many steps
(scratch): test accuracy, mean over rng seeds [least, greatest]; differences are paired by rng seed.

"""


@dataclass(frozen=True, eq=False)
class Plan:
    xtr: np.ndarray  # uint8 (N, S, S)
    ytr: np.ndarray
    xte: np.ndarray
    yte: np.ndarray
    table: Table
    portions: dict[int, int]  # labels in all -> steps with them
    corrected: int  # labels of which a fifth is wrong, or beside which a fifth more are
    config: LearnerConfig

    @classmethod
    def of(
        cls, data: datasets.Labeled, path: Path, portions: dict[int, int], corrected: int, config: LearnerConfig
    ) -> "Plan":
        about = json.dumps([asdict(config), portions, corrected], sort_keys=True)
        table = Table(path, hashlib.sha256(about.encode()).hexdigest()[:8])
        return cls(data.xtr, data.ytr, data.xte, data.yte, table, portions, corrected, config)

    def steps_until(self, labels: int) -> int:
        return sum(steps for n, steps in self.portions.items() if n <= labels)


def fashion(folder: Path) -> Plan:
    portions = {10: 200, 100: 400, 1000: 1600, 10_000: 2000}  # the last two: until more steps give little
    return Plan.of(datasets.opened(folder), Path("docs/benchmarks/warm-start.csv"), portions, 1000, LearnerConfig())


def digits() -> Plan:
    of = load_digits()
    order = np.random.default_rng(0).permutation(len(of.images))
    x, y = (of.images * 255 / 16).round().astype(np.uint8)[order], of.target[order]
    config = LearnerConfig(warm_up_steps=120, batch=96, graph_size=1200)
    portions = {10: 80, 100: 120, 1000: 200}
    data = datasets.Labeled(x[:1200], y[:1200], x[1200:], y[1200:], [str(k) for k in range(10)])
    return Plan.of(data, RUNS / "digits.csv", portions, 100, config)


@dataclass(frozen=True)
class Bench:
    plan: Plan
    rng_seed: int

    def run(self, done: set[tuple[str, int]]) -> Iterator[dict[str, object]]:
        """Rows of what is not done yet."""
        counts = list(self.plan.portions)
        if any(("life", n) not in done for n in counts):
            yield from self._arm("life", [(n, self._labels(n), steps) for n, steps in self.plan.portions.items()])
        for n in counts[1:]:
            if ("scratch", n) not in done:
                yield from self._arm("scratch", [(n, self._labels(n), self.plan.steps_until(n))])
        n = self.plan.corrected
        half = self.plan.steps_until(n) // 2
        for arm, at_first in (("corrected", self._partly_wrong), ("retracted", self._wrong_beside)):
            if (arm, n) not in done:
                yield list(self._arm(arm, [(n, at_first(n), half), (n, self._labels(n), half)]))[-1]

    def _arm(self, arm: str, lessons: list[tuple[int, dict[int, int], int]]) -> Iterator[dict[str, object]]:
        """A row after each lesson of (how many labels, the labels, steps)."""
        begun, learner, taken = time.monotonic(), self._warmed_up(), 0
        for n, labels, steps in lessons:
            learner.set_labels(labels)
            for _ in range(steps):
                learner.take_step()
            taken += steps
            model = learner.as_model(self._names())
            accuracy = evaluation.accuracy(model.predict_proba(self.plan.xte), self.plan.yte)
            row = {"rng_seed": self.rng_seed, "arm": arm, "labels": n, "steps": taken}
            yield row | {"test_accuracy": round(accuracy, 4), "seconds": round(time.monotonic() - begun)}

    def _labels(self, n: int) -> dict[int, int]:
        """The first n of an order drawn at random."""
        order = np.random.default_rng(self.rng_seed).permutation(len(self.plan.xtr))
        return {int(i): int(self.plan.ytr[i]) for i in order[:n]}

    def _partly_wrong(self, n: int) -> dict[int, int]:
        right = self._labels(n)
        return right | self._wrongly(dict(list(right.items())[: n // 5]))

    def _wrong_beside(self, n: int) -> dict[int, int]:
        right, more = self._labels(n), self._labels(n + n // 5)
        return right | self._wrongly({i: label for i, label in more.items() if i not in right})

    def _wrongly(self, right: dict[int, int]) -> dict[int, int]:
        """The same images, each with another class drawn at random."""
        n_classes = len(self._names())
        by = np.random.default_rng(self.rng_seed).integers(1, n_classes, len(right))
        return {i: (label + int(d)) % n_classes for (i, label), d in zip(right.items(), by, strict=True)}

    def _warmed_up(self) -> Learner:
        """After the warm-up without labels, which is kept."""
        learner = self._learner()
        file = RUNS / f"{self.plan.table.path.stem}-seed{self.rng_seed}.safetensors"
        if not file.exists():
            while learner.warming_up:
                learner.take_step()
            RUNS.mkdir(parents=True, exist_ok=True)
            Model(learner.ema, learner.mixtures, {"classes": self._names()}).save(file)
            learner = self._learner()
        learner.resume(load(file).vae, learner.warm_up_steps)
        return learner

    def _learner(self) -> Learner:
        return Learner(self.plan.xtr, len(self._names()), config=self.plan.config, rng_seed=self.rng_seed)

    def _names(self) -> list[str]:
        return [str(k) for k in range(int(self.plan.ytr.max()) + 1)]


def text(rows: list[Row]) -> str:
    """Each arm against `scratch` of the same rng seed and labels."""
    lines = header("labels", "arm", "scratch", "arm's accuracy", *DIFFERENCE, "allowed")
    scratch = {
        n: column(of, "test_accuracy") for n, of in grouped([r for r in rows if r["arm"] == "scratch"], "labels")
    }
    for arm in ALLOWED:
        for labels, of in grouped([r for r in rows if r["arm"] == arm and r["labels"] in scratch], "labels"):
            values, without = column(of, "test_accuracy"), scratch[labels]
            told = f"{int(labels):,}", arm, spread(without), spread(values), *difference(without, values)
            lines.append(cells(*told, f"{-ALLOWED[arm]:+.3f}"))
    return TEXT + "\n".join([*lines, ""])


def main(source: str, rng_seeds: str = "0,1,2") -> None:
    plan = digits() if source == "digits" else fashion(Path(source))
    for rng_seed in map(int, rng_seeds.split(",")):
        done = {(r["arm"], int(r["labels"])) for r in plan.table.rows() if r["rng_seed"] == str(rng_seed)}
        for row in Bench(plan, rng_seed).run(done):
            if (row["arm"], row["labels"]) not in done:  # of a life that was cut, the rows before the cut come again
                plan.table.add([row])
                print(row, flush=True)
    said = text(plan.table.rows())
    plan.table.path.with_suffix(".md").write_text(said, encoding="utf-8")
    print(said)


if __name__ == "__main__":
    main(*sys.argv[1:])
