"""What each acquisition is worth on features that stay as they are: the tables of docs/acquisition.md.

    make bench-acquisition           (or: python tests/bench_acquisition.py FOLDER_OF_IDX_FILES [part ...])

cold     the first questions: classes covered, and accuracy of propagation alone
curve    accuracy of the refitted layer on images outside the graph, at 20 to 200 labels
rare     labels until every class was seen, where the smallest class has a hundredth of the images of the largest
seconds  time of a ranking over 60,000 images with a graph of 20,000

Three networks warmed up without labels (their features are kept in runs/bench-acquisition) x two draws of images. Rows
go to docs/benchmarks/acquisition.csv as they come, and what stands there is not done again.
"""

import csv
import os

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # before numpy is imported

import sys
import time
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path

import datasets
import numpy as np
import torch
from sklearn.cluster import MiniBatchKMeans
from sklearn.datasets import load_digits

from model import ACQUISITIONS, acquisition, graph
from model.head import Head
from model.instant import Instant
from model.learner import Learner
from storage.importers import open_source

CACHE, TABLE = Path("runs/bench-acquisition"), Path("docs/benchmarks/acquisition.csv")
COLUMNS = ("part", "set", "how", "network", "draw", "labels", "value")
SETS = ("fashion", "glyphs", "digits")
DRAWS = list(product(range(3), range(2)))  # (network, draw)
NODES, TESTED = 8000, 4000  # images of the graph, and outside it
REFIT = 5  # labels between two rankings
MARKS = (20, 50, 100, 200)
MOST_RARE = 300  # labels after which the search for a class ends

Row = tuple[str, str, str, int, int, int, float]


@cache
def images_of(name: str, fashion: Path) -> tuple[np.ndarray, np.ndarray]:
    if name == "fashion":
        images, labels = open_source(fashion).load_arrays("train")
        return np.asarray(images), np.unique(np.array(labels), return_inverse=True)[1]
    if name == "glyphs":
        return datasets.glyphs(10_000, 0, n_classes=26)[:2]
    digits = load_digits()
    return (digits.images * 255 / 16).round().astype(np.uint8), digits.target


@cache
def features_of(name: str, network: int, fashion: Path) -> torch.Tensor:
    """h (N, D) after a warm-up without labels."""
    file = CACHE / f"{name}{network}.pt"
    if not file.exists():
        images, labels = images_of(name, fashion)
        learner = Learner(images, int(labels.max()) + 1, rng_seed=network)
        while learner.warming_up:
            learner.take_step()
        learner.features.refresh(learner.ema, np.arange(len(images)), learner.step)
        CACHE.mkdir(parents=True, exist_ok=True)
        torch.save(learner.features.h, file)
    return torch.load(file)


