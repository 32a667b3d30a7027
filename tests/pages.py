"""What the tests of the page share: a small project, a published version, a server in a thread, people in browsers.

Tests in a browser need Chromium (LABELER_CHROMIUM, /usr/bin/chromium by default); without it they fail, and are never
skipped.
"""

import asyncio
import gc
import os
import socket
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partialmethod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, Keyboard, Page, expect
from starlette.types import ASGIApp, Receive, Scope, Send

from labeler import Project
from labeler.accounts import SignIns
from labeler.published import publish
from labeler.ui.app import build
from model.checkpoint import Model

# The page takes presses within 40 ms for one (keys.js). Whoever imports this presses as hands do, each key held for
# 50 ms; a test of closer ones sends the events itself.
Keyboard.press = partialmethod(Keyboard.press, delay=50)  # type: ignore[assignment]

CLASSES = [f"class {i}" for i in range(1, 11)]
LOCAL = "http://127.0.0.1:7860"


def small_project(
    folder: Path,
    n: int = 200,
    classes: list[str] | None = None,
    side: int = 8,
    measure_share: float = 0,
    database: str | None = None,
) -> Project:
    """`n` distinct gray images in the pool, none of them labeled."""
    images = np.random.default_rng(n).integers(0, 256, (n, side, side), dtype=np.uint8)
    np.savez(folder.parent / f"{folder.name}.npz", x=images)
    project = Project.create(folder, classes or CLASSES, database)
    project.import_(folder.parent / f"{folder.name}.npz", measure_share=measure_share)
    return project


def publish_version(
    project: Project,
    version: int,
    ranking: list[int] | None = None,
    labels: int | None = None,
    model: Model | None = None,
    **metrics: Any,
) -> None:
    """A version as the trainer leaves it, perhaps with weights. It takes every sample for the third class with 70%, and
    for the fifth with 20%, where there are so many."""
    store = project.store
    sample_ids = store.sample_ids()
    class_ids = [c.id for c in store.classes()]
    probs = np.full((len(sample_ids), len(class_ids)), 0.1 / max(1, len(class_ids) - 2), np.float32)
    probs[:, min(2, len(class_ids) - 1)], probs[:, min(4, len(class_ids) - 2)] = 0.7, 0.2
    probs /= probs.sum(1, keepdims=True)
    publish(
        project.folder,
        store,
        version=version,
        class_ids=class_ids,
        acquisition="margin",
        last_event_id=store.last_event_id(),
        labels=len(store.labels()) if labels is None else labels,
        steps=100 * version,
        metrics={"elbo": -100.0 + version, "validation_n": 20} | metrics,
        arrays={
            "sample_ids": sample_ids,
            "probs": probs,
            "scores": np.full(len(sample_ids), 0.5, np.float32),
            "ranking": np.array(ranking or store.sample_ids("pool").tolist(), np.int64),
            "embeddings": np.zeros((len(sample_ids), 2), np.float16),
            "generated": np.random.default_rng(version).integers(0, 256, (len(class_ids), 4, 8, 8), dtype=np.uint8),
        },
        save_model=model.save if model else lambda path: path.write_bytes(b"weights"),
    )


# Gradio leaves event loops unclosed. A file of tests that builds the page ignores that, and collects them at its end.
IGNORE_UNCLOSED = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


def collect_unclosed() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@contextmanager
def served(
    project: Project, port: int = 0, late: dict[str, float] | None = None, sign_ins: SignIns | None = None
) -> Iterator[str]:
    """The page of a project on a free port, in a thread of this process; yields its URL.

    `late` delays paths by seconds, before they are handled: late={"/labeler/commit": 0.4}.
    """
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))
        config = uvicorn.Config(
            _delayed(build(project, sign_ins=sign_ins), late or {}), log_level="error", timeout_graceful_shutdown=1
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
        thread.start()
        try:
            while not server.started and thread.is_alive():
                thread.join(0.02)
            yield f"http://127.0.0.1:{sock.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(10)
            assert not thread.is_alive(), "the server did not end"


def _delayed(app: ASGIApp, late: dict[str, float]) -> ASGIApp:
    async def delayed(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(late.get(scope.get("path", ""), 0))
        await app(scope, receive, send)

    return delayed


# ---------- in a browser ----------

# An init script: nobody has refreshed the answers that closed tabs kept, so the next tab sends them.
A_WHILE_LATER = """
for (const [key, value] of Object.entries(localStorage)) {
  if (key.startsWith('labeler.outbox.')) localStorage.setItem(key, JSON.stringify({ ...JSON.parse(value), time: 0 }));
}
"""

expect.set_options(timeout=15_000)  # a busy machine
CHROMIUM = os.environ.get("LABELER_CHROMIUM", "/usr/bin/chromium")
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
KEYS = [str(n) for n in (1, 2, 3, 4, 5, 6, 7, 8, 9, 0)]  # class ids 1..10
IMAGE = ".stage-image img"
AWAY = ("net::ERR", "Failed to load resource")


class Visitors:
    """Browsers of people. At the end no page may have had an error or have called anything but our server."""

    def __init__(self, browser: Browser, url: str) -> None:
        self.browser, self.url = browser, url
        self.contexts: list[BrowserContext] = []
        self.complaints: list[str] = []
        self.allowed: tuple[str, ...] = ()  # words of complaints that a test provokes, such as a server that is away

    def __call__(self, name: str = "ann", width: int = 1440, height: int = 900) -> Page:
        """A person with a browser of their own, the name given, looking at the first image."""
        page = self.newcomer(name, viewport={"width": width, "height": height})
        expect(page.locator(IMAGE)).to_be_visible()
        return page

    def newcomer(self, name: str = "ann", **options: Any) -> Page:
        """A person who has just given the name. The options are those of a browser context."""
        context = self.browser.new_context(**options)
        self.contexts.append(context)
        context.on("page", self.watch)
        page = context.new_page()
        page.goto(self.url)
        page.fill("dialog.who input", name)
        page.keyboard.press("Enter")
        return page

    def watch(self, page: Page) -> None:
        page.on("pageerror", lambda error: self.complain(f"page error: {error}"))
        page.on("console", lambda m: self.complain(f"console: {m.text}") if m.type in ("error", "warning") else None)
        page.on("request", lambda r: None if self.local(r.url) else self.complain(f"left the machine: {r.url}"))

    def local(self, url: str) -> bool:
        return url.startswith((self.url, "data:", "blob:"))

    def complain(self, text: str) -> None:
        if not any(word in text for word in self.allowed):
            self.complaints.append(text)

    def close(self) -> None:
        for context in self.contexts:
            context.close()
        assert self.complaints == []


def on_screen(page: Page) -> int:
    return int(page.get_attribute(IMAGE, "data-sample-id") or 0)


def press(page: Page, key: str) -> int:
    """Presses a key; the sample that was on screen."""
    sample_id = on_screen(page)
    page.keyboard.press(key)
    return sample_id


def all_saved(page: Page) -> None:
    expect(page.locator(".save")).to_have_text("All saved", timeout=10_000)
    assert page.get_attribute(".lab", "data-pending") == "0"


def answers(project: Project) -> list[tuple[str, int, int | None]]:
    return [(event.kind, event.sample_id, event.class_id) for event in project.store.events()]
