"""The Learning tab: how the model came along, and what it believes each class looks like."""

from typing import Any

import gradio as gr

from labeler.ui.label import mounted
from storage import Store

MEASURES = (
    "elbo",
    "log_px",
    "kl_z",
    "kl_y",
    "validation_n",
    "gold_accuracy",
    "gold_n",
    "measured_accuracy",
    "measured_n",
    "step_ms",
    "seconds",
)


def panel() -> gr.HTML:
    """Key numbers, curves, labels of each class, generated images. It fetches its figures only while it is in sight."""
    return mounted("learning", "lab-learning")


def figures(store: Store) -> dict[str, Any]:
    """All versions, oldest first, with the measures the curves are drawn from."""
    return {"versions": [_version(version) for version in store.versions()]}


def _version(version: Any) -> dict[str, Any]:
    return {
        "version": version.version,
        "labels": version.labels,
        "steps": version.steps,
        "acquisition": version.acquisition,
        "pruned": version.pruned,
        "class_ids": version.metrics["class_ids"],
        "metrics": {name: version.metrics[name] for name in MEASURES if name in version.metrics},
    }
