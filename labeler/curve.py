"""The curve that a simulation leaves: curve.csv, curve.png and report.md."""

import csv
import math
import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

COLUMNS = (
    "rng_seed", "acquisition", "labels", "seconds", "test_accuracy", "test_elbo", "test_nll", "calibration_error",
    "generated_accuracy", "generated_frechet",
)  # fmt: skip

FLIPS = {
    None: "An image may be mirrored where its class was found to stay the same",
    True: "Images are mirrored",
    False: "No image is mirrored",
}


def rounded(figures: Mapping[str, float]) -> dict[str, float | None]:
    """To four digits; None for a figure that does not exist (NaN)."""
    return {name: None if math.isnan(value) else round(value, 4) for name, value in figures.items()}


def shown(value: float | None, how: str) -> str:
    return "–" if value is None else format(value, how)


def write_rows(path: Path, rows: Sequence[dict[str, Any]], columns: Sequence[str] = COLUMNS) -> None:
    """Whole or not at all: a run that is cut here leaves the rows of before."""
    draft = path.with_suffix(".part")
    with open(draft, "w", newline="", encoding="utf-8") as f:
        writer = csv.DictWriter(f, columns)
        writer.writeheader()
        writer.writerows(rows)
        f.flush()
        os.fsync(f.fileno())  # or a power cut may leave the new name with half of the rows
    draft.replace(path)


def summary(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each number of labels the median, least and greatest of every figure over the seeds that have it, or None."""
    points = []
    for labels in sorted({r["labels"] for r in rows}):
        at = [r for r in rows if r["labels"] == labels]
        of_seeds = {name: [r[name] for r in at if r[name] is not None] for name in COLUMNS[3:]}
        figures = {
            name: [round(f(values), 4) for f in (statistics.median, min, max)] if values else None
            for name, values in of_seeds.items()
        }
        points.append({"labels": labels, "seeds": len(at), **figures})
    return points


def markdown(report: dict[str, Any]) -> str:
    pace = (
        f"{report['steps_per_label']} gradient steps for each label, from the {report['full_pace']}th on ever fewer "
        f"(as 1/labels), {report['settle_steps']} once the budget is spent"
    )
    if report["seconds_per_label"] is not None:
        pace = f"in real time, a label every {report['seconds_per_label']:g} s, through the page's routes"
    flips, floor, ahead = FLIPS[report["flip"]], report["floor"], report["lookahead"]
    lines = [
        f"# Simulated labeling of {report['source']}",
        "",
        f"Acquisition `{report['acquisition']}`, {report['budget']} labels, rng seeds "
        f"{', '.join(map(str, report['rng_seeds']))}; {pace}. {flips}. "
        f"Lookahead {ahead}: a question is chosen before the last {ahead} answers are learned.",
        f"{report['test_images']:,} test images, never trained on. Median over seeds, [least, greatest].",
        "",
        "| labels | seconds | accuracy | ELBO, nats | NLL | calibration error | generated accuracy | Frechet |",
        "| ---: " * 8 + "|",
    ]
    for point in report["curve"]:
        found = [point[name] for name in COLUMNS[3:]]
        cells = ["–" if f is None else f"{f[0]:.4g} [{f[1]:.4g}, {f[2]:.4g}]" for f in found]
        lines.append(f"| {point['labels']} | " + " | ".join(cells) + " |")
    walls = ", ".join(f"{seed}: {seconds:.0f} s" for seed, seconds in report["wall_seconds"].items())
    lines += [
        "",
        f"The judge is a small classifier trained on all true training labels; it is right on "
        f"{report['judge_test_accuracy']:.1%} of the test images. Real training images in place of generated ones: "
        f"accuracy {floor['generated_accuracy']:.4g}, Frechet {shown(floor['generated_frechet'], '.4g')}.",
        f"Seconds count import, warm-up, labeling and learning, not the measuring. Whole run by seed, with measuring "
        f"and, for the first, the training of the judge if it was not cached: {walls}.",
        "",
    ]
    return "\n".join(lines)


def plot(path: Path, rows: Sequence[dict[str, Any]], floor: dict[str, float]) -> None:
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
            axes.axhline(floor[column], color="gray", linestyle=":", label="real images")
        axes.set(title=title, xlabel="labels")
        axes.set_xscale("symlog", linthresh=10)
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)
