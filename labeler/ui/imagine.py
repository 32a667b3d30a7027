"""The Imagine tab: what each kept version draws, the way from one image to another, downloads, and the blind test."""

import asyncio
import base64
import json
import re
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Annotated, Any
from urllib.parse import quote

import gradio as gr
import numpy as np
from fastapi import APIRouter, HTTPException, Query, Request, Response
from pydantic import BaseModel, Field

from labeler import blind
from labeler.published import MODEL
from labeler.ui import pictures
from labeler.ui.desk import Desk
from labeler.ui.label import mounted
from storage import Version
from storage.synthetic import Origin

COOLEST, USUAL, WARMEST = 0.2, 1.0, 1.5  # temperatures; the usual one is the command's
WAIT = 1.0  # seconds; a browser has six connections, and the images need them
MOST = 2_000  # drawings in one zip: the command makes more
NOT_KEPT = {"Cache-Control": "no-store"}

Temperature = Annotated[float, Query(ge=COOLEST, le=WARMEST)]
RngSeed = Annotated[int, Query(ge=0, lt=2**31)]
End = Annotated[str, Query(pattern=r"^(class:\d{1,9}|sample:\d{1,15}|drawn:\d{1,9}:\d{1,3})$")]


class Begin(BaseModel):
    project: str
    version: int
    n: int = Field(blind.USUAL, ge=blind.FEWEST, le=blind.MOST)


class Said(BaseModel):
    real: bool
    ms: int | None = Field(None, ge=0)


class Answers(BaseModel):
    project: str
    answers: list[Said] = Field(max_length=blind.MOST)


def panel() -> gr.HTML:
    """It fetches only while it is in sight."""
    return mounted("imagine", "lab-imagine")


async def drawn(
    wanted: "Future[bytes | None]", media_type: str = "image/png", headers: Mapping[str, str] = NOT_KEPT
) -> Response:
    """An empty answer while it is not drawn yet (202), or where it cannot be (204)."""
    try:
        made = await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(wanted)), WAIT)
    except TimeoutError:
        return Response(status_code=202, headers=NOT_KEPT)
    return Response(made, 200, headers, media_type) if made else Response(status_code=204, headers=NOT_KEPT)


def imagine_routes(
    api: APIRouter,
    desk: Desk,
    name_of: Callable[[Request], str],
    same_project_and_name: Callable[[Desk, str, Request], str],
) -> None:
    """`name_of` and `same_project_and_name`: as the other routes tell whom a request is from."""
    store, sketches = desk.project.store, desk.sketches

    @api.get("/imagine")
    def versions() -> dict[str, Any]:
        """Kept versions, oldest first, and how well people told their drawings from real images."""
        kept = [told for version in store.versions() if (told := _told(desk, version)) is not None]
        temperatures = {"least": COOLEST, "usual": USUAL, "most": WARMEST}
        tests = {"least": blind.FEWEST, "usual": blind.USUAL, "most": blind.MOST}
        return {
            "versions": kept,
            "temperature": temperatures,
            "blind": {**tests, "scores": blind.scores(store)},
            "most": MOST,
        }

    @api.get("/imagine/sheet/{version}")
    async def sheet(version: int, temperature: Temperature = USUAL, rng_seed: RngSeed = 0) -> Response:
        """A row of drawings for each class of the version, as its published ones."""
        known = await asyncio.to_thread(_with_weights, desk, version)
        return await drawn(sketches.have("sheet", version, known["n"], temperature, rng_seed))

    @api.get("/imagine/way/{version}")
    async def way(
        version: int,
        a: End,
        b: End,
        n: Annotated[int, Query(ge=2, le=12)] = 10,
        temperature: Temperature = USUAL,
        rng_seed: RngSeed = 0,
    ) -> Response:
        """Images from one end to the other, side by side."""
        known = await asyncio.to_thread(_with_weights, desk, version)
        for end in (a, b):
            await asyncio.to_thread(_must_be_end, desk, known, end)
        return await drawn(sketches.have("way", version, a, b, n, known["n"], temperature, rng_seed))

    @api.get("/imagine/png/{version}")
    async def png(version: int, temperature: Temperature = USUAL, rng_seed: RngSeed = 0) -> Response:
        """The sheet as a file, with the names of the classes."""
        known = await asyncio.to_thread(_kept, desk, version)
        if (temperature, rng_seed) == (USUAL, 0):
            made = await asyncio.to_thread(desk.generated_sheet, version)
        else:
            await asyncio.to_thread(_with_weights, desk, version)
            answer = await drawn(sketches.have("sheet", version, known["n"], temperature, rng_seed))
            if answer.status_code != 200:
                return answer
            made = bytes(answer.body)
        if made is None:
            raise HTTPException(404, f"Version {version} has no drawings (any more).")
        origin = Origin(desk.project.name, version, known["labels"], temperature, rng_seed)
        rows = pictures.cut(made, len(known["class_ids"]), known["n"])
        named = [(rows[known["class_ids"].index(class_id)], name) for class_id, name in _in_use(desk, known)]
        file = await asyncio.to_thread(pictures.named_sheet, named, origin)
        return Response(file, headers=_as_file(f"{desk.project.name}-v{version}.png"), media_type="image/png")

    @api.get("/imagine/zip/{version}")
    async def data_set(
        version: int,
        n: Annotated[int, Query(ge=1, le=MOST)] = 16,
        temperature: Temperature = USUAL,
        rng_seed: RngSeed = 0,
    ) -> Response:
        """n drawings of each class, in the layout of the folder export; every one says that it is synthetic."""
        known = await asyncio.to_thread(_with_weights, desk, version)
        classes = _in_use(desk, known)
        if n * len(classes) > MOST:
            raise HTTPException(422, f"{n} of {len(classes)} classes are too many: at most {MOST:,} drawings in all.")
        about = (desk.project.name, version, known["labels"], temperature, rng_seed)
        wanted = sketches.have("data_set", version, classes, n, about)
        return await drawn(wanted, "application/zip", _as_file(f"{desk.project.name}-v{version}-synthetic.zip"))

    @api.post("/blind")
    def begin(body: Begin, request: Request) -> dict[str, Any]:
        name = same_project_and_name(desk, body.project, request)
        _with_weights(desk, body.version)
        version = next(one for one in store.versions() if one.version == body.version)
        try:
            return {"test": desk.blind_tests.begin(name, version, body.n)}
        except ValueError as problem:
            raise HTTPException(422, str(problem)) from None

    @api.get("/blind/{test}")
    async def images(test: str, request: Request) -> Response:
        """All images of a test at once, as data URLs: nothing tells them apart but what is on them."""
        name = name_of(request)
        try:
            answer = await drawn(desk.blind_tests.lot(name, test))
            if answer.status_code != 200:
                return answer
            shown = await asyncio.to_thread(desk.blind_tests.shown, name, test, bytes(answer.body))
        except KeyError as problem:
            raise HTTPException(404, str(problem.args[0])) from None
        urls = [f"data:image/png;base64,{base64.b64encode(one).decode()}" for one in shown]
        return Response(json.dumps({"images": urls}), headers=NOT_KEPT, media_type="application/json")

    @api.post("/blind/{test}")
    def answer(test: str, body: Answers, request: Request) -> dict[str, Any]:
        """The truth, once all is answered, and the score of each version so far."""
        name = same_project_and_name(desk, body.project, request)
        try:
            kept = desk.blind_tests.answer(name, test, [(said.real, said.ms) for said in body.answers])
        except KeyError as problem:
            raise HTTPException(404, str(problem.args[0])) from None
        except ValueError as problem:
            raise HTTPException(422, str(problem)) from None
        truth = [{"real": a.real, "said_real": a.said_real, "class_id": a.class_id} for a in kept.answers]
        return {"version": kept.version, **blind.score(kept.answers), "truth": truth, "scores": blind.scores(store)}


