"""Sixteen clients ask and label one record as fast as they can, some of them walk away: is anything served twice?

    make bench-leases            (or: python tests/bench_leases.py [samples: 4000])
    DATABASE=postgresql make bench-leases            (a private server; or DATABASE=the URL of another one)

Once with 16 threads of one process, once with 16 processes. Each client keeps a queue as the page does, `ask_many` and
`commit`, gives back what is not on screen whenever a new ranking is out, and notes when a sample became its own and
when it sent the answer. Beside them two clients take samples for a fraction of a second and never answer: those must
come to others, and not before they run out. Twice means that two clients had a sample at one moment.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from labeler import Project
from storage import NewEvent, Store

CLIENTS, AHEAD = 16, 4
SUSPENDED = hasattr(time, "CLOCK_BOOTTIME")
SHORT = 0.3  # seconds that those who walk away hold a sample
REPORT = Path(__file__).parent.parent / "docs" / "benchmarks" / "leases.md"
HOW = {"SQLite": "make bench-leases", "PostgreSQL": "DATABASE=postgresql make bench-leases"}
Held = tuple[int, str, float, float]  # sample id, client, from, to: seconds of the machine's own clock


def main(samples: int) -> None:
    rows = []
    from postgres import chosen

    with chosen(os.environ.get("DATABASE", "")) as url:
        for kind in ("threads", "processes"):
            with tempfile.TemporaryDirectory() as folder:
                rows.append(measure(Path(folder), kind, samples, url=url))
                print(json.dumps(rows[-1]), flush=True)
    write(rows, "PostgreSQL" if url else "SQLite")
    if any(row[name] for row in rows for name in ("twice", "errors", "lost", "doubled")):
        sys.exit(1)
    if any(row["clock moved, s"] for row in rows):
        print("The machine's clock was set, or it was suspended, meanwhile: see 'clock moved'.")


def write(rows: list[dict[str, Any]], database: str) -> None:
    """The part of this database; the other one stays."""
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "| :--- " + "| ---: " * (len(names) - 1) + "|"]
    lines += ["| " + " | ".join(f"{row[name]:,}" if row[name] != row["clients"] else row[name] for name in names) + " |"
              for row in rows]  # fmt: skip
    head = "\n".join(["# Leases under load", "", *(__doc__ or "").splitlines()[5:], ""])
    parts = dict(part.split("\n", 1) for part in REPORT.read_text().split("\n## ")[1:]) if REPORT.is_file() else {}
    parts[database] = "\n".join(["", *lines, "", f"`{HOW[database]}`, two cores shared with other work.", ""])
    REPORT.write_text("\n".join([head, *(f"## {name}\n{parts[name]}" for name in HOW if name in parts)]))


def measure(folder: Path, kind: str, samples: int, clients: int = CLIENTS, url: str | None = None) -> dict[str, Any]:
    """The tally of one run: all samples labeled by so many threads or processes."""
    from pages import publish_version, small_project  # here, as clients need no gradio, which takes seconds

    clock = clocks()
    with small_project(folder / "project", samples, database=url) as project:
        publish_version(project, 1)
        run = in_threads if kind == "threads" else in_processes
        with walking_away(project) as abandoned:
            held, errors, seconds = run(project, clients)
        events = Counter(event.uid for event in project.store.events())
        decided = Counter(event.sample_id for event in project.store.events())
        answered = {sample_id for sample_id, _, _, _ in held}
        return {
            "clients": f"{clients} {kind}",
            "samples": samples,
            "served": len(held) + len(abandoned),
            "abandoned": len(abandoned),
            "offered again": len({h[0] for h in abandoned} & answered),
            "twice": twice([*held, *abandoned]),
            "errors": len(errors),
            "lost": samples - len(decided) + len(project.store.check()),
            "doubled": sum(n - 1 for n in [*events.values(), *decided.values()]),
            "samples a second": round(samples / seconds),
            "clock moved, s": moved(clock, clocks()),
        }


def clocks() -> tuple[float, float]:
    """How far the clock on the wall, and the one that goes on while the machine is suspended, are from the even one."""
    awake = time.monotonic()
    return time.time() - awake, (time.clock_gettime(time.CLOCK_BOOTTIME) - awake) if SUSPENDED else 0.0


def moved(before: tuple[float, float], after: tuple[float, float]) -> float:
    """By how many seconds a clock was set, or the machine suspended, in between: what is counted as served twice may
    then be that. Leases hold by the even clock, as what is measured here does."""
    return round(max(abs(a - b) for a, b in zip(before, after, strict=True)), 1)


def twice(held: list[Held]) -> int:
    """How often a sample was with two clients at one moment."""
    n = 0
    spans: dict[int, list[Held]] = {}
    for one in held:
        spans.setdefault(one[0], []).append(one)
    for of_sample in spans.values():
        of_sample.sort(key=lambda one: one[2])
        n += sum(
            a[1] != b[1] and b[2] < a[3] for i, a in enumerate(of_sample) for b in of_sample[i + 1 :]
        )  # b began before a had ended
    return n


def work(project: Project, name: str) -> list[Held]:
    """Ask and label until nothing is open and nobody can give anything back any more."""
    loop = project.loop(name, f"client-{name}", AHEAD)
    queue: list[tuple[int, float]] = []
    held: list[Held] = []
    ranking = None
    while True:
        published = project.published()
        newest, replace = published.ranking_key if published else None, False
        if newest != ranking and queue:  # as the page: all but the one on screen are given back
            now = time.monotonic()
            held += [(i, name, since, now) for i, since in queue[1:]]
            queue, replace = queue[:1], True
        ranking = newest
        if len(queue) < 2:
            asked = loop.ask_many(AHEAD - len(queue), [i for i, _ in queue], replace)
            now = time.monotonic()
            queue += [(question.sample_id, now) for question in asked]
        if not queue:
            if project.store.counts()["open"] == 0:
                return held
            time.sleep(0.02)
            continue
        sample_id, since = queue.pop(0)
        held.append((sample_id, name, since, time.monotonic()))
        loop.commit([NewEvent(uuid.uuid4().hex, "label", sample_id, 1 + sample_id % 10)])


def in_threads(project: Project, clients: int) -> tuple[list[Held], list[str], float]:
    held: list[Held] = []
    errors: list[str] = []

    def one(name: str) -> None:
        try:
            held.extend(work(project, name))
        except Exception as error:
            errors.append(repr(error))

    threads = [threading.Thread(target=one, args=(f"{i}",)) for i in range(clients)]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return held, errors, time.monotonic() - begun


def in_processes(project: Project, clients: int) -> tuple[list[Held], list[str], float]:
    command = [sys.executable, __file__, "--client", str(project.folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    started = [subprocess.Popen([*command, f"{i}"], **pipes) for i in range(clients)]
    for process in started:
        process.stdout.readline()
    begun = time.monotonic()
    for process in started:  # all at once
        process.stdin.write("go\n")
        process.stdin.flush()
    with ThreadPoolExecutor(clients) as readers:  # none may wait until another one's output is read
        ended = list(readers.map(lambda process: (process.communicate(), process.returncode), started))
    seconds = time.monotonic() - begun
    held = [tuple(one) for (out, _), code in ended if code == 0 for one in json.loads(out)]
    return held, [err for (_, err), code in ended if code != 0], seconds


@contextmanager
def walking_away(project: Project) -> Iterator[list[Held]]:
    """Two clients that take samples and never answer them; rankings that come out meanwhile."""
    from pages import publish_version

    abandoned: list[Held] = []
    ended = threading.Event()

    def away(name: str) -> None:
        with Store.open(project.store.place) as store:
            while not ended.wait(0.05):
                wanted = store.open_ids("pool")[:3]
                before = time.monotonic()
                for sample_id in store.lease(wanted, 3, name, f"client-{name}", SHORT):
                    abandoned.append((sample_id, name, time.monotonic(), before + SHORT))

    def rank() -> None:
        while not ended.wait(0.3):
            publish_version(project, project.store.next_version(), project.store.open_ids("pool").tolist() or None)

    threads = [threading.Thread(target=away, args=(name,)) for name in ("gone", "left")]
    threads.append(threading.Thread(target=rank))
    for thread in threads:
        thread.start()
    try:
        yield abandoned
    finally:
        ended.set()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--client"]:
        with Project.open(sys.argv[2]) as shared:
            shared.published()
            print("up", flush=True)
            sys.stdin.readline()
            print(json.dumps(work(shared, sys.argv[3])))
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else 4_000)
