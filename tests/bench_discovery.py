"""Labels for some classes only: how well the others are found. Against Willetts et al. 2019, arXiv 1901.08560.

    make bench-discovery             (or: python tests/bench_discovery.py FOLDER_OF_IDX_FILES [case ...])

five     classes 0 to 4 have labels, for 2% of their training images; the other five have none. Five draws of the labels
nothing  no label at all, ten spare columns. Five draws of random numbers
drawn    as five, but which classes have labels is drawn as well

Every run goes on from one warm-up without labels (kept in runs/bench-discovery) and is judged on the 10,000 test
images. Rows go to docs/benchmarks/discovery.csv as they come, and what stands there is not done again.
"""

import csv
import os

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # before numpy is imported

import sys
import time
from itertools import product
from pathlib import Path

import datasets
import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from model import load
from model.checkpoint import Model
from model.discovery import Discoverer
from model.learner import Learner

RUNS, TABLE = Path("runs/bench-discovery"), Path("docs/benchmarks/discovery.csv")
COLUMNS = (
    "case", "draw", "labeled_classes", "steps", "own_name", "one_to_one", "by_majority", "labeled", "others", "seconds",
)  # fmt: skip
CASES = ("five", "nothing", "drawn")
DRAWS = range(5)
SHARE = 0.02  # of the training images of a labeled class that have their label
STEPS = 400  # after the warm-up

TEXT = """\
# Classes that nobody has named

Fashion-MNIST, 60,000 training images, judged on the 10,000 test images; `make bench-discovery`. 2% of the training
images of five classes are labeled (120 a class), none of the other five, for which there are five spare columns. One
warm-up of 1,000 steps without labels, then {steps} steps for each draw. Mean and standard deviation (n - 1) over the
draws, which all go on from that same warm-up: what another network would change is not in the deviation.

- **own name**: an image of a labeled class is right in its own column only; the spare columns are matched one to one
  with the other classes, as suits best.
- **one to one**: all columns are matched one to one with the classes, as suits best.
- **by majority**: every column counts as the class most frequent in it, which several columns may be. The code of
  Willetts et al. 2019 ([arXiv 1901.08560](https://arxiv.org/abs/1901.08560)) counts so; their figures are 77.2 +-
  1.3 with five classes labeled, 75.2 +- 1.5 with none. It takes the classes to hide, and how many columns more than
  classes there are, as arguments: which they used for these figures we could not establish.

**five**: classes 0 to 4 are labeled. **nothing**: no label, ten spare columns. **drawn**: the five labeled classes are
drawn, too.

| case | draws | own name | one to one | by majority | labeled classes | other classes |
| --- | ---: | ---: | ---: | ---: | ---: | ---: |
"""


def warmed_up(d: datasets.Labeled) -> Path:
    """The file of a network that has seen no label."""
    file = RUNS / "warm-up.safetensors"
    if not file.exists():
        learner = Learner(d.xtr, int(d.ytr.max()) + 1, rng_seed=0)
        while learner.warming_up:
            learner.take_step()
        RUNS.mkdir(parents=True, exist_ok=True)
        Model(learner.ema, learner.mixtures, {"classes": [str(k) for k in range(learner.n_classes)]}).save(file)
    return file


def labeled_classes(case: str, draw: int, n_classes: int) -> np.ndarray:
    if case == "drawn":
        return np.sort(np.random.default_rng(draw).permutation(n_classes)[: n_classes // 2])
    return np.arange(n_classes // 2 if case == "five" else 0)


def run(d: datasets.Labeled, case: str, draw: int) -> dict[str, object]:
    begun, n_classes = time.monotonic(), int(d.ytr.max()) + 1
    known = labeled_classes(case, draw, n_classes)
    learner = Discoverer(d.xtr, len(known), n_classes - len(known), rng_seed=draw)
    learner.resume(load(warmed_up(d)).vae, learner.warm_up_steps)
    rng = np.random.default_rng(draw)
    labels: dict[int, int] = {}
    for column, k in enumerate(known):
        of_class = np.flatnonzero(d.ytr == k)
        labels |= dict.fromkeys(rng.permutation(of_class)[: round(SHARE * len(of_class))].tolist(), column)
    learner.set_labels(labels)
    for _ in range(STEPS):
        learner.take_step()
    model = learner.as_model([str(k) for k in range(n_classes)])
    figures = judged(model.predict_proba(d.xte).argmax(1), d.yte, known, n_classes)
    about = {"case": case, "draw": draw, "labeled_classes": "".join(map(str, known)), "steps": STEPS}
    return about | figures | {"seconds": round(time.monotonic() - begun)}


def judged(columns: np.ndarray, labels: np.ndarray, known: np.ndarray, n_classes: int) -> dict[str, object]:
    """Accuracies by the three protocols, and the first one apart for labeled classes and others."""
    table = np.zeros((n_classes, n_classes), int)  # column x class
    np.add.at(table, (columns, labels), 1)
    others = np.setdiff1d(np.arange(n_classes), known)
    own, found = table[np.arange(len(known)), known].sum(), matched(table[len(known) :, others])
    n, n_labeled = len(labels), int(np.isin(labels, known).sum())
    return {
        "own_name": round((own + found) / n, 4),
        "one_to_one": round(matched(table) / n, 4),
        "by_majority": round(table.max(1).sum() / n, 4),
        "labeled": round(own / n_labeled, 4) if n_labeled else "",
        "others": round(found / (n - n_labeled), 4),
    }


def matched(table: np.ndarray) -> int:
    """Images on the best assignment of columns to classes."""
    return int(table[linear_sum_assignment(-table)].sum())


def rows_of(table: Path) -> list[dict[str, str]]:
    if not table.exists():
        return []
    with open(table, newline="", encoding="utf-8") as f:
        return list(csv.DictReader(f))


def append(table: Path, row: dict[str, object]) -> None:
    table.parent.mkdir(parents=True, exist_ok=True)
    new = not table.exists()
    with open(table, "a", newline="", encoding="utf-8") as f:
        writer = csv.DictWriter(f, COLUMNS, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)


def text(rows: list[dict[str, str]]) -> str:
    lines = []
    for case in dict.fromkeys(r["case"] for r in rows):
        of = [r for r in rows if r["case"] == case]
        cells = []
        for name in ("own_name", "one_to_one", "by_majority", "labeled", "others"):
            values = [100 * float(r[name]) for r in of if r[name]]
            deviation = f" +- {np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
            cells.append(f"{np.mean(values):.1f}{deviation}" if values else "")
        lines.append(f"| {case} | {len(of)} | " + " | ".join(cells) + " |")
    return TEXT.format(steps=STEPS) + "\n".join([*lines, ""])


def main(folder: str, *cases: str) -> None:
    torch.set_num_threads(1)
    d = datasets.opened(Path(folder))
    for case, draw in product(cases or CASES, DRAWS):
        if not any((r["case"], r["draw"]) == (case, str(draw)) for r in rows_of(TABLE)):
            append(TABLE, run(d, case, draw))
            print(rows_of(TABLE)[-1], flush=True)
    summary = text(rows_of(TABLE))
    TABLE.with_suffix(".md").write_text(summary, encoding="utf-8")
    print(summary)


if __name__ == "__main__":
    main(*sys.argv[1:])
