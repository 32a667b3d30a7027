"""A backup is one moment of a project that people work on; a restore brings it back whole, or says why not."""

import json
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Ended, by_hand
from pages import publish_version, small_project

from labeler import Project, backup
from storage import Store

Command = Callable[..., Ended]


@pytest.fixture
def taken(project: Project, tmp_path: Path) -> Path:
    """A backup of the twelve images with one label."""
    project.loop("ann").answer(3, "dog")
    backup.backup(project, tmp_path / "taken.zip")
    return tmp_path / "taken.zip"


def files_of(folder: Path) -> dict[str, bytes]:
    """Of a project's originals and models."""
    there = (p for part in ("images", "models") for p in (folder / part).rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in there}


def test_a_project_comes_back_as_it_was(tmp_path: Path, labeler: Command) -> None:
    with small_project(tmp_path / "flowers") as p:
        for version in (1, 2):
            publish_version(p, version)
        loop = p.loop("ann")
        for sample_id in (5, 6, 7):
            loop.answer(sample_id, sample_id)
        loop.undo()
        loop.ask()
        p.store.merge_classes([2], into=1)
        p.store.set_guideline(6, "Five petals.\nOr six.", [5])
        p.store.archive_classes([3])
        p.store.hold("server", "holder", {})
        p.images()
        key = p.store.setting("page_key", "none")
        missing = labeler("backup", p.folder, tmp_path / "out" / "b.zip")
        assert (missing.code, "There is no folder" in missing.err) == (1, True)  # a drive that is not plugged in
        (tmp_path / "out").mkdir()
        ended = labeler("backup", p.folder, tmp_path / "out" / "b.zip", "--json")
        assert (ended.code, ended.err) == (0, "")
        assert json.loads(ended.out)["version"] == 2
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["b.zip"]

        ended = labeler("restore", tmp_path / "out" / "b.zip", tmp_path / "again")
        assert (ended.code, ended.err) == (0, "")
        with Project.open(tmp_path / "again") as q:
            assert q.store.check() == []
            assert q.store.events() == p.store.events()
            assert q.store.samples() == p.store.samples()
            assert q.store.classes(archived=True) == p.store.classes(archived=True)
            assert q.store.class_events() == p.store.class_events()
            assert q.store.guideline_events() == p.store.guideline_events() != []
            assert q.store.setting("rng_seed") == p.store.setting("rng_seed")
            assert q.store.setting("page_key") != key
            assert (q.store.process("server"), q.store.held("ann", loop.client)) == (None, [])
            expected = {n: data for n, data in files_of(p.folder).items() if not n.startswith("models/000001")}
            assert files_of(q.folder) == expected
            published = q.published()
            assert published is not None
            assert published.version == 2
            assert q.store.next_version() == 3
            np.testing.assert_array_equal(q.images().array, p.images().array)
        assert not any(entry.name.startswith(".") for entry in tmp_path.iterdir())


WORK = """
import sys, numpy as np
from labeler import Project
with Project.open(sys.argv[1]) as p:
    loop, n = p.loop("bob"), 0
    print("up", flush=True)
    while True:
        question = loop.ask()
        if question is not None:
            loop.answer(question.sample_id, n % 10)
        n += 1
        if n % 10 == 0:
            np.savez(sys.argv[2], x=np.random.default_rng(n + 1000).integers(0, 256, (30, 8, 8), dtype=np.uint8))
            p.import_(sys.argv[2], measure_share=0)
"""


