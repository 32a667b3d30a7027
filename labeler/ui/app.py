"""Builds the page: our own routes first, then the Gradio shell around them, then the guard around everything."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response

from labeler.accounts import SignIns
from labeler.project import Project
from labeler.ui import imagine, label, learning, manage, map, review
from labeler.ui.guard import Guard, no_database
from labeler.ui.routes import routes

log = logging.getLogger(__name__)

HERE = Path(__file__).parent
HEAD = """
<link rel="stylesheet" href="/labeler/ui/page.css">
<link rel="stylesheet" href="/labeler/ui/shared.css">
<link rel="stylesheet" href="/labeler/ui/dialogs.css">
<link rel="stylesheet" href="/labeler/ui/canvas.css">
<link rel="stylesheet" href="/labeler/ui/stage.css">
<link rel="stylesheet" href="/labeler/ui/facts.css">
<link rel="stylesheet" href="/labeler/ui/classlist.css">
<link rel="stylesheet" href="/labeler/ui/guide.css">
<link rel="stylesheet" href="/labeler/ui/grid.css">
<link rel="stylesheet" href="/labeler/ui/map.css">
<link rel="stylesheet" href="/labeler/ui/imagine.css">
<link rel="stylesheet" href="/labeler/ui/blind.css">
<link rel="stylesheet" href="/labeler/ui/learning.css">
<link rel="stylesheet" href="/labeler/ui/scores.css">
<link rel="stylesheet" href="/labeler/ui/manage.css">
<link rel="stylesheet" href="/labeler/ui/one.css">
<link rel="stylesheet" href="/labeler/ui/review.css">
<link rel="stylesheet" href="/labeler/ui/low.css">
<link rel="modulepreload" href="/labeler/ui/header.js">
<link rel="modulepreload" href="/labeler/ui/canvas.js">
<meta name="viewport" content="width=device-width, initial-scale=1">
"""
FONT = ["ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif"]
MONO = ["ui-monospace", "SF Mono", "Cascadia Mono", "Menlo", "Consolas", "monospace"]


def build(
    project: Project, trainer: Callable[[], dict[str, Any]] | None = None, sign_ins: SignIns | None = None
) -> FastAPI:
    """The whole application. `trainer` tells what the server knows of its trainer process (see serve.Trainer).

    With `sign_ins` nobody sees anything but the way in without an account.
    """
    app = FastAPI(title=f"Labeler: {project.name}", docs_url=None, redoc_url=None, openapi_url=None)
    for away in (ConnectionError, TimeoutError):
        app.add_exception_handler(away, _database_is_away)
    app.add_exception_handler(RequestValidationError, _says_what_is_wrong)
    app.include_router(routes(project, trainer, sign_ins))
    theme = gr.themes.Base(font=FONT, font_mono=MONO)  # plain strings: no font is fetched from anywhere
    gr.mount_gradio_app(
        app,
        _shell(project.name),
        path="/",
        footer_links=[],
        run_history=False,
        favicon_path=str(HERE / "favicon.svg"),
        theme=theme,
        head=HEAD,
    )
    app.add_middleware(Guard, who=sign_ins.who if sign_ins else None)
    return app


async def _database_is_away(_request: Request, problem: Exception) -> Response:
    """The tab keeps what it could not send, says this and sends it again."""
    log.warning("%s", problem)
    return no_database()


async def _says_what_is_wrong(_request: Request, problem: Exception) -> Response:
    """In words, and without what came: it may be no text that could be sent back."""
    assert isinstance(problem, RequestValidationError)
    first = problem.errors()[0]
    told = f"{'.'.join(str(part) for part in first['loc'][1:])}: {first['msg']}"
    return JSONResponse({"detail": told.encode(errors="backslashreplace").decode()}, 422)


def _shell(name: str) -> gr.Blocks:
    with gr.Blocks(title=f"{name} – Labeler", fill_width=True, analytics_enabled=False) as shell:
        label.header()
        with gr.Tabs(elem_id="lab-tabs", overflow_behavior="wrap"):
            with gr.Tab("Label", id="label"):
                label.canvas()
            with gr.Tab("Grid", id="grid"):
                label.grid()
            with gr.Tab("Map", id="map"):
                map.panel()
            with gr.Tab("Imagine", id="imagine"):
                imagine.panel()
            with gr.Tab("Learning", id="learning"):
                learning.panel()
            with gr.Tab("Classes", id="classes"):
                manage.panel()
            with gr.Tab("Review", id="review", elem_id="lab-tab-review"):
                review.panel()
    return shell