def _told(desk: Desk, version: Version) -> dict[str, Any] | None:
    """A version whose drawings are kept; `weights`: whether it can draw others. None for one that has none."""
    if version.pruned:
        return None
    files = desk.project.folder / version.folder
    try:
        shape = np.load(files / "generated.npy", mmap_mode="r", allow_pickle=False).shape
    except (OSError, ValueError, EOFError):
        return None
    return {
        "version": version.version,
        "labels": version.labels,
        "time": version.time,
        "class_ids": version.metrics["class_ids"][: shape[0]],
        "n": shape[1],
        "height": shape[2],
        "width": shape[3],
        "weights": (files / MODEL).is_file(),
    }


def _kept(desk: Desk, number: int) -> dict[str, Any]:
    version = next((one for one in desk.project.store.versions() if one.version == number), None)
    told = _told(desk, version) if version is not None else None
    if told is None:
        raise HTTPException(404, f"Version {number} has no drawings (any more).")
    return told


def _with_weights(desk: Desk, number: int) -> dict[str, Any]:
    told = _kept(desk, number)
    if not told["weights"]:
        raise HTTPException(404, f"The weights of version {number} are gone: only what it drew then is left.")
    return told


def _in_use(desk: Desk, version: dict[str, Any]) -> tuple[tuple[int, str], ...]:
    """(id, name) of the classes that a version draws and people still choose."""
    found = tuple((c.id, c.name) for c in desk.project.store.classes() if c.id in version["class_ids"])
    if not found:
        raise HTTPException(404, f"No class that version {version['version']} draws is in use any more.")
    return found


def _must_be_end(desk: Desk, version: dict[str, Any], end: str) -> None:
    """Measuring images are none, nor those that are asked of several people: the model shows nothing of them."""
    kind, first, *rest = end.split(":")
    store = desk.project.store
    if kind == "sample":
        if not (found := store.samples(ids=[int(first)])):
            raise HTTPException(404, f"There is no image {first} in this project.")
        if found[0].split != "pool" or store.asked_of_several([found[0].id]):
            raise HTTPException(422, f"Image {first} is kept for measuring: the model shows nothing of it.")
    elif int(first) not in version["class_ids"] or (rest and int(rest[0]) >= version["n"]):
        raise HTTPException(404, f"Version {version['version']} does not draw that.")


def _as_file(name: str) -> dict[str, str]:
    plain = re.sub(r"[^\w.-]", "_", name, flags=re.ASCII)
    return {
        **NOT_KEPT,
        "Content-Disposition": f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}",
    }