class Drawn:
    """A draw of images: those of the graph in front, those to test on behind. `labels` (N,) are the true ones."""

    def __init__(self, name: str, network: int, draw: int, fashion: Path, long_tail: bool = False):
        labels = images_of(name, fashion)[1]
        self.rng_seed, self.n_classes = [network, draw], int(labels.max()) + 1
        rng = np.random.default_rng(self.rng_seed)
        order = rng.permutation(len(labels))
        if long_tail:  # class sizes fall evenly on a logarithmic scale, from the largest to a hundredth of it
            largest = min(1500, int(np.bincount(labels).min()))
            sizes = largest * np.geomspace(1, 0.01, self.n_classes).round(4)
            classes = zip(rng.permutation(self.n_classes), sizes, strict=True)
            order = np.concatenate([order[labels[order] == k][: max(round(size), 1)] for k, size in classes])
            order = rng.permutation(order)
        self.n = len(order) if long_tail else min(NODES, len(order) * 2 // 3)
        order = order[: self.n + TESTED]
        self.h, self.labels = features_of(name, network, fashion)[torch.from_numpy(order)], labels[order]
        self.graph = graph.build(np.arange(self.n), self.h[: self.n])
        self.all_open = np.ones(self.n, bool)

    def asked(self, how: str) -> Iterator[tuple[list[int], Instant]]:
        """The images asked so far and what is known by them, REFIT questions at a time, as a project would ask."""
        rng = np.random.default_rng(self.rng_seed)
        unlearned = Head(torch.zeros(self.n_classes, self.h.shape[1]), torch.zeros(self.n_classes))
        instant = Instant(self.graph, self.h, unlearned)
        wanted = int(np.clip(2 * self.n_classes, 10, 50))
        first = acquisition.prototypes(self.graph, 0 if how == "random" else wanted, rng, self.all_open)
        memory, asked = acquisition.Memory(), list[int]()
        while len(asked) < self.n:
            rest = np.setdiff1d(np.arange(self.n), asked)
            probs = instant.probs() if asked else unlearned.probs(self.h)
            known = np.array(asked, np.int64)
            ranking = acquisition.rank(how, probs, rest, self.graph, known, first, rng, memory)[1]
            asked += ranking[:REFIT].tolist()
            instant.learn({i: int(self.labels[i]) for i in asked})
            yield asked, instant


def cold(name: str, network: int, draw: int, fashion: Path) -> Iterator[Row]:
    drawn = Drawn(name, network, draw, fashion)
    nodes, rng = drawn.graph, np.random.default_rng(drawn.rng_seed)
    features = nodes.features.numpy()
    for k in (10, 20, 50):
        clusters = MiniBatchKMeans(k, n_init=2, batch_size=4096, random_state=network).fit(features)
        found = {
            "random": rng.permutation(drawn.n)[:k],
            "k-means": clusters.transform(features).argmin(0),
            "TypiClust": [np.where(clusters.labels_ == c, nodes.typicality, -1).argmax() for c in range(k)],
            "prototypes": acquisition.prototypes(nodes, k, rng, drawn.all_open),
        }
        for how, rows in found.items():
            known = drawn.labels[rows]
            says = graph.propagate(nodes, np.array(rows), known, drawn.n_classes).argmax(1)
            yield "cold: accuracy", name, how, network, draw, k, float((says == drawn.labels[: drawn.n]).mean())
            yield "cold: classes", name, how, network, draw, k, float(len(set(known)))


def curve(name: str, network: int, draw: int, fashion: Path) -> Iterator[Row]:
    drawn = Drawn(name, network, draw, fashion)
    for how in ACQUISITIONS:
        for asked, instant in drawn.asked(how):
            if len(asked) in MARKS:
                right = (instant.probs().argmax(1) == drawn.labels)[drawn.n :]
                yield "curve", name, how, network, draw, len(asked), float(right.mean())
            if len(asked) >= MARKS[-1]:
                break


def rare(name: str, network: int, draw: int, fashion: Path) -> Iterator[Row]:
    drawn = Drawn(name, network, draw, fashion, long_tail=True)
    for how in ACQUISITIONS:
        for asked, _ in drawn.asked(how):
            if len(set(drawn.labels[asked])) == drawn.n_classes or len(asked) >= MOST_RARE:
                yield "rare", name, how, network, draw, drawn.n_classes, float(len(asked))
                break


def seconds(name: str, network: int, draw: int, fashion: Path) -> Iterator[Row]:
    if name != "fashion" or draw:
        return
    h, rng = features_of(name, network, fashion), np.random.default_rng(network)
    positions = np.sort(rng.permutation(len(h))[:20_000])
    nodes = graph.build(positions, h[torch.from_numpy(positions)])
    probs = rng.dirichlet(np.full(10, 0.3), len(h)).astype(np.float32)
    for how, labels in product(ACQUISITIONS, (20, 100, 1000)):
        memory, spent, labeled = acquisition.Memory(), list[float](), rng.permutation(positions)
        for known in (labeled[: labels + k] for k in range(11)):
            rest = np.setdiff1d(np.arange(len(h)), known)
            begun = time.thread_time()
            acquisition.rank(how, probs, rest, nodes, known, labeled[:0], rng, memory)
            spent.append(time.thread_time() - begun)
        yield "seconds: first on a graph", name, how, network, draw, labels, round(spent[0], 4)
        yield "seconds: a label more", name, how, network, draw, labels, round(float(np.median(spent[1:])), 4)


PARTS = {"cold": cold, "curve": curve, "rare": rare, "seconds": seconds}


def read() -> list[Row]:
    lines = TABLE.read_text().splitlines()[1:] if TABLE.exists() else []
    return [(p, name, how, int(n), int(d), int(k), float(v)) for p, name, how, n, d, k, v in csv.reader(lines)]


def show(rows: list[Row]) -> None:
    """Mean and standard error over networks and draws, a line for each set and acquisition."""
    for part, name in dict.fromkeys((r[0], r[1]) for r in rows):
        of = [r for r in rows if r[:2] == (part, name)]
        marks = sorted({r[5] for r in of})
        print(f"\n| {part}, {name} | " + " | ".join(map(str, marks)) + " |\n| --- |" + " --- |" * len(marks))
        for how in dict.fromkeys(r[2] for r in of):
            values = [[r[6] for r in of if r[2] == how and r[5] == k] for k in marks]
            cells = [f"{np.mean(v):.3f} +- {np.std(v) / max(len(v) - 1, 1) ** 0.5:.3f}" for v in values]
            print(f"| {how} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    torch.set_num_threads(1)
    rows = read()
    for part, (network, draw), name in product(sys.argv[2:] or PARTS, DRAWS, SETS):
        if not any((r[0].split(":")[0], r[1], *r[3:5]) == (part, name, network, draw) for r in rows):
            rows += PARTS[part](name, network, draw, Path(sys.argv[1]))
            with open(TABLE, "w", newline="") as f:
                csv.writer(f, lineterminator="\n").writerows([COLUMNS, *rows])
    show(rows)
