"""Sketches: the image on screen as the model draws it for each class, its z kept and y exchanged.

They are drawn in a process of their own, at low priority, that starts with the first one asked for and ends when
nobody asks for a while: importing torch would hold the page up for a third of a second, and add to its memory for
good. The page waits for none of them.
"""

import base64
import io
import json
import logging
import os
import queue
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image

from labeler.published import MODEL, home
from storage import Sample, Store
from storage.images import pack, read_image

log = logging.getLogger(__name__)

KEPT = 300  # sketches in memory, a few kB each
IDLE = 300.0  # seconds without a question until the process ends
RETRY = 10.0  # seconds between two starts of one that fails
Job = tuple[int, int, tuple[int, ...]]  # version, sample id, class ids


class Sketches:
    """What the page has drawn, newest last. Threads may share one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._made: OrderedDict[Job, Future[bytes | None]] = OrderedDict()
        self._jobs: queue.Queue[Job | None] = queue.Queue()
        self._lock = threading.Lock()
        self._worker: threading.Thread | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._started = -RETRY

    def ask(self, version: int, sample_id: int, class_ids: Sequence[int]) -> "Future[bytes | None]":
        """A PNG with one picture for each class, side by side, or None where there is nothing to draw with."""
        job = version, sample_id, tuple(class_ids)
        with self._lock:
            made = self._made.get(job)
            if made is None or (made.done() and made.result() is None):
                made = self._made[job] = Future()
                self._jobs.put(job)
            self._made.move_to_end(job)
            while len(self._made) > KEPT:
                self._made.popitem(last=False)[1].cancel()
            if self._worker is None:
                self._worker = threading.Thread(target=self._work, args=[self._jobs], name="sketches", daemon=True)
                self._worker.start()
        return made

    def close(self) -> None:
        """End the process. Whoever asks afterwards starts another."""
        with self._lock:
            worker, self._worker = self._worker, None
            jobs, self._jobs = self._jobs, queue.Queue()
        if worker is None:
            return
        while not jobs.empty():  # what is not begun is not drawn any more
            job = jobs.get()
            if job is not None and (made := self._made.get(job)) is not None and not made.done():
                made.set_result(None)
        jobs.put(None)
        if (process := self._process) is not None:
            process.kill()  # it may be importing torch, and has nothing to lose
        worker.join(5)

    def _work(self, jobs: "queue.Queue[Job | None]") -> None:
        while True:
            try:
                job = jobs.get(timeout=IDLE if self._process else None)
            except queue.Empty:
                self._end()
                continue
            if job is None:
                break
            made = self._made.get(job)
            if made is not None and not made.done() and made.set_running_or_notify_cancel():
                made.set_result(self._draw(job, jobs))
        self._end()

    def _draw(self, job: Job, jobs: "queue.Queue[Job | None]") -> bytes | None:
        with self._lock:
            process = self._running() if jobs is self._jobs else None  # else: closed meanwhile
        if process is None or process.stdin is None or process.stdout is None:
            return None
        try:
            process.stdin.write(json.dumps(job).encode() + b"\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline())
        except (OSError, ValueError):  # it died: the next one that is asked for starts another
            self._end()
            return None
        if "problem" in answer:
            log.info("nothing is drawn of image %d: %s", job[1], answer["problem"])
        return base64.b64decode(answer["png"]) if "png" in answer else None

    def _running(self) -> "subprocess.Popen[bytes] | None":
        if self._process is None and time.monotonic() - self._started >= RETRY:
            self._started = time.monotonic()
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "labeler.sketches", str(self.folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "OMP_NUM_THREADS": "1"},  # the trainer and the page need the cores more
                start_new_session=True,  # Ctrl-C is for the server, which ends this one
            )
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        try:
            process.wait(2)  # the end of its input is its end
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


# ---------- the process ----------


def main(folder: Path, requests: IO[bytes], answers: IO[bytes]) -> None:
    """One line of JSON for each that is asked, until the asking side closes: {"png": base64} or {"problem": why}."""
    if hasattr(os, "nice"):
        os.nice(10)
    store, artist = Store.open(folder / "labels.db"), Artist(folder)
    try:
        for line in requests:
            version, sample_id, class_ids = json.loads(line)
            try:
                drawn = artist.draw(version, store.sample(sample_id), class_ids)
                answer = {"png": base64.b64encode(drawn).decode()}
            except (
                OSError,
                ValueError,
                KeyError,
            ) as problem:  # pruned meanwhile, a wrapped model, an image that is gone
                answer = {"problem": str(problem)}
            answers.write(json.dumps(answer).encode() + b"\n")
            answers.flush()
    finally:
        store.close()


class Artist:
    """The newest model that was asked for."""

    def __init__(self, folder: Path) -> None:
        from model import load  # torch comes with it, which takes seconds

        self.folder, self._load = folder, load
        self._version: int | None = None
        self._model: Any = None

    def draw(self, version: int, sample: Sample, class_ids: Sequence[int]) -> bytes:
        """PNG, (S, len(class_ids) * S) pixels."""
        from labeler.working import as_pictures

        if version != self._version:
            self._model = self._load(home(self.folder, version) / MODEL)
            self._sample_ids = np.load(home(self.folder, version) / "sample_ids.npy", mmap_mode="r")
            self._version = version
        known = self._model.header["class_ids"]
        real, image = self._original(sample)
        made = self._model.as_classes(image, [known.index(class_id) for class_id in class_ids])
        out = io.BytesIO()
        Image.fromarray(np.concatenate(list(as_pictures(made[0], real)), axis=1)).save(out, "PNG")
        return out.getvalue()

    def _original(self, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
        """What the scale of a plotted vector is taken from, and the image (1, H, W[, 3]) or vector (1, D)."""
        from labeler.working import cached_image

        config = self._model.vae.config
        if sample.row is not None and not config.is_image:
            rows = pack(str(self.folder / sample.file))
            return rows, np.asarray(rows[sample.row : sample.row + 1])
        image = None
        if sample.row is None:  # a photograph takes half a second to decode
            image = cached_image(self.folder, self._sample_ids, sample.id, config.image_size, config.channels)
        image = (read_image(self.folder, sample) if image is None else image)[None]
        return image, image


if __name__ == "__main__":
    with suppress(KeyboardInterrupt, BrokenPipeError):
        main(Path(sys.argv[1]), sys.stdin.buffer, sys.stdout.buffer)
