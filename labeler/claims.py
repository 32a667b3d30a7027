"""What `labeler regimes` leaves: regimes.csv, regimes.png, and regimes.md with the paper's claims and their figures."""

import csv
import math
import statistics
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from labeler import curve
from labeler.curve import FLIPS, shown

METHODS = ("supervised", "paper", "recipe")
NAMELESS = ("coverage", "generated_frechet", "reconstructed_frechet")  # figures that need no class to have a name
DRAWN = ("generated_accuracy", "asked_class_seen", "style_moved", "variety", *NAMELESS)
COLUMNS = (
    "rng_seed", "labels", "method", "steps", "seconds", "test_accuracy", "calibration_error", "test_elbo",
    "test_weighted_elbo", *DRAWN, "settings",
)  # fmt: skip
SETTINGS_LENGTH = 12  # characters of "settings"
TABLE = {
    "test_accuracy": ("accuracy", ".1%"),
    "calibration_error": ("calibration error", ".3f"),
    "test_elbo": ("ELBO, nats", ".2f"),
    "test_weighted_elbo": ("weighted ELBO", ".2f"),
    "generated_accuracy": ("generated accuracy", ".1%"),
    "generated_frechet": ("Frechet", ".1f"),
    "reconstructed_frechet": ("Frechet of reconstructions", ".1f"),
    "coverage": ("coverage", ".2f"),
    "asked_class_seen": ("asked class seen", ".1%"),
    "style_moved": ("style moved", ".2f"),
    "variety": ("variety", ".2f"),
    "steps": ("steps", ",.0f"),
    "seconds": ("seconds", ",.0f"),
}
UNSUPERVISED = ("test_elbo", "test_weighted_elbo", "generated_frechet", "reconstructed_frechet", "coverage")
FALLS = ("generated_frechet", "reconstructed_frechet")  # better where they are lower

Row = dict[str, Any]


def read_rows(path: Path) -> list[Row]:
    """The rows of a file that `write_rows` wrote, but for one that a power cut tore; none where there is no file."""
    if not path.is_file() or not path.stat().st_size:
        return []
    with open(path, newline="", encoding="utf-8") as f:
        reader = csv.DictReader(f)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise ValueError(f"{path} has other columns than this version writes. Delete it, or choose another --out.")
        whole = [row for row in reader if len(row["settings"] or "") == SETTINGS_LENGTH]  # the last column
    return [{name: _value(name, text) for name, text in row.items() if text != ""} for row in whole]


def _value(name: str, text: str) -> Any:
    if name in ("method", "settings"):
        return text
    return int(text) if name in ("rng_seed", "labels", "steps") else float(text)


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    curve.write_rows(path, rows, COLUMNS)


def in_order(rows: Sequence[Row]) -> list[Row]:
    return sorted(rows, key=lambda r: (r["rng_seed"], r["labels"], METHODS.index(r["method"])))


def claims(rows: Sequence[Row], n_all: int, n_test: int) -> dict[str, Any]:
    """The paper's three claims as differences between runs of the same seed: mean, least and greatest over seeds.

    Each difference is turned so that above zero is what the paper claims. `noise` of an accuracy: two standard errors
    of the difference of two shares of n_test images.
    """
    counts = sorted({r["labels"] for r in rows if r["labels"]})
    accuracy: list[Row] = []
    for n in counts:
        for method in METHODS[1:]:
            difference = _difference(rows, "test_accuracy", (method, n), ("supervised", n))
            if difference is not None:
                noise = 2 * math.sqrt(sum(_variance(rows, m, n) for m in (method, "supervised")) / n_test)
                accuracy.append(
                    {"labels": n, "method": method, "over_supervised": difference, "noise": round(noise, 4)}
                )
    frozen: list[Row] = []
    for method in METHODS[1:]:
        for before, n in [(0, n) for n in counts] + list(pairwise(counts)):
            differences = {name: _difference(rows, name, (method, n), (method, before)) for name in UNSUPERVISED}
            if any(d is not None for d in differences.values()):
                frozen.append({"method": method, "labels": n, "frozen_at": before, **differences})
    at_all = [entry for entry in accuracy if entry["labels"] == n_all]
    return {
        "unlabeled_images_raise_accuracy": accuracy,
        "labels_raise_unsupervised_measures": frozen,
        "every_label_equals_supervised": at_all,
    }


def _variance(rows: Sequence[Row], method: str, labels: int) -> float:
    """p (1 - p) of the mean accuracy p."""
    p = statistics.mean(r["test_accuracy"] for r in rows if (r["method"], r["labels"]) == (method, labels))
    return p * (1 - p)


