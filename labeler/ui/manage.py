"""The Classes tab: what becomes of classes, what each means, which images show it. Reviewers and admins change it."""

from collections.abc import Callable
from typing import Any, Literal

import gradio as gr
from fastapi import APIRouter, HTTPException, Request
from pydantic import BaseModel, Field

from labeler.classes import listed
from labeler.typical import typical
from labeler.ui.desk import Desk, shown
from labeler.ui.fields import Id, Whole, Words
from labeler.ui.label import mounted
from labeler.ui.signin import must_be
from storage import ChangedMeanwhile, Store

AT_ONCE = 48  # images of a class
TYPICAL = 24


class Change(BaseModel):
    """One change of classes. Which fields count depends on its kind."""

    project: str
    kind: Literal[
        "add", "rename", "recolour", "key", "reorder", "archive", "restore", "merge", "unmerge", "split", "unsplit",
        "guideline", "example",
    ]  # fmt: skip
    class_ids: list[Id] = Field([], max_length=2000)
    name: str = Field("", max_length=1000)
    value: Words = Field("", max_length=100)
    into: Id | None = None
    keys: bool = False
    sample_ids: list[Id] | None = Field(None, max_length=1000)
    text: str | None = Field(None, max_length=20_000)
    use: bool = True
    was: Whole | None = None


def panel() -> gr.HTML:
    """The list and the class chosen in it. It fetches only while it is in sight."""
    return mounted("manage", "lab-classes")


def class_routes(api: APIRouter, desk: Desk, same_project_and_name: Callable[[Desk, str, Request], str]) -> None:
    """`same_project_and_name`: as the other routes tell whom a request is from."""
    store = desk.project.store

    @api.get("/classes")
    def every_class() -> dict[str, Any]:
        return _told(desk)

    @api.post("/classes")
    def change(body: Change, request: Request) -> dict[str, Any]:
        must_be(request, "reviewer")
        name = same_project_and_name(desk, body.project, request)
        try:
            done = _do(desk, body, name)
        except ChangedMeanwhile as problem:
            raise HTTPException(409, str(problem)) from None
        except (KeyError, ValueError) as problem:
            raise HTTPException(422, str(problem.args[0] if problem.args else problem)) from None
        return _told(desk) | done

    @api.get("/classes/{class_id}/images")
    def images(class_id: Whole, request: Request, order: str = "typical", offset: Whole = 0) -> dict[str, Any]:
        """Images labeled as the class: the most typical ones, or all of them, the newest label first."""
        must_be(request, "reviewer")
        if order == "typical":
            found = typical(desk.project, class_id, TYPICAL)
        else:
            found = store.labeled_as(class_id, AT_ONCE, max(0, offset))
        return {"images": _pictures(store, found)}

    @api.get("/guidelines")
    def guidelines() -> dict[str, Any]:
        """What stands beside the canvas: of the classes in use."""
        mark, found = store.guidelines_mark(), store.guidelines()
        in_use = {one.id for one in store.classes()}
        told = {
            str(class_id): {"text": one.text, "examples": _pictures(store, one.shown)}
            for class_id, one in found.items()
            if class_id in in_use and (one.text or one.shown)
        }
        return {"mark": mark, "guidelines": told}


def _do(desk: Desk, change: Change, annotator: str) -> dict[str, Any]:
    """Make the change; what there is to say of it beside the classes as they are then."""
    store, ids = desk.project.store, change.class_ids
    one = ids[0] if ids else 0
    match change.kind:
        case "add":
            return {"added": [new.id for new in store.add_classes([change.name], annotator)]}
        case "rename":
            store.rename_class(one, change.name, annotator)
        case "recolour":
            store.recolour_class(one, change.value, annotator)
        case "key":
            store.key_class(one, change.value, annotator)
        case "reorder":
            store.reorder_classes(ids, change.keys, annotator)
        case "archive":
            store.archive_classes(ids, annotator)
        case "restore":
            store.restore_classes(ids, annotator)
        case "merge":
            store.merge_classes(ids, change.into or 0, annotator)
        case "unmerge":
            store.unmerge_classes(ids, annotator)
        case "split":
            new, group_id = store.split_class(one, change.name, change.sample_ids or [], annotator)
            return {"added": [new.id], "group_id": group_id}
        case "unsplit":
            store.undo_group(change.value, f"unsplit-{change.value}", annotator, "classes")
            desk.project.classes.unsplit(change.value, annotator)
        case "guideline":
            store.set_guideline(one, change.text, change.sample_ids, annotator, change.was)
        case "example":
            store.use_as_example(one, (change.sample_ids or [0])[0], change.use, annotator)
    return {}


def _told(desk: Desk) -> dict[str, Any]:
    """Every class with its guideline, those in use first. An example that is not labeled so now is `aside`."""
    store = desk.project.store
    guidelines = store.guidelines()
    classes = listed(store)
    for one in classes:
        found = guidelines.get(one["id"])
        one["event_id"] = found.event_id if found else 0
        one["examples"] = [
            picture | {"aside": found is None or picture["sample_id"] not in found.shown}
            for picture in _pictures(store, one["examples"])
        ]
    return {"classes": classes, "mark": store.guidelines_mark()}


def _pictures(store: Store, sample_ids: Any) -> list[dict[str, Any]]:
    """In the order of the ids."""
    ids = list(sample_ids)
    found = {sample.id: sample for sample in store.samples(ids=ids)} if ids else {}
    return [shown(found[sample_id]) for sample_id in ids]
