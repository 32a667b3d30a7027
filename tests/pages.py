"""What the tests of the page share: a small project, a published version, a server in a thread."""

import asyncio
import gc
import socket
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from labeler import Project
from labeler.accounts import SignIns
from labeler.published import publish
from labeler.ui.app import build

CLASSES = [f"class {i}" for i in range(1, 11)]


def small_project(folder: Path, n: int = 200, classes: list[str] | None = None, side: int = 8) -> Project:
    """`n` distinct gray images in the pool, none of them labeled."""
    images = np.random.default_rng(n).integers(0, 256, (n, side, side), dtype=np.uint8)
    np.savez(folder.parent / f"{folder.name}.npz", x=images)
    project = Project.create(folder, classes or CLASSES)
    project.import_(folder.parent / f"{folder.name}.npz", measure_share=0)
    return project


def publish_version(project: Project, version: int, ranking: list[int] | None = None, **metrics: Any) -> None:
    """A version as the trainer leaves it. Its guess for every sample is class 3 with 70%, then class 5 with 20%."""
    store = project.store
    sample_ids = store.sample_ids()
    class_ids = [c.id for c in store.classes()]
    probs = np.full((len(sample_ids), len(class_ids)), 0.1 / (len(class_ids) - 2), np.float32)
    probs[:, 2], probs[:, 4] = 0.7, 0.2
    publish(
        project.folder,
        store,
        version=version,
        class_ids=class_ids,
        acquisition="margin",
        last_event_id=store.last_event_id(),
        labels=len(store.labels()),
        steps=100 * version,
        metrics={"elbo": -100.0 + version, "validation_n": 20} | metrics,
        arrays={
            "sample_ids": sample_ids,
            "probs": probs,
            "scores": np.full(len(sample_ids), 0.5, np.float32),
            "ranking": np.array(ranking or sample_ids.tolist(), np.int64),
            "embeddings": np.zeros((len(sample_ids), 2), np.float16),
            "generated": np.random.default_rng(version).integers(0, 256, (len(class_ids), 4, 8, 8), dtype=np.uint8),
        },
        save_model=lambda path: path.write_bytes(b"weights"),
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