def _difference(
    rows: Sequence[Row], name: str, better: tuple[str, int], worse: tuple[str, int]
) -> dict[str, float] | None:
    """mean, least, greatest over the seeds that have both runs, signed so that more is better; None without any."""
    at = {(r["method"], r["labels"], r["rng_seed"]): r[name] for r in rows if name in r}
    seeds = [s for method, n, s in at if (method, n) == better and (*worse, s) in at]
    sign = -1 if name in FALLS else 1
    found = [round(sign * (at[*better, s] - at[*worse, s]), 4) for s in seeds]
    if not found:
        return None
    return {"mean": round(statistics.mean(found), 4), "least": min(found), "greatest": max(found)}


def markdown(report: Row) -> str:
    rows, n_all, floor = report["rows"], report["training_images"], report["floor"]
    seeds = sorted({r["rng_seed"] for r in rows})
    flips = FLIPS[report["flip"]]
    lines = [
        f"# From no label to every label: {Path(report['source']).name}",
        "",
        f"{n_all:,} training images, {report['test_images']:,} test images, never trained on. Labels drawn at random, "
        f"the same for all methods; rng seeds {', '.join(map(str, seeds))}"
        f"{': mean [least, greatest]' if len(seeds) > 1 else ''}. `paper` and `recipe` take {report['steps']:,} steps "
        f"at every number of labels, the first {report['warm_up_steps']:,} of them before any label; `supervised` is "
        f"the same trunk on the labels alone, for as many steps with as many labels in each. {flips}.",
        "",
        "| labels | method | " + " | ".join(title for title, _ in TABLE.values()) + " |",
        "| ---: | :--- | " + "---: | " * len(TABLE),
    ]
    for n in sorted({r["labels"] for r in rows}):
        for method in METHODS:
            of_run = [r for r in rows if (r["labels"], r["method"]) == (n, method)]
            if of_run:
                cells = [_cell([r[name] for r in of_run if name in r], f) for name, (_, f) in TABLE.items()]
                lines.append(f"| {_labels(n, n_all)} | {method} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "Without labels, accuracy is that of clusters: k-means on the topmost layer, as many clusters as classes, "
        "matched to them one to one on the test images; images are drawn from one mixture of all, and no class can be "
        "asked for. ELBO: y from the classifier, one z an image. Weighted ELBO: "
        f"{report['importance_samples']} importance samples of z (Burda et al. 2016) on {report['weighted_on']:,} test "
        "images. Coverage: share of real test images that a drawing is nearer to than their 5th nearest real one. "
        "Asked class seen: test images decoded as another class that the judge takes for that class. Style moved: the "
        "squared distance in z of image and drawing over that of two images (0 kept, 0.5 or more when z is ignored). "
        "Variety: the variance among drawings of one class over that among its real images. The judge, "
        f"trained on all true labels, is right on {report['judge_test_accuracy']:.1%} of the test images; real "
        f"training images in place of generated ones: accuracy {floor['generated_accuracy']:.1%}, Frechet "
        f"{shown(floor['generated_frechet'], '.2f')}. Seconds count training alone.",
        "",
    ]
    return "\n".join([*lines, *_claims_in_words(report["claims"], n_all)])


def _claims_in_words(found: Row, n_all: int) -> list[str]:
    accuracy, frozen = found["unlabeled_images_raise_accuracy"], found["labels_raise_unsupervised_measures"]
    lines = [
        "## What the paper claims (arXiv 1908.03015)",
        "",
        "Every difference is between runs of the same seed and labels, above zero where the claim holds.",
        "",
        "**Unlabeled images raise accuracy** over the same trunk on the labels alone.",
        *(f"`{m}`: {_verdict([e for e in accuracy if e['method'] == m], n_all)}." for m in _methods(accuracy)),
        "(Two standard errors count as noise, as if each had been tested on other images; seeds differ besides.)",
        "",
        "| labels | " + " | ".join(METHODS[1:]) + " |",
        "| ---: | " + "---: | " * len(METHODS[1:]),
    ]
    for n in sorted({e["labels"] for e in accuracy}):
        cells = [
            next((e["over_supervised"] for e in accuracy if (e["labels"], e["method"]) == (n, m)), None)
            for m in METHODS[1:]
        ]
        lines.append(f"| {_labels(n, n_all)} | " + " | ".join(_signed(c, _points) for c in cells) + " |")
    lines += [
        "",
        "**Labels raise the unsupervised measures** against the same run with its labels frozen, at equal steps. "
        "Frechet counts as raised where it fell. Against 0 labels, the ELBO is raised "
        + "; ".join(f"by `{m}` {_raised_at([e for e in frozen if e['method'] == m], n_all)}" for m in _methods(frozen))
        + ".",
        "",
        "| method | labels | frozen at | " + " | ".join(TABLE[name][0] for name in UNSUPERVISED) + " |",
        "| :--- | ---: | ---: | " + "---: | " * len(UNSUPERVISED),
    ]
    for e in frozen:
        changes = [_signed(e[name], f"{{:+{TABLE[name][1]}}}".format) for name in UNSUPERVISED]
        at = f"| {e['method']} | {_labels(e['labels'], n_all)} | {e['frozen_at']:,} | "
        lines.append(at + " | ".join(changes) + " |")
    every = found["every_label_equals_supervised"]
    if every:
        text = "; ".join(f"{e['method']} {_signed(e['over_supervised'], _points)}" for e in every)
        lines += ["", f"**With every label** the difference to the directly supervised trunk is: {text}."]
    return [*lines, ""]


