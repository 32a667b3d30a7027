"""The Review tab: what people disagree about, one image at a time, and how far they agree. For reviewers and admins."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Annotated, Any, Literal

import gradio as gr
from fastapi import APIRouter, HTTPException, Request
from pydantic import BaseModel, Field

from labeler.agreement import agreement
from labeler.moments import find, parse_at
from labeler.ui.desk import Desk, shown
from labeler.ui.fields import Id, Whole, Words
from labeler.ui.label import mounted
from labeler.ui.signin import must_be
from storage import Conflict, Event, NewEvent

AT_ONCE = 8  # images sent ahead
COUNTED_EVERY = 5.0  # seconds


class Decision(BaseModel):
    """What a reviewer decided of an image, or an undo of that. `annotator`: who that is, as the queue said."""

    project: str
    client: Annotated[str, Field(pattern=r"^[0-9A-Za-z-]{8,64}$")]
    uid: Annotated[str, Field(pattern=r"^[0-9A-Za-z-]{8,64}$")]
    kind: Literal["label", "skip", "unsure", "flag", "undo"]
    sample_id: Id
    class_id: Whole | None = None
    ms: Whole | None = Field(None, ge=0)
    annotator: Words | None = Field(None, max_length=200)
    undoes: Annotated[str, Field(pattern=r"^[0-9A-Za-z-]{1,64}$")] | None = None


def panel() -> gr.HTML:
    """The queue, and the agreement of people. It fetches only while it is in sight."""
    return mounted("review", "lab-review")


class Waiting:
    """How many images wait for a reviewer, counted anew every few seconds at most: the page asks all the time."""

    def __init__(self, desk: Desk) -> None:
        self._desk, self._lock = desk, threading.Lock()
        self._found, self._counted = 0, 0.0
        self._known: tuple[Any, ...] = ()

    def count(self) -> int:
        store = self._desk.project.store
        with self._lock:
            if time.monotonic() - self._counted > COUNTED_EVERY:
                now = (
                    store.last_event_id(),
                    store.roots(),
                    store.overlap(),
                )  # what people disagree about follows from them
                if now != self._known:
                    self._found = len(store.review_ids())
                    self._known, self._counted = now, time.monotonic()
            return self._found

    def is_now(self, n: int) -> None:
        with self._lock:
            self._found = n


def review_routes(
    api: APIRouter,
    desk: Desk,
    waiting: Waiting,
    who: Callable[[Request], str | None],
    same_project_and_name: Callable[[Desk, str, Request, str | None], str],
) -> None:
    """`who` and `same_project_and_name`: as the other routes tell whom a request is from."""
    store = desk.project.store

    @api.get("/review")
    def queue(request: Request, names: bool = False, left: str = "", first: Whole | None = None) -> dict[str, Any]:
        """The next images. `left`: ids that this reviewer left open; `first`: one to begin with, whatever its state."""
        must_be(request, "reviewer")
        ids = store.review_ids()
        waiting.is_now(len(ids))
        later = {int(part) for part in left.split(",") if part.isdecimal()}
        ids = [sample_id for sample_id in ids if sample_id not in later]
        known = first is not None and bool(store.samples(ids=[first]))
        chosen = [*([first] if known and first else []), *(i for i in ids if i != first)][:AT_ONCE]
        said = store.said_of(chosen)
        counted_as = store.roots()
        name = who(request)
        last = store.last_review(name) if name else None
        return {
            "count": len(ids),
            "images": [_image(desk, sample_id, said[sample_id], counted_as, names) for sample_id in chosen],
            "annotator": name,
            "last": last and {"uid": last.uid, "sample_id": last.sample_id},
        }

    @api.post("/review")
    def decide(body: Decision, request: Request) -> dict[str, Any]:
        must_be(request, "reviewer")
        name = same_project_and_name(desk, body.project, request, body.annotator)
        values = body.model_dump(exclude={"project", "annotator"})
        try:
            store.record([NewEvent(annotator=name, review=True, acquisition="review", **values)])
        except Conflict as problem:
            raise HTTPException(409, str(problem)) from None
        except (KeyError, ValueError) as problem:
            raise HTTPException(422, str(problem.args[0] if problem.args else problem)) from None
        return {"stored": [body.uid]}

    @api.get("/agreement")
    def figures(request: Request, at: str = "") -> dict[str, Any]:
        """As of now, or as of a moment of the past as the commands name it."""
        must_be(request, "reviewer")
        try:
            return agreement(store, find(store, parse_at(at)).event_id if at.strip() else None)
        except ValueError as problem:
            raise HTTPException(422, f"{str(problem).rstrip('.')}.") from None


def _image(desk: Desk, sample_id: int, said: list[Event], counted_as: dict[int, int], names: bool) -> dict[str, Any]:
    """An image with what people said of it. Without names they are letters, another for each person of this image."""
    answers = [
        {
            "who": event.annotator if names else f"Person {chr(65 + i % 26)}",
            "kind": event.kind,
            "class_id": None if event.class_id is None else counted_as[event.class_id],
        }
        for i, event in enumerate(sorted(said, key=lambda event: event.uid))
    ]
    votes = Counter((answer["kind"], answer["class_id"]) for answer in answers).most_common(2)
    alone = bool(votes) and (len(votes) == 1 or votes[0][1] > votes[1][1])
    majority = {"kind": votes[0][0][0], "class_id": votes[0][0][1], "n": votes[0][1]} if alone else None
    return shown(desk.project.store.sample(sample_id)) | {"answers": answers, "majority": majority}