def test_backups_taken_while_others_label_import_and_publish_are_each_one_moment(tmp_path: Path) -> None:
    with small_project(tmp_path / "busy") as p:
        publish_version(p, 1)
        worker = subprocess.Popen(
            [sys.executable, "-c", WORK, p.folder, tmp_path / "more.npz"], stdout=subprocess.PIPE, text=True
        )
        ended = threading.Event()
        publisher = threading.Thread(target=publish_without_end, args=(p, ended))
        try:
            assert worker.stdout is not None
            worker.stdout.readline()
            publisher.start()
            seen = []
            for i in range(5):
                time.sleep(0.1)
                before = [event.uid for event in p.store.events()]
                backup.backup(p, tmp_path / f"{i}.zip")
                after = [event.uid for event in p.store.events()]
                backup.restore(tmp_path / f"{i}.zip", tmp_path / f"again-{i}")
                with Project.open(tmp_path / f"again-{i}") as q:
                    uids = [event.uid for event in q.store.events()]
                    assert before == uids[: len(before)]
                    assert uids == after[: len(uids)]
                    assert {event.sample_id for event in q.store.events()} <= set(q.store.sample_ids().tolist())
                    assert q.published() is not None
                    assert q.images().array.any(axis=(1, 2)).all()
                seen.append(len(uids))
        finally:
            ended.set()
            worker.kill()
            worker.communicate()
            publisher.join()
    assert seen[-1] > seen[0]


def publish_without_end(project: Project, ended: threading.Event) -> None:
    from labeler.published import prune

    while not ended.is_set():
        publish_version(project, project.store.next_version())
        prune(project.folder, project.store)


def test_a_database_is_copied_of_one_moment_though_it_changes_at_every_page(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.sqlite.PAGES", 1)
    loop = project.loop("ann")
    loop.answer(1, "cat")
    steps: list[int] = []

    def label_meanwhile(done: int, total: int) -> None:
        steps.append(done)
        loop.answer(1 + len(steps) % 12, "dog")

    project.store.copy_to(tmp_path / "copy.db", label_meanwhile)
    assert len(steps) > 10
    with Store.open(tmp_path / "copy.db") as copy:
        assert copy.check() == []
        assert copy.labels() == {1: 1}


def test_originals_kept_by_path_are_told_and_found_again(tmp_path: Path, image_folder: Path, labeler: Command) -> None:
    with Project.create(tmp_path / "linked", ["cat", "dog"]) as p:
        p.import_(image_folder, copy=False)
    ended = labeler("backup", tmp_path / "linked", tmp_path / "b.zip")
    assert ended.code == 0
    assert "12 images are kept where they were imported from" in ended.out
    ended = labeler("restore", tmp_path / "b.zip", tmp_path / "again")
    assert "and are there" in ended.out
    assert labeler("check", tmp_path / "again").code == 0
    (image_folder / "cat" / "0.png").unlink()
    assert "1 of them are not there" in labeler("restore", tmp_path / "b.zip", tmp_path / "third").out


def test_a_project_with_missing_and_changed_originals_is_backed_up_and_says_so(
    project: Project, tmp_path: Path, labeler: Command
) -> None:
    gone, changed = project.store.samples()[:2]
    (project.folder / gone.file).unlink()
    (project.folder / changed.file).write_bytes(b"another")
    ended = labeler("backup", project.folder, tmp_path / "b.zip")
    assert ended.code == 1
    assert f"{gone.file}: the file is gone" in ended.err
    assert f"{changed.file}: the file is not what was imported" in ended.err
    assert labeler("restore", tmp_path / "b.zip", tmp_path / "again").code == 0
    assert labeler("check", tmp_path / "again").code == 1


@pytest.mark.parametrize("suffix", [".p:1", ".p\\1", ".p\n1", ". p", ".p-1"])
def test_no_suffix_of_an_imported_file_keeps_a_backup_from_being_restored(
    suffix: str, tmp_path: Path, labeler: Command
) -> None:
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / f"scan{suffix}").write_bytes(b"P5 2 2 255\n\x00\x01\x02\x03")
    with Project.create(tmp_path / "p", ["cat"]) as p:
        p.import_(tmp_path / "scans")
        [sample] = p.store.samples()
        assert sample.file == f"images/{sample.sha256[:2]}/{sample.sha256}"
        old = f"{sample.file}{suffix}"  # as it was kept before
        (p.folder / sample.file).rename(p.folder / old)
        by_hand(p.store, f"UPDATE samples SET file = '{old}'")
    assert labeler("backup", tmp_path / "p", tmp_path / "b.zip").code == 0
    ended = labeler("restore", tmp_path / "b.zip", tmp_path / "again")
    assert (ended.code, ended.err) == (0, "")
    assert (tmp_path / "again" / old).read_bytes().startswith(b"P5")
    assert labeler("check", tmp_path / "again").code == 0


