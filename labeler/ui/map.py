"""The Map tab: all images in the plane, as two blocks of bytes that the page draws from, and what is told of one.

A block is the length of its head (uint32, little endian), the head (JSON, filled up with spaces to four bytes), and the
arrays that the head names, one after the other.
"""

import json
import sys
from typing import Any

import gradio as gr
import numpy as np
from fastapi import APIRouter, HTTPException, Request, Response

from labeler.atlas import KINDS, Atlas
from labeler.ui.desk import Desk, shown
from labeler.ui.fields import Whole
from labeler.ui.label import mounted

ASK_AGAIN = {"Cache-Control": "no-cache"}


def panel() -> gr.HTML:
    """It fetches only while it is in sight."""
    return mounted("map", "lab-map")


def map_routes(api: APIRouter, desk: Desk) -> None:
    atlas = Atlas(desk.project)

    @api.get("/map/places")
    def places(request: Request) -> Response:
        """Sample ids and places; 204 while there is no map."""
        found = atlas.map()
        if found is None:
            return Response(status_code=204, headers={"Cache-Control": "no-store"})
        key, sample_ids, made = found
        if (same := _unchanged(request, desk, key)) is not None:
            return same
        head = {"version": made.version, "method": made.method}
        return _block(desk, key, head, {"ids": sample_ids.astype("<u4"), "places": made.places.astype("<f4")})

    @api.get("/map/facts")
    def facts(request: Request) -> Response:
        """What is known of each image, rows as in places; 204 before the first version."""
        found = atlas.facts()
        if found is None:
            return Response(status_code=204, headers={"Cache-Control": "no-store"})
        if (same := _unchanged(request, desk, found.key)) is not None:
            return same
        names = ("label", "guess", "who", "kind", "sure", "doubt", "blind")
        return _block(desk, found.key, {"people": found.people, "kinds": KINDS}, {n: getattr(found, n) for n in names})

    @api.get("/map/image/{sample_id}")
    def image(sample_id: Whole) -> dict[str, Any]:
        """What is told of one image."""
        try:
            sample, told = atlas.of_image(sample_id)
        except KeyError:
            raise HTTPException(404, f"There is no image {sample_id} in this project.") from None
        return shown(sample) | told


def _unchanged(request: Request, desk: Desk, key: str) -> Response | None:
    tag = f'"{desk.key}-{key}"'
    if request.headers.get("if-none-match") != tag:
        return None
    return Response(status_code=304, headers={**ASK_AGAIN, "ETag": tag})


def _block(desk: Desk, key: str, about: dict[str, Any], arrays: dict[str, np.ndarray]) -> Response:
    if sys.byteorder == "big":
        arrays = {name: array.astype(array.dtype.newbyteorder("<")) for name, array in arrays.items()}
    n = len(next(iter(arrays.values())))
    named = [[name, array.dtype.str.lstrip("<|"), array.size] for name, array in arrays.items()]
    head = json.dumps({**about, "n": n, "arrays": named}).encode()
    head += b" " * (-len(head) % 4)
    body = b"".join([len(head).to_bytes(4, "little"), head, *(array.tobytes() for array in arrays.values())])
    headers = {**ASK_AGAIN, "ETag": f'"{desk.key}-{key}"'}
    return Response(body, media_type="application/octet-stream", headers=headers)
