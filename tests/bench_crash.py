"""Kills (SIGKILL) of server, trainer and import at random moments while labels arrive: is anything lost or doubled?

    make bench-crash            (or: python tests/bench_crash.py [kills: 100] [minutes])

`labeler serve` with its trainer on a project of 8x8 digits, three clients that send answers as the page does: a uid for
each, kept and sent again until it is acknowledged. Every kill comes at a random moment, also in the start, half of them
soon after a version came out. After each kill the record is looked at: `Store.check` with PRAGMA integrity_check, every
acknowledged answer there exactly once, the newest version whole, no trainer left of a killed server. The next start
must come, the import must be completed by the same command, and at the end `labeler check` finds nothing wrong.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from labeler import Project
from labeler.check import check
from labeler.live import _label as operation_of
from labeler.published import newest as newest_whole
from model import load
from storage.processes import runs

TARGETS = ("server", "trainer", "import")
CLIENTS = 3
os.environ.setdefault("LABELER_GIVE_WAY", "0")  # the clients take all there is, and a trainer is to live meanwhile
READY = 90  # seconds a start may take on a busy machine
ORPHAN = 5  # seconds a trainer may outlive its server
QUICK = {
    "warm_up_steps": 6, "settle_least": 20, "settle_most": 40, "batch": 32, "labeled_batch": 16,
    "partial_batch": 8, "graph_size": 100,
}  # fmt: skip
REPORT = Path(__file__).parent.parent / "docs" / "benchmarks" / "crash.md"


class Client(threading.Thread):
    """A browser tab that answers without end: its outbox outlives the server, and nothing in it is sent anew."""

    def __init__(self, name: str) -> None:
        super().__init__(daemon=True)
        self.who, self.tab = name, uuid.uuid4().hex
        self.url: str | None = None  # None: the server is away
        self.given: list[str] = []
        self.acknowledged: set[str] = set()
        self.outbox: list[dict[str, Any]] = []
        self.closing = False  # nothing more is given, what was is still sent
        self.answered: list[dict[str, Any]] = []
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.wait(0.02):
            if (url := self.url) is not None:
                try:
                    with httpx.Client(base_url=url, timeout=10) as http:
                        self._sit(http, url)
                except (httpx.HTTPError, json.JSONDecodeError, KeyError):
                    time.sleep(0.1)

    def _sit(self, http: httpx.Client, url: str) -> None:
        http.post("/labeler/name", json={"name": self.who}).raise_for_status()
        tab = {"project": http.get("/labeler/state").json()["key"], "client": self.tab}
        queue: list[dict[str, Any]] = []
        while self.url == url and not self.ended.wait(0.08):
            if self.outbox:
                reply = http.post("/labeler/commit", json=tab | {"operations": self.outbox[:50]}).raise_for_status()
                settled = set(reply.json()["stored"])
                self.acknowledged |= settled
                self.outbox = [one for one in self.outbox if one["uid"] not in settled]
            if not queue:
                body = tab | {"n": 4, "have": [], "replace": False}
                queue = http.post("/labeler/next", json=body).raise_for_status().json()["questions"]
            if not self.closing and (queue or self.answered):
                question = queue.pop(0) if queue else self.answered.pop(0)  # nothing is open: corrected
                self.answered.append(question)
                self.outbox.append(operation_of(question, 1 + question["sample_id"] % 10, 100))
                self.given.append(self.outbox[-1]["uid"])


class Harness:
    """One project, killed again and again."""

    def __init__(self, folder: Path, rng_seed: int = 0, files: int = 1797) -> None:
        self.folder, self.rng = folder / "project", random.Random(rng_seed)
        self.source = folder / "more"
        self.kills: Counter[str] = Counter()
        self.faults: list[str] = []
        self.versions = 0
        self.version_wait = 20.0  # seconds at most until a version comes out
        self.images = _make(self.folder, self.source, files)
        self.project = Project.open(self.folder)
        self.clients = [Client(f"client {i}") for i in range(CLIENTS)]
        self.server: subprocess.Popen[str] | None = None
        self.importer: subprocess.Popen[bytes] | None = None

    def run(self, kills: int, seconds: float = 1e6, said: Callable[[dict[str, Any]], None] = print) -> dict[str, Any]:
        """So many kills, or as many as there is time for."""
        end = time.monotonic() + seconds
        for client in self.clients:
            client.start()
        try:
            for n in range(kills):
                if time.monotonic() < end:
                    self._kill(TARGETS[n % len(TARGETS)])
                    said(self.tally)
            self._finish()
        finally:
            for client in self.clients:
                client.ended.set()
            for process in (self.server, self.importer):
                if process is not None and process.poll() is None:
                    process.kill()
                    process.communicate()
            self.project.close()
        return self.tally

    # ---------- kills ----------

    def _kill(self, target: str) -> None:
        if self.server is None or self.server.poll() is not None:
            self._start()
        {"server": self._kill_server, "trainer": self._kill_trainer, "import": self._kill_import}[target]()
        self.kills[target] += 1
        self._look(f"kill {sum(self.kills.values())} ({target})")

    def _start(self, wait: bool = True) -> None:
        command = [sys.executable, "-P", "-m", "labeler", "serve", str(self.folder), "--port", "0", "--no-browser"]
        self.server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.server.stdout is not None
        if not wait:
            return
        line = self.server.stdout.readline()
        url = next((word for word in line.split() if word.startswith("http://")), None)
        if url is None:
            self.faults.append("a start was refused")
        for client in self.clients:
            client.url = url

    def _kill_server(self) -> None:
        """At work; and every third time once more in the start that follows."""
        self._perhaps_see_a_version()
        self._die_after(self.rng.uniform(0.2, 2.5))
        if self.kills["server"] % 3 == 2:
            self._start(wait=False)
            self._die_after(self.rng.uniform(0.2, 4))
            self.kills["server in its start"] += 1

    def _die_after(self, seconds: float) -> None:
        assert self.server is not None
        time.sleep(seconds)
        trainer = self._trainer()
        for client in self.clients:
            client.url = None
        self.server.kill()
        self.server.communicate()
        end = time.monotonic() + ORPHAN
        while trainer and runs(trainer):
            if time.monotonic() > end:
                self.faults.append(f"a trainer outlived its server by {ORPHAN} s")
                return
            time.sleep(0.05)

    def _kill_trainer(self) -> None:
        if not (trainer := self._until(self._trainer, "no trainer was there")):
            return
        self._perhaps_see_a_version()
        time.sleep(self.rng.uniform(0, 2))
        trainer = self._trainer() or trainer
        if runs(trainer):
            subprocess.run(["kill", f"-{signal.SIGKILL.value}", str(trainer)], check=False)
        self._until(lambda: (now := self._trainer()) != trainer and now, "the trainer did not come back")

    def _kill_import(self) -> None:
        command = [sys.executable, "-P", "-m", "labeler", "import", str(self.folder), str(self.source)]
        self.importer = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(self.rng.uniform(0.3, 2.5))
        self.importer.kill()
        self.importer.communicate()

    def _perhaps_see_a_version(self) -> None:
        """Half the kills come when versions are being published; the others wherever it is."""
        newest, end = self.project.store.next_version(), time.monotonic() + self.version_wait
        if self.rng.random() < 0.5:
            while self.project.store.next_version() == newest and time.monotonic() < end:
                time.sleep(0.02)

    def _trainer(self) -> int | None:
        known = self.project.store.process("trainer")
        return int(known["pid"]) if known and known["alive"] else None

    def _until(self, true: Any, otherwise: str) -> Any:
        end = time.monotonic() + READY
        while not (found := true()):
            if time.monotonic() > end:
                self.faults.append(otherwise)
                return None
            time.sleep(0.05)
        return found

    # ---------- what must hold ----------

    def _look(self, when: str) -> None:
        store = self.project.store
        acknowledged = set().union(*(client.acknowledged for client in self.clients))  # before the record is read
        found = Counter(event.uid for event in store.events())
        self.lost = len(acknowledged - set(found))
        self.doubled = sum(n - 1 for n in found.values())
        given = {uid for client in self.clients for uid in client.given}
        self.faults += [f"{when}: {line}" for line in store.check()]
        if self.lost or self.doubled or not set(found) <= given:
            strange = len(set(found) - given)
            self.faults.append(f"{when}: {self.lost} lost, {self.doubled} doubled, {strange} that nobody gave")
        newest = store.newest_version()
        published = newest_whole(self.folder, store) or newest_whole(self.folder, store)  # pruned while it was opened
        self.versions = store.next_version() - 1
        if newest is not None and (published is None or published.version < newest.version - 1):
            self.faults.append(f"{when}: version {newest.version} was published and is not whole")
        elif published is not None:
            n = len(published.sample_ids)
            if not len(published.probs) == len(published.scores) == len(published.embeddings) == n:
                self.faults.append(f"{when}: the arrays of version {published.version} do not fit")

    def _finish(self) -> None:
        """All is taken up again: outboxes empty, the import whole, a newest model that loads, nothing left to mend."""
        if self.server is None or self.server.poll() is not None:
            self._start()
        done = subprocess.run(
            [sys.executable, "-P", "-m", "labeler", "import", str(self.folder), str(self.source)],
            stdout=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        if done.returncode != 0 or self.project.store.counts()["samples"] != self.images:
            self.faults.append("the import was not completed")
        self._until(lambda: self.project.store.newest_version(), "no version was ever published")
        for client in self.clients:
            client.closing = True
            self._until(lambda c=client: set(c.given) <= c.acknowledged, "an outbox did not empty")
            client.ended.set()
            client.join(10)
        assert self.server is not None
        self.server.send_signal(signal.SIGINT)
        self.server.communicate(timeout=60)
        if self.server.returncode != 0 or self._trainer() or self.project.store.process("server"):
            self.faults.append("the last server did not end in good order")
        left = subprocess.run(["pgrep", "-f", str(self.folder)], capture_output=True, text=True, check=False).stdout
        if left.strip():
            self.faults.append(f"processes are left: {left.split()}")
        self._look("at the end")
        self.faults += [finding.text for finding in check(self.folder, self.project.store) if finding.wrong]
        newest = self.project.store.newest_version()
        if newest is not None:
            load(self.folder / newest.folder / "model.safetensors")

    @property
    def tally(self) -> dict[str, Any]:
        return {
            "kills": dict(self.kills),
            "given": sum(len(client.given) for client in self.clients),
            "acknowledged": sum(len(client.acknowledged) for client in self.clients),
            "lost": self.lost,
            "doubled": self.doubled,
            "versions": self.versions,
            "faults": self.faults,
        }


def _make(folder: Path, source: Path, files: int) -> int:
    """600 digits in the project, more to be imported as files while it is worked on; how many that makes in all."""
    from PIL import Image
    from sklearn.datasets import load_digits

    images = (load_digits().images * 255 / 16).round().astype(np.uint8)
    np.savez(folder.parent / "pool.npz", x=images[:600])
    source.mkdir()
    for i, image in enumerate(images[:files]):  # the first 600 as well: other bytes, so they are other images
        image[0, 0] = i % 256
        image[0, 7] = i // 256
        Image.fromarray(image).save(source / f"{i:04d}.png")
    with Project.create(folder, [str(k) for k in range(10)]) as project:
        project.store.set_setting("learner", QUICK)
        return project.import_(folder.parent / "pool.npz", measure_share=0).added + files


def main(kills: int, minutes: float) -> None:
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        tally = Harness(Path(folder)).run(kills, 60 * minutes)
    tally["seconds"] = round(time.monotonic() - begun)
    print(json.dumps(tally, indent=2))
    head = (__doc__ or "").splitlines()[4:]
    rows = [f"| {name} | {_shown(value)} |" for name, value in tally.items()]
    REPORT.write_text("\n".join(["# Crashes", "", *head, "", "| what | number |", "| :--- | ---: |", *rows, ""]))
    sys.exit(1 if tally["faults"] else 0)


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {n}" for name, n in value.items())
    return "; ".join(value) or "none" if isinstance(value, list) else f"{value:,}"


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 100, float(sys.argv[2]) if sys.argv[2:] else 600)
