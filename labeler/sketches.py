"""What the page has drawn by a model: sketches of the image on screen, and all that the Imagine tab shows.

It is drawn in a process of its own (artist.py), at low priority, that starts with the first thing asked for and ends
when nobody asks for a while: importing torch would hold the page up for a third of a second, and add to its memory for
good. The page waits for none of it.
"""

import base64
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
from typing import Any

log = logging.getLogger(__name__)

KEPT = 300  # pictures in memory, mostly of a few kB each
KEPT_BYTES = 32 << 20
IDLE = 300.0  # seconds without a question until the process ends
RETRY = 10.0  # seconds between two starts of one that fails
Job = tuple[Any, ...]  # the name of a method of Artist, and what it takes: JSON values, or tuples of them


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
        """An image as each class, its z kept and y exchanged: a PNG with one picture for each, side by side."""
        return self.have("sketch", version, sample_id, tuple(class_ids))

    def have(self, *job: Any) -> "Future[bytes | None]":
        """What this method of Artist makes, or None where there is nothing to draw with. Asked again, it is kept."""
        with self._lock:
            made = self._made.get(job)
            if made is None or (made.done() and made.result() is None):
                made = self._made[job] = Future()
                self._jobs.put(job)
            self._made.move_to_end(job)
            self._forget()
            if self._worker is None:
                self._worker = threading.Thread(target=self._work, args=[self._jobs], name="sketches", daemon=True)
                self._worker.start()
        return made

    def _forget(self) -> None:
        """The oldest pictures, where they are large; where there are many, also those that wait to be drawn."""
        sizes = {job: len(one.result() or b"") for job, one in self._made.items() if one.done()}
        total = sum(sizes.values())
        while total > KEPT_BYTES:
            job = next(iter(sizes))
            total -= sizes.pop(job)
            del self._made[job]
        while len(self._made) > KEPT:
            self._made.popitem(last=False)[1].cancel()

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
            log.info("nothing is drawn for %s of version %s: %s", job[0], job[1], answer["problem"])
        return base64.b64decode(answer["made"]) if "made" in answer else None

    def _running(self) -> "subprocess.Popen[bytes] | None":
        if self._process is None and time.monotonic() - self._started >= RETRY:
            self._started = time.monotonic()
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "labeler.artist", str(self.folder)],
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
