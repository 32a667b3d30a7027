"""How long from a label's commit to a ranking that knows it, and to a version that has learned from it.

    make bench-learning            (or: python tests/bench_learning.py FOLDER_OF_IDX_FILES [labels] [seconds a label])

60,000 images of 28x28 are imported, the server and its trainer run as people start them, the page is open in Chromium,
a key is pressed every second. A version counts for a label once at least 10 steps had the label in their batch. Beside
it the median step time and the time of a plain full forward pass over the pool, so that figures of two machines can be
compared.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright

from labeler import Project
from labeler.live import until
from model import load
from storage.importers import open_source

CHROMIUM = os.environ.get("LABELER_CHROMIUM", "/usr/bin/chromium")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


def main(source: Path, labels: int = 50, pause: float = 1.0) -> None:
    with tempfile.TemporaryDirectory() as folder:
        classes = [str(k) for k in range(10)]
        with Project.create(Path(folder) / "project", classes) as project:
            print(f"imported {project.import_(source, part='train', measure_share=0).added:,} images")
            print(f"{open_source(source).kind} source, pool of {project.images().array.shape}")
            watch = Watch(project)
            watch.start()
            sitting(project, labels, pause)
            watch.ended.set()
            watch.join()
            report(project, labels, watch.seen)


class Watch(threading.Thread):
    """Notes when which event was first known to the published ranking."""

    def __init__(self, project: Project):
        super().__init__()
        self.project, self.ended = project, threading.Event()
        self.seen: list[tuple[float, int]] = []  # (time, newest event that the ranking knows)

    def run(self) -> None:
        while not self.ended.wait(0.004):
            newest = self.project.published()
            known = newest.last_event_id if newest else 0
            if not self.seen or known > self.seen[-1][1]:
                self.seen.append((time.time(), known))


def sitting(project: Project, labels: int, pause: float) -> None:
    """Label by keyboard at an even pace, then wait for the last label to be learned."""
    command = [sys.executable, "-P", "-m", "labeler", "serve", str(project.folder), "--port", "0", "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server, sync_playwright() as playwright:
        assert server.stdout is not None
        url = next(word for word in server.stdout.readline().split() if word.startswith("http"))
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(url)
        page.fill("dialog.who input", "bench")
        page.keyboard.press("Enter")
        page.wait_for_selector(".stage-image img")
        begun = time.monotonic()
        until(lambda: project.store.newest_version() is not None, 1800, "no version after the warm-up")
        print(f"warm-up, with the page open: {time.monotonic() - begun:.0f} s")
        for i in range(labels):
            page.keyboard.press(str(i % 10))
            page.wait_for_timeout(1000 * pause)
        newest = project.store.last_event_id()
        until(lambda: project.store.newest_version().metrics["learned_event_id"] >= newest, 120, "not learned")
        browser.close()
        server.terminate()


def report(project: Project, labels: int, seen: list[tuple[float, int]]) -> None:
    events = [e for e in project.store.events() if e.kind == "label"]
    versions = project.store.versions()
    waits, ranked = [], []
    for event in events:
        ranked.append(1000 * (next(at for at, known in seen if known >= event.id) - event.time))
        first = next(v for v in versions if v.metrics["learned_event_id"] >= event.id)
        waits.append(first.time - event.time)
    assert len(waits) == labels, f"{labels} keys were pressed, {len(waits)} labels are in the record"
    p50, p95 = np.percentile(waits, [50, 95])
    print(
        f"commit to a new ranking that knows the label: p50 {np.percentile(ranked, 50):.0f} ms, "
        f"p95 {np.percentile(ranked, 95):.0f} ms, longest {max(ranked):.0f} ms"
    )
    steps = np.median([v.metrics["step_ms"] for v in versions if v.labels])
    newest = project.published()
    assert newest is not None
    model, images = load(newest.folder / "model.safetensors"), project.images().array
    begun = time.perf_counter()
    model.predict_proba(np.asarray(images[:10_000]))
    forward = (time.perf_counter() - begun) * len(images) / 10_000
    print(
        f"{labels} labels, {len(versions)} versions: commit to learned and published p50 {p50:.2f} s, p95 {p95:.2f} s"
    )
    print(f"longest {max(waits):.2f} s; step {steps:.0f} ms (median of versions); full forward pass {forward:.1f} s")
    print(f"p95 is {1000 * p95 / steps:.0f} steps long")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *(kind(a) for kind, a in zip((int, float), sys.argv[2:], strict=False)))
