"""A million images in one record: import, next sample, label, status, export, with the memory that each process took.

    make bench-store           (or: python tests/bench_store.py [images: 1000000])
    DATABASE=postgresql make bench-store IMAGES=100000           (a private server; or DATABASE=the URL of another one)

Images of 8x8 pixels, ten classes, and a version with random probabilities in place of a trained one, so that nothing
but the record, the loop and the disk is measured. Each line is a process of its own; its memory is the largest resident
set. The table goes to docs/benchmarks/store.md, or
store-postgresql.md. Everything else is removed at the end.
"""

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from labeler import Project, published
from storage import NewEvent

CLASSES = [str(k) for k in range(10)]
ASKED = 1000  # labels by the page's own calls, after each of them one image more
LABELED = 200_000  # labels in the record when status and export are measured, or a fifth of the images
LABELS_AT_ONCE = 1000
HEADER = """# {title}

`{how}`: {n:,} images of 8x8 pixels, {labeled:,} labels,
ten classes, {database}, {machine}. Each line is a process of its own.
Milliseconds are of single calls: median, and the 95th percentile.

| what | seconds | p50 ms | p95 ms | memory MB |
| :--- | ---: | ---: | ---: | ---: |
"""


def make_images(n: int, path: Path) -> None:
    """Grey squares that differ, as .npz."""
    images = np.random.default_rng(0).integers(0, 256, (n, 8, 8), dtype=np.uint8)
    images.reshape(n, 64)[:, :4] = np.arange(n, dtype="<u4").view(np.uint8).reshape(n, 4)  # no two are the same
    np.savez(path, x=images)


def publish_some_version(folder: Path) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    with Project.open(folder) as p:
        ids = p.store.sample_ids("pool")
        n = len(ids)
        probs = rng.dirichlet(np.ones(len(CLASSES)), n).astype(np.float32)
        arrays = {
            "sample_ids": ids,
            "probs": probs,
            "scores": rng.random(n, dtype=np.float32),
            "ranking": rng.permutation(ids),
            "embeddings": np.zeros((n, 2), np.float16),
            "generated": np.zeros((len(CLASSES), 1, 8, 8), np.uint8),
        }
        published.publish(
            p.folder, p.store, version=1, class_ids=[c.id for c in p.store.classes()], acquisition="coverage",
            last_event_id=0, labels=10, steps=0, metrics={}, arrays=arrays, save_model=Path.touch,
        )  # fmt: skip
    return {}


def ask_and_answer(folder: Path) -> dict[str, Any]:
    """As the page does: an answer, then a question more than the browser holds ahead."""
    with Project.open(folder) as p:
        loop = p.loop(annotator="ann")
        begun = time.perf_counter()
        held = loop.ask_many(8)
        first = time.perf_counter() - begun
        took: dict[str, list[float]] = {"answer": [], "ask": [], "lease": []}
        wanted = p.store.sample_ids("pool")[-100_000:]
        for i in range(ASKED):
            with _timed(took["answer"]):
                loop.answer(held.pop(0).sample_id, CLASSES[i % 10])
            with _timed(took["ask"]):
                held += loop.ask_many(1, have=[q.sample_id for q in held])
            with _timed(took["lease"]):
                p.store.lease(wanted, 1, "ben", f"tab {i}")
            p.store.release("ben", f"tab {i}")
        assert len(held) == 8
        assert p.store.counts()["labeled"] == ASKED
    return {"first": first, **took}


def label_many(folder: Path, n: int) -> dict[str, Any]:
    with Project.open(folder) as p:
        class_ids = [c.id for c in p.store.classes()]
        ids = p.store.sample_ids("pool")[-n:].tolist()
        for i in range(0, n, LABELS_AT_ONCE):
            events = [NewEvent(f"bulk {j}", "label", j, class_ids[j % 10]) for j in ids[i : i + LABELS_AT_ONCE]]
            p.store.record(events)
    return {}


@contextmanager
def _timed(milliseconds: list[float]) -> Iterator[None]:
    begun = time.perf_counter()
    yield
    milliseconds.append(1000 * (time.perf_counter() - begun))


