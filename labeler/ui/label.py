"""The header, the labeling canvas and the grid as Gradio sees them: constant markup, started by a module of our own.

Nothing a person typed (class names, file names) ever passes through a Gradio template, which would run it as code:
the modules fetch it as JSON and set it as text.
"""

from pathlib import Path

import gradio as gr

HERE = Path(__file__).parent


def header() -> gr.HTML:
    """Project, progress, save state and trainer: above the tabs, so that it stays in sight on each of them."""
    return mounted("header", "lab-header")


def canvas() -> gr.HTML:
    """The labeling screen."""
    return mounted("canvas", "lab-canvas")


def grid() -> gr.HTML:
    """Many images decided in one action."""
    return mounted("grid", "lab-grid")


def mounted(name: str, elem_id: str) -> gr.HTML:
    """Markup of `name`.html, brought to life by the `start` of `name`.js."""
    return gr.HTML(
        "",
        html_template=(HERE / f"{name}.html").read_text(encoding="utf-8"),
        js_on_load=f"import('/labeler/ui/{name}.js').then((module) => module.start(element))",
        apply_default_css=False,
        elem_id=elem_id,
    )
