"""How far people agree who were asked the same images: percent, Cohen's, Fleiss' and Krippendorff's coefficients.

Labels alone are compared; who skipped an image, was unsure or flagged it gave none. Intervals are bootstraps over
images: all with the same labels are alike, so a resample is a draw of how many there are of each kind.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from itertools import combinations
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from storage import Store

RESAMPLES = 1_000
LEAST = 10  # images; with fewer no figure is given
CONFUSIONS = 20  # told at most
MOST_AT_ONCE = 2_000_000  # kinds of images times resamples: 16 MB


def agreement(store: "Store", at: int | None = None) -> dict[str, Any]:
    """The report of `labeler agreement`: each figure with its 95% interval and n, None where nothing can be said."""
    names = {one.id: one.name for one in store.classes(archived=True)}
    answers = store.answers(at)
    labels = [(a.sample_id, a.annotator, a.class_id) for a in answers if a.kind == "label" and a.class_id is not None]
    others = Counter(a.kind for a in answers if a.kind != "label")
    people = sorted({a.annotator for a in answers})
    return {**compared(labels, people, names), "without_label": dict(others)}


def compared(
    labels: Sequence[tuple[int, str, int]], people: Sequence[str], names: dict[int, str], rng_seed: int = 0
) -> dict[str, Any]:
    """Of labels (sample id, who, class id), at most one of each person and image."""
    rng = np.random.default_rng(rng_seed)
    classes = sorted({class_id for _, _, class_id in labels})
    column = {class_id: i for i, class_id in enumerate(classes)}
    given: dict[int, dict[str, int]] = defaultdict(dict)
    for sample_id, who, class_id in labels:
        given[sample_id][who] = column[class_id]
    several = [of_sample for of_sample in given.values() if len(of_sample) > 1]
    counts = np.zeros((len(several), len(classes)), np.int64)  # (N, C): how many people said what
    for row, of_sample in zip(counts, several, strict=True):
        np.add.at(row, list(of_sample.values()), 1)
    same = _of_the_usual_number(counts)
    pairs = _pairs(several, people, rng)
    return {
        "images": len(several),
        "people": _people(several, people, pairs, rng),
        "percent": _figure(percent, counts, rng),
        "alpha": _figure(alpha, counts, rng),
        "fleiss_kappa": _figure(fleiss, same, rng) | {"answers": int(same[0].sum()) if len(same) else None},
        "pairs": pairs,
        "classes": _classes(counts, [names[class_id] for class_id in classes]),
        "confusions": _confusions(several, [names[class_id] for class_id in classes]),
    }


# ---------- coefficients: of rows (K, C), how many people said what, and how many images there are of each ----------


def percent(rows: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Share of the pairs of labels of one image that are the same. rows (K, C), n (..., K) -> (...)."""
    m = rows.sum(1)
    return (n @ (rows * (rows - 1)).sum(1)) / (n @ (m * (m - 1)))


def alpha(rows: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Krippendorff's alpha, nominal, labels may be missing (Computing Krippendorff's Alpha-Reliability, 2011, C)."""
    m = rows.sum(1)
    coincidences = n @ ((rows * (rows - 1)).sum(1) / (m - 1))  # on the diagonal
    of_class = n @ rows.astype(float)  # (..., C); whole numbers would take the slow way
    total = of_class.sum(-1)
    by_chance = (of_class * (of_class - 1)).sum(-1)
    return ((total - 1) * coincidences - by_chance) / (total * (total - 1) - by_chance)


def fleiss(rows: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Fleiss' kappa (Psychological Bulletin 76, 1971): every image has the same number of labels."""
    images, m = n.sum(-1), rows[0].sum()
    observed = (n @ (rows * (rows - 1)).sum(1)) / (images * m * (m - 1))
    by_chance = (((n @ rows.astype(float)) / (images * m)[..., None]) ** 2).sum(-1)
    return (observed - by_chance) / (1 - by_chance)