@pytest.mark.parametrize(
    ("by_whom", "wrong"),
    [
        (["DROP TRIGGER events_keep_delete"], ["The trigger events_keep_delete"]),
        (
            ["DROP TRIGGER events_keep_update", "UPDATE events SET class_id = 1"],
            ["Events that were changed", "The state of sample 3", "The trigger events_keep_update"],
        ),
        (["UPDATE classes SET name = 'tiger' WHERE id = 1"], ["The class with id 1"]),
        (["DELETE FROM sample_states"], []),  # derived again, as nothing is lost by that
    ],
)
def test_what_was_wrong_with_a_record_comes_back_with_it_and_is_told(
    by_whom: list[str], wrong: list[str], project: Project, tmp_path: Path, labeler: Command
) -> None:
    project.loop("ann").answer(3, "dog")
    by_hand(project.store, *by_whom)
    taken = labeler("backup", project.folder, tmp_path / "b.zip", "--json")
    told = json.loads(taken.out)["wrong"]
    assert len(told) == len(wrong)
    assert all(line.startswith(start) for line, start in zip(told, wrong, strict=True)), told
    back = labeler("restore", tmp_path / "b.zip", tmp_path / "again")
    assert (taken.code, back.code) == (bool(wrong), bool(wrong))
    assert all(f"  {line}\n" in ended.err for line in told for ended in (taken, back))
    with Project.open(tmp_path / "again") as q:
        assert q.store.check() == told
        assert q.store.events() == project.store.events()


def test_a_damaged_version_is_left_out_and_training_can_go_on(tmp_path: Path) -> None:
    with small_project(tmp_path / "flowers") as p:
        publish_version(p, 1)
        (p.folder / "models" / "000001" / "probs.npy").unlink()
        assert backup.backup(p, tmp_path / "b.zip").version is None
    backup.restore(tmp_path / "b.zip", tmp_path / "again")
    with Project.open(tmp_path / "again") as q:
        assert q.published() is None
        assert q.store.next_version() == 2


def test_nothing_is_written_over(taken: Path, project: Project, tmp_path: Path, labeler: Command) -> None:
    before = taken.read_bytes()
    ended = labeler("backup", project.folder, taken)
    assert (ended.code, len(ended.err.splitlines())) == (1, 1)
    assert "exists already" in ended.err
    assert taken.read_bytes() == before
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", project.folder):
        ended = labeler("restore", taken, folder)
        assert (ended.code, len(ended.err.splitlines())) == (1, 1)
        assert "exists already" in ended.err


def rewritten(taken: Path, change: Callable[[dict[str, bytes], dict[str, Any]], None]) -> Path:
    """The backup with other content and, from `change`, another manifest."""
    with zipfile.ZipFile(taken) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(held.pop("manifest.json"))
    change(held, manifest)
    out = taken.with_name("changed.zip")
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in held.items():
            archive.writestr(name, data)
        archive.writestr("manifest.json", json.dumps(manifest))
    return out


def escape(name: str) -> Callable[[dict[str, bytes], dict[str, Any]], None]:
    def change(held: dict[str, bytes], manifest: dict[str, Any]) -> None:
        import hashlib

        held[name] = b"out"
        manifest["files"][name] = {"size": 3, "sha256": hashlib.sha256(b"out").hexdigest()}

    return change


def flip_a_byte(held: dict[str, bytes], manifest: dict[str, Any]) -> None:
    name = next(name for name in held if name.startswith("images/"))
    held[name] = held[name][:-1] + bytes([held[name][-1] ^ 1])


def lengthen(held: dict[str, bytes], manifest: dict[str, Any]) -> None:
    held[next(name for name in held if name.startswith("images/"))] += b"0" * 5_000_000