def apart(call: str, *args: object) -> dict[str, Any]:
    """A function of this file in a process of its own: what it returns, with its seconds and megabytes."""
    return _ended([sys.executable, "-P", __file__, call, *map(str, args)])


def command(*args: object) -> dict[str, Any]:
    return _ended([sys.executable, "-P", __file__, "--command", *map(str, args)])


def _ended(command: list[str]) -> dict[str, Any]:
    begun = time.perf_counter()
    with tempfile.TemporaryFile("w+", dir=".") as out:
        subprocess.run(command, stdout=out, check=True)
        seconds = time.perf_counter() - begun
        out.seek(0)
        [last] = deque(out, 1)
    found: dict[str, Any] = json.loads(last)
    return {"seconds": seconds, **found}


def child(call: str, *args: str) -> dict[str, Any]:
    if call == "--command":
        from labeler.__main__ import run

        code = run(list(args))
        assert code == 0, f"labeler {' '.join(args)}: exit code {code}"
        found: dict[str, Any] = {}
    elif call == "label_many":
        found = label_many(Path(args[0]), int(args[1]))
    else:
        found = {"publish_some_version": publish_some_version, "ask_and_answer": ask_and_answer}[call](Path(args[0]))
    return {**found, "megabytes": peak_megabytes()}


def peak_megabytes() -> float:
    """Of this process since it began. Linux's ru_maxrss would have that of the process that started it, too."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # macOS: bytes
    [kilobytes] = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM")]
    return int(kilobytes) / 1024


def line(what: str, found: dict[str, Any], calls: str | None = None) -> str:
    if calls is None:
        return f"| {what} | {found['seconds']:.1f} | | | {found['megabytes']:.0f} |"
    p50, p95 = np.percentile(found[calls], [50, 95])
    return f"| {what} | | {p50:.1f} | {p95:.1f} | {found['megabytes']:.0f} |"


def main(n: int, url: str | None) -> None:
    labeled = min(LABELED, n // 5)
    with tempfile.TemporaryDirectory(dir=".") as temporary:
        folder, source = Path(temporary) / "project", Path(temporary) / "many.npz"
        make_images(n, source)
        Project.create(folder, CLASSES, url).close()
        lines = [line("`labeler import`", command("import", folder, source, "--measure-share", "0"))]
        lines.append(line("`labeler check`", command("check", folder)))
        apart("publish_some_version", folder)
        page = apart("ask_and_answer", folder)
        lines.append(f"| first eight images of a page | {page['first']:.1f} | | | {page['megabytes']:.0f} |")
        lines.append(line("next image: `Loop.ask_many`", page, "ask"))
        lines.append(line("of that, at the record: `Store.lease`", page, "lease"))
        lines.append(line("label: `Loop.answer`, on disk", page, "answer"))
        lines.append(line(f"{labeled:,} labels, {LABELS_AT_ONCE:,} at once", apart("label_many", folder, labeled)))
        lines.append(line("`labeler status --json`", command("status", folder, "--json")))
        lines.append(
            line(
                "`labeler status --at labels:N`, half way", command("status", folder, "--at", f"labels:{labeled // 2}")
            )
        )
        lines.append(line("`labeler log --json`", command("log", folder, "--json")))
        for format in ("csv", "jsonl"):
            lines.append(
                line(
                    f"`labeler export --format {format}`",
                    command("export", folder, f"{temporary}/x.{format}", "--format", format),
                )
            )
    machine = f"{platform.machine()}, Python {platform.python_version()}"
    names = {"title": "A million images in one record", "how": "make bench-store", "database": "SQLite"}
    if url is not None:
        names = {"title": f"{n:,} images on PostgreSQL", "how": f"DATABASE=postgresql make bench-store IMAGES={n}"}
        names["database"] = "PostgreSQL on the same machine's disk, by its Unix socket"
    text = HEADER.format(**names, n=n, labeled=labeled, machine=machine) + "\n".join([*lines, ""])
    out = Path("docs/benchmarks") / ("store.md" if url is None else "store-postgresql.md")
    out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    if len(sys.argv) > 1 and not sys.argv[1].isdecimal():
        print(json.dumps(child(*sys.argv[1:])))
    else:
        from postgres import chosen

        with chosen(os.environ.get("DATABASE", "")) as url:
            main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000, url)