def same(said: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Share of the images of which two people said the same: said (K, 2), n (..., K) -> (...)."""
    return np.asarray(n @ (said[:, 0] == said[:, 1]) / n.sum(-1))


def cohen(said: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Cohen's kappa of two people: said (K, 2), the class that each gave, n (..., K) -> (...)."""
    first, second = (_of_class(of_one, n, int(said.max()) + 1) for of_one in said.T)
    observed, by_chance = same(said, n), (first * second).sum(-1) / n.sum(-1) ** 2
    return np.asarray((observed - by_chance) / (1 - by_chance))


def _of_class(said: np.ndarray, n: np.ndarray, classes: int) -> np.ndarray:
    """Of how many images one person said each class: said (K,), n (..., K) -> (..., C)."""
    order = said.argsort()
    there, first = np.unique(said[order], return_index=True)
    found = np.zeros((*n.shape[:-1], classes))
    found[..., there] = np.add.reduceat(n[..., order], first, axis=-1)
    return found


# ---------- the report ----------


def _figure(of: Callable[[np.ndarray, np.ndarray], np.ndarray], images: np.ndarray, rng: np.random.Generator) -> Any:
    """A coefficient of images, a row each, with its interval."""
    if len(images) < LEAST:
        return _told(None, None, len(images))
    rows, n = np.unique(images, axis=0, return_counts=True)
    at_once = max(1, MOST_AT_ONCE // len(rows))
    with np.errstate(invalid="ignore", divide="ignore"):  # 0 / 0 where everybody always says the same class
        again = [
            of(rows, rng.multinomial(len(images), n / n.sum(), min(at_once, RESAMPLES - done)))
            for done in range(0, RESAMPLES, at_once)
        ]
        return _told(of(rows, n), np.concatenate(again), len(images))


def _told(value: Any, resampled: np.ndarray | None, n: int) -> dict[str, Any]:
    if value is None or resampled is None or not np.isfinite(value):
        return {"value": None, "interval": None, "n": n}
    low, high = np.nanpercentile(resampled, [2.5, 97.5])
    return {"value": round(float(value), 4), "interval": [round(float(low), 4), round(float(high), 4)], "n": n}


def _of_the_usual_number(counts: np.ndarray) -> np.ndarray:
    """The images with the number of labels that most of them have."""
    if not len(counts):
        return counts
    m = counts.sum(1)
    return np.asarray(counts[m == np.bincount(m).argmax()])


def _pairs(several: list[dict[str, int]], people: Sequence[str], rng: np.random.Generator) -> list[dict[str, Any]]:
    """Of each two people who labeled the same images: share of the same, Cohen's kappa."""
    both: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)  # what each of the two said
    order = {who: i for i, who in enumerate(people)}
    for of_sample in several:
        for one, two in combinations(sorted(of_sample, key=order.__getitem__), 2):
            both[one, two].append((of_sample[one], of_sample[two]))
    pairs = []
    for two_people, answers in sorted(both.items(), key=lambda pair: [order[who] for who in pair[0]]):
        said = np.array(answers)
        figures = {"percent": _figure(same, said, rng), "cohen_kappa": _figure(cohen, said, rng)}
        pairs.append({"people": [*two_people], **figures, "same": int((said[:, 0] == said[:, 1]).sum())})
    return pairs


def _people(
    several: list[dict[str, int]], people: Sequence[str], pairs: list[dict[str, Any]], rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Each person's agreement with the others, and whether the others agree more with each other.

    A person stands out where that difference is beyond chance: by more standard errors (bootstrap) than anybody of so
    many people who are alike would with 2.5%.
    """
    told = []
    beyond_chance = NormalDist().inv_cdf(1 - 0.025 / max(len(people), 1))
    for who in people:
        mine = [pair for pair in pairs if who in pair["people"]]
        rest = [pair for pair in pairs if who not in pair["people"]]
        n, same = sum(pair["percent"]["n"] for pair in mine), sum(pair["same"] for pair in mine)
        compared = sum(who in of_sample for of_sample in several)
        figure = _told(None, None, n)
        if compared >= LEAST:
            shares = [(sum(y == of_sample[who] for y in of_sample.values()) - 1, len(of_sample) - 1)
                      for of_sample in several if who in of_sample]  # fmt: skip
            kinds, times = np.unique(shares, axis=0, return_counts=True)
            again = rng.multinomial(compared, times / compared, RESAMPLES)
            figure = _told(same / n, (again @ kinds[:, 0]) / (again @ kinds[:, 1]), n)
        outlier = None
        if figure["interval"] is not None and sum(pair["percent"]["n"] for pair in rest) >= LEAST:
            value, again = _difference(several, who, rng)
            outlier = bool(value > beyond_chance * np.nanstd(again))
        told.append({"name": who, "images": compared, "agrees": figure, "outlier": outlier})
    return told


def _difference(several: list[dict[str, int]], who: str, rng: np.random.Generator) -> tuple[float, np.ndarray]:
    """How much more the others agree with each other than with this person: the difference, and resamples of it."""
    rows = []
    for of_sample in several:
        others = Counter(y for name, y in of_sample.items() if name != who)
        m, mine = others.total(), of_sample.get(who)
        with_me = (0, 0) if mine is None else (others[mine], m)
        rows.append((*with_me, sum(n * (n - 1) // 2 for n in others.values()), m * (m - 1) // 2))
    kinds, times = np.unique(rows, axis=0, return_counts=True)

    def share(n: np.ndarray) -> np.ndarray:
        same, compared, same_without, compared_without = np.moveaxis(n @ kinds, -1, 0)
        return np.asarray(same_without / compared_without - same / compared)

    with np.errstate(invalid="ignore", divide="ignore"):
        again = share(rng.multinomial(len(rows), times / len(rows), RESAMPLES))
    return float(share(times)), again


def _classes(counts: np.ndarray, names: Sequence[str]) -> list[dict[str, Any]]:
    """How sure a label of each class is: where one person said it, how often another one did too (specific agreement).

    `n`: how many labels of it were compared with another.
    """
    m = counts.sum(1, keepdims=True)
    compared = (counts * (m - 1)).sum(0)
    same = (counts * (counts - 1)).sum(0)
    return [
        {"class": name, "agreement": round(float(s / n), 4) if n >= LEAST else None, "n": int(n)}
        for name, s, n in zip(names, same, compared, strict=True)
    ]


def _confusions(several: list[dict[str, int]], names: Sequence[str]) -> list[dict[str, Any]]:
    """Which classes are taken for each other, and who said which: the most frequent first."""
    found: dict[tuple[int, int], Counter[tuple[str, str]]] = defaultdict(Counter)
    for of_sample in several:
        for (one, a), (two, b) in combinations(of_sample.items(), 2):
            if a != b:
                found[min(a, b), max(a, b)][(one, two) if a < b else (two, one)] += 1
    most = sorted(found.items(), key=lambda pair: (-pair[1].total(), pair[0]))[:CONFUSIONS]
    return [
        {
            "classes": [names[a], names[b]],
            "n": who.total(),
            "who": [{"said": [one, two], "n": n} for (one, two), n in who.most_common()],
        }
        for (a, b), who in most
    ]
