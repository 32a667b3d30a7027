"""A disk that is full, or read-only: a small one is mounted for a process of the test's own, and filled."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ALONE = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
MOUNT = 'mount -t tmpfs -o size=6m none "$1" && exec "$2" -c "$3" "$1"'
BEGIN = """
import contextlib, errno, io, os, subprocess, sys
from pathlib import Path
import numpy as np
from PIL import Image
from labeler import Project, backup
from labeler.__main__ import run
from labeler.check import check
from storage import NewEvent

disk = Path(sys.argv[1])
folder, filler = disk / "project", disk / "filler"

def images(n, rng_seed=0):
    return np.random.default_rng(rng_seed).integers(0, 256, (n, 8, 8), dtype=np.uint8)

def project(n=200):
    np.savez(disk / "some.npz", x=images(n))
    p = Project.create(folder, [f"class {i}" for i in range(10)])
    p.import_(disk / "some.npz", measure_share=0)
    return p

def fill():
    with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as f:
        while True:
            f.write(bytes(4096))

def resized(options):
    subprocess.run(["mount", "-o", f"remount,{options}", disk], check=True)

def sound(p):
    assert p.store.check() == []
    assert [f for f in check(p.folder, p.store) if f.wrong] == []
"""
IMPORT = """
source = disk.parent / "source"
Project.create(folder, ["a", "b"]).close()
assert run(["import", str(folder), str(source)]) == 1
with Project.open(folder) as p:
    had = p.store.counts()["samples"]
    assert had < 300
    sound(p)
resized("size=64m")
assert run(["import", str(folder), str(source)]) == 0
with Project.open(folder) as p:
    assert p.store.counts()["samples"] == 300
    sound(p)
    assert list((folder / "images" / ".incoming").iterdir()) == []
"""
LABEL = """
p = project()
sent, stored = [], set()
fill()
for i in range(4000):  # what room the log has is used up, then nothing is acknowledged any more
    sent.append(NewEvent(f"uid-{i}", "label", 1 + i % 200, 1 + i % 10, "ann", "tab"))
    try:
        stored |= set(p.store.record([sent[-1]]))
    except Exception as error:
        assert "full" in str(error), error
        break
else:
    raise AssertionError("the disk was never full")
found = [event.uid for event in p.store.events()]
assert stored == set(found) and len(found) == len(stored)
filler.unlink()
assert set(p.store.record(sent)) == {event.uid for event in sent}
assert [event.uid for event in p.store.events()] == [event.uid for event in sent]
sound(p)
"""
PUBLISH = """
sys.path.insert(0, os.environ["TESTS"])
from pages import publish_version
p = project(2000)
publish_version(p, 1)
fill()
try:
    publish_version(p, 2)
    raise AssertionError("the disk was never full")
except OSError as error:
    assert error.errno == errno.ENOSPC, error
assert sorted(path.name for path in (folder / "models").iterdir()) == ["000001"]
assert p.published().version == 1
filler.unlink()
publish_version(p, p.store.next_version())
assert p.published().version == 2
assert [line for line in p.store.check()] == []
"""
CACHE = """
p = project(2000)
p.images()
for path in (folder / "cache").iterdir():
    path.unlink()
fill()
os.truncate(filler, filler.stat().st_size - 16384)  # room for the head of a file, not for its 128,000 bytes
try:
    p.images()
    raise AssertionError("the disk was never full")
except OSError as error:
    assert error.errno == errno.ENOSPC, error
assert list((folder / "cache").iterdir()) == []
filler.unlink()
assert p.images().array.shape == (2000, 8, 8)
sound(p)
"""
BACKUP = """
p = project(2000)
fill()
try:
    backup.backup(p, disk / "b.zip")
    raise AssertionError("the disk was never full")
except Exception as error:
    assert "full" in str(error) or error.errno == errno.ENOSPC, error
assert sorted(path.name for path in disk.iterdir()) == ["filler", "project", "some.npz"]
filler.unlink()
backup.backup(p, disk / "b.zip")
fill()
assert run(["restore", str(disk / "b.zip"), str(disk / "again")]) == 1
assert sorted(path.name for path in disk.iterdir()) == ["b.zip", "filler", "project", "some.npz"]
filler.unlink()
assert run(["restore", str(disk / "b.zip"), str(disk / "again")]) == 0
"""
READ_ONLY = """
p = project()
p.loop("ann").answer(1, "class 3")
p.close()
resized("ro")
for words in (["status"], ["check"], ["check", "--repair"], ["serve", "--no-browser", "--port", "0"], ["train"]):
    with contextlib.redirect_stderr(io.StringIO()) as told:
        assert run([words[0], str(folder), *words[1:]]) == 1
    assert "lies on read-only storage" in told.getvalue(), told.getvalue()
assert run(["import", str(folder), str(disk / "some.npz")]) == 1
resized("rw")
with Project.open(folder) as p:
    assert p.store.labels() == {1: 4}
    sound(p)
"""


def mountable(folder: Path) -> str | None:
    """Why no disk can be mounted here; None where one can."""
    try:
        done = subprocess.run(
            [*ALONE, "sh", "-c", MOUNT, "sh", str(folder), sys.executable, ""],
            capture_output=True,
            text=True,
            timeout=30,
        )
    except OSError as error:
        return str(error)
    return None if done.returncode == 0 else done.stderr.strip()


@pytest.mark.parametrize(
    "script",
    [IMPORT, LABEL, PUBLISH, CACHE, BACKUP, READ_ONLY],
    ids=["mid-import", "mid-label", "mid-publish", "mid-cache", "mid-backup", "read-only"],
)
def test_a_full_or_read_only_disk_loses_nothing_and_all_goes_on_when_there_is_room(script: str, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if reason := mountable(disk):
        pytest.skip(f"no small disk can be mounted here: {reason}")
    if script is IMPORT:
        make_source(tmp_path / "source")
    done = subprocess.run(
        [*ALONE, "sh", "-c", MOUNT, "sh", str(disk), sys.executable, BEGIN + script],
        env={**os.environ, "TESTS": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    for line in done.stderr.splitlines():
        assert line.startswith("labeler: "), done.stderr
        assert "unexpected" not in line


def make_source(folder: Path) -> None:
    """300 images of some 30 KB."""
    import numpy as np
    from PIL import Image

    folder.mkdir()
    for i in range(300):
        noise = np.random.default_rng(i).integers(0, 256, (170, 170), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{i}.png")