def _methods(entries: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(e["method"] for e in entries))


def _verdict(entries: Sequence[Row], n_all: int) -> str:
    """Where the claim on accuracy holds, where it does not, and where nobody can tell."""
    found: dict[str, list[str]] = {"holds": [], "within the noise": [], "does not hold": []}
    for e in entries:
        mean, at = e["over_supervised"]["mean"], _labels(e["labels"], n_all)
        found["within the noise" if abs(mean) <= e["noise"] else "holds" if mean > 0 else "does not hold"].append(at)
    return "; ".join(f"{what} at {_listed(at)} labels" for what, at in found.items() if at)


def _raised_at(frozen: Sequence[Row], n_all: int) -> str:
    against_none = [e for e in frozen if e["frozen_at"] == 0 and e["test_elbo"] is not None]
    raised = [_labels(e["labels"], n_all) for e in against_none if e["test_elbo"]["mean"] > 0]
    return f"at {_listed(raised)} labels" if raised else "at no number of labels"


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _labels(n: int, n_all: int) -> str:
    return f"{n:,} (all)" if n == n_all else f"{n:,}"


def _points(value: float) -> str:
    return f"{100 * value:+.1f} points"


def _signed(difference: Row | None, text: Callable[[float], str]) -> str:
    if difference is None:
        return "–"
    mean, least, greatest = (text(difference[name]) for name in ("mean", "least", "greatest"))
    return mean if least == greatest else f"{mean} [{least}, {greatest}]"


def _cell(values: Sequence[float], how: str) -> str:
    if not values:
        return "–"
    mean, least, greatest = (format(f(values), how) for f in (statistics.mean, min, max))
    return mean if len(values) == 1 else f"{mean} [{least}, {greatest}]"


def plot(path: Path, rows: Sequence[Row], floor: dict[str, float], n_all: int) -> None:
    """Accuracy, ELBO, and judged drawings against the number of labels: means over the seeds and their range."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    panels = {
        "test_accuracy": "test accuracy (0 labels: clusters)",
        "test_elbo": "test ELBO, nats an image (dashed: weighted)",
        "generated_accuracy": "generated images judged right",
        "generated_frechet": "Frechet distance of generated images",
    }
    colours = dict(zip(METHODS, ("#777777", "#4477aa", "#ee6677"), strict=True))
    for axes, (column, title) in zip(figure.subplots(1, 4), panels.items(), strict=True):
        for method in METHODS:
            _line(axes, rows, method, column, colours[method], "-")
            if column == "test_elbo":
                _line(axes, rows, method, "test_weighted_elbo", colours[method], "--")
        if column in floor:
            axes.axhline(floor[column], color="black", linestyle=":", label="real images")
        counts = sorted({r["labels"] for r in rows})
        apart = [n for n, after in pairwise(counts) if after > 1.5 * n] + counts[-1:]
        axes.set_xscale("symlog", linthresh=10)
        axes.set_xlim(counts[0] - 1, 1.5 * counts[-1])
        axes.set_xticks(apart, [_labels(n, n_all) for n in apart], rotation=30, ha="right", fontsize="small")
        axes.minorticks_off()
        axes.set(title=title, xlabel="labels")
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)


def _line(axes: Any, rows: Sequence[Row], method: str, column: str, colour: str, style: str) -> None:
    of_method = [r for r in rows if r["method"] == method and column in r]
    counts = sorted({r["labels"] for r in of_method})
    values = [[r[column] for r in of_method if r["labels"] == n] for n in counts]
    if counts:
        label = method if style == "-" else None
        axes.plot(counts, [statistics.mean(v) for v in values], style, color=colour, marker="o", ms=3, label=label)
        axes.fill_between(counts, [min(v) for v in values], [max(v) for v in values], color=colour, alpha=0.15)