def lose_a_file(held: dict[str, bytes], manifest: dict[str, Any]) -> None:
    held.pop(next(name for name in held if name.startswith("images/")))


def lose_a_file_and_its_line(held: dict[str, bytes], manifest: dict[str, Any]) -> None:
    name = next(name for name in held if name.startswith("images/"))
    del held[name], manifest["files"][name]


def add_a_file(held: dict[str, bytes], manifest: dict[str, Any]) -> None:
    held["images/more.png"] = b"more"


def come_from_the_future(held: dict[str, bytes], manifest: dict[str, Any]) -> None:
    manifest["format"] = 99


def spoil_the_manifest(held: dict[str, bytes], manifest: dict[str, Any]) -> None:
    manifest["files"] = None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        *((escape(name), "no file of a project") for name in (
            "../out", "/tmp/labeler-out", "images/../../out", "images/..", "images/./out", "images/..\\..\\out",
            "C:/out", "images/C:out", "sub/labels.db", "images/a/b/c", "models/latest/x", f"images/ab/{'a' * 64}./../x",
            f"images/ab/{'a' * 64}.\\..\\x", f"images/ab/{'a' * 64}:x", f"images/../{'a' * 64}.x",
        )),
        (flip_a_byte, "is damaged"),
        (lengthen, "longer than"),
        (lose_a_file, "does not hold"),
        (lose_a_file_and_its_line, "it lacks images/"),
        (add_a_file, "does not hold"),
        (come_from_the_future, "newer"),
        (spoil_the_manifest, "cannot be read"),
    ],
)  # fmt: skip
def test_a_backup_that_is_not_as_it_was_written_makes_no_project(
    change: Callable[[dict[str, bytes], dict[str, Any]], None], says: str, taken: Path, tmp_path: Path, labeler: Command
) -> None:
    changed = rewritten(taken, change)
    before = sorted(tmp_path.rglob("*"))
    ended = labeler("restore", changed, tmp_path / "again")
    assert (ended.code, len(ended.err.splitlines())) == (1, 1), ended.err
    assert says in ended.err
    assert sorted(tmp_path.rglob("*")) == before
    assert not Path("/tmp/labeler-out").exists()


def test_half_a_zip_and_no_zip_make_no_project(taken: Path, tmp_path: Path, labeler: Command) -> None:
    whole = taken.read_bytes()
    torn = [whole[:at] + b"\xff" * 50 + whole[at + 50 :] for at in range(60, 1000, 100)]  # of the packed database
    for data in (whole[: len(whole) // 2], b"", b"no zip", *torn):
        taken.write_bytes(data)
        ended = labeler("restore", taken, tmp_path / "again")
        assert (ended.code, len(ended.err.splitlines())) == (1, 1), ended.err
        assert "unexpected" not in ended.err
        assert not (tmp_path / "again").exists()
    assert labeler("restore", tmp_path / "none.zip", tmp_path / "again").code == 1


def test_a_killed_backup_leaves_no_zip_and_the_next_one_clears_up(project: Project, tmp_path: Path) -> None:
    script = (
        "import os, signal, sys; from labeler import Project, backup; "
        "kill = lambda done, total: os.kill(os.getpid(), signal.SIGKILL); "
        "backup.backup(Project.open(sys.argv[1]), __import__('pathlib').Path(sys.argv[2]), kill)"
    )
    out = tmp_path / "out" / "b.zip"
    out.parent.mkdir()
    process = subprocess.run([sys.executable, "-c", script, project.folder, out], check=False)
    assert process.returncode == -9
    assert not out.exists()
    assert len(list(out.parent.iterdir())) == 1
    backup.backup(project, out)
    assert list(out.parent.iterdir()) == [out]


def test_a_backup_unzipped_by_hand_is_a_project(taken: Path, tmp_path: Path) -> None:
    shutil.unpack_archive(taken, tmp_path / "by-hand")
    with Project.open(tmp_path / "by-hand") as p:
        assert p.store.labels() == {3: 2}
        assert p.store.check() == []
