"""The Learning tab: how the model came along and does class by class, how fast people label, what an answer changed."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import gradio as gr
from fastapi import APIRouter, HTTPException, Request

from labeler import flips
from labeler.pace import pace
from labeler.scores import cell, scores
from labeler.ui.desk import HISTORY, Desk, shown
from labeler.ui.label import mounted
from labeler.ui.signin import account_of

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
    "losses",
)
CURVE = 300  # versions of a curve: beyond, some in between are left out
GOLD = 100  # gold images of a cell that are shown
SHOWN = 80  # publications whose flips are shown


def panel() -> gr.HTML:
    """Key numbers, curves, scores, pace, generated images. It fetches its figures only while it is in sight."""
    return mounted("learning", "lab-learning")


def learning_routes(api: APIRouter, desk: Desk, who: Callable[[Request], str | None]) -> None:
    """`who`: as the other routes tell whom a request is from."""
    store = desk.project.store

    @api.get("/learning")
    def figures(request: Request) -> dict[str, Any]:
        """All that the tab shows. How fast other people are only reviewers and admins are told."""
        versions, published = store.versions(), desk.project.published()
        speed, account = pace(store), account_of(request)
        if account is not None and account.role == "annotator":
            speed["people"] = [one for one in speed["people"] if one["annotator"] == account.name]
        return {
            "versions": [_version(version) for version in thinned(versions)],
            "scores": scores(store, published),
            "pace": speed,
            "changes": [asdict(change) for change in flips.known(versions, published)[-SHOWN:]],
        }

    @api.get("/confused")
    def confused(given: int, taken: int) -> dict[str, Any]:
        """The images behind a cell of the confusion matrix: labeled ones for the grid, gold ones to be looked at."""
        known = {one.id for one in store.classes()}
        if not {given, taken} <= known:
            raise HTTPException(404, "There is no such class any more. Reload the page.")
        behind = cell(store, desk.project.published(), given, taken)
        gold = [shown(sample) for sample in store.samples(ids=behind["gold"][:GOLD])]
        return {**behind, "gold": gold, "gold_n": len(behind["gold"])}

    @api.get("/changed")
    def changed(request: Request) -> dict[str, Any]:
        """What the newest answers of a person changed: sample id -> the publication that knew the answer first."""
        name = who(request)
        newest = store.answers_of(name, HISTORY) if name else []
        taught = {e.sample_id: e.id for e in reversed(newest) if e.kind == "label" and e.purpose == "learn"}
        found = flips.of_answers(store, desk.project.published(), taught)
        return {"changed": {str(sample_id): asdict(change) for sample_id, change in found.items()}}


def thinned(versions: Sequence[Any], most: int = CURVE) -> list[Any]:
    """Versions for a curve: all that have files, the newest ones, and of the others so many evenly spread."""
    if len(versions) <= most:
        return list(versions)
    step = len(versions) / most
    kept = {int(i * step) for i in range(most)} | set(range(len(versions) - most // 10, len(versions)))
    return [version for i, version in enumerate(versions) if i in kept or not version.pruned]


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
