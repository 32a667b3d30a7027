"""What people bring to the door: each time the line that is said, the exit code, and that nothing was lost."""

import json
import os
import shutil
import socket
import sqlite3
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from conftest import Ended, end, interrupt, noise_image, start, wait_for
from PIL import Image

from labeler import Project

Command = Callable[..., Ended]


def png(folder: Path, name: str) -> Path:
    file = folder / name
    Image.fromarray(noise_image(99)).save(file)
    return file


def corrupt(folder: Path, name: str) -> None:
    file = png(folder, name)
    data = bytearray(file.read_bytes())
    middle = data.index(b"IDAT") + 6
    data[middle : middle + 40] = bytes(40)
    file.write_bytes(data)


def truncated(folder: Path, name: str) -> None:
    file = folder / name
    Image.fromarray(noise_image(99, side=64)).save(file)
    file.write_bytes(file.read_bytes()[:-700])


def without_pixels(folder: Path, name: str) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 0, 0, 8, 0, 0, 0, 0)  # 0 x 0 pixels
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    (folder / name).write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def zero_bytes(folder: Path, name: str) -> None:
    (folder / name).touch()


def text(folder: Path, name: str) -> None:
    (folder / name).write_text("Dear colleague, the images are on the other disk.")


def hundred_megapixels(folder: Path, name: str) -> None:
    Image.new("1", (10_000, 10_000)).save(folder / name)


def bomb(folder: Path, name: str) -> None:
    Image.new("1", (20_000, 20_000)).save(folder / name)  # 50 kilobytes that would unpack to 400 megabytes


BAD_FILES = [
    (corrupt, "corrupt.png", ""),
    (truncated, "truncated.png", ""),
    (truncated, "truncated.jpg", ""),
    (without_pixels, "empty.png", ""),
    (zero_bytes, "zero.png", "empty"),
    (text, "letter.png", "not an image"),
    (hundred_megapixels, "scan.png", "megapixels"),
    (bomb, "bomb.png", "megapixels"),
]


@pytest.mark.parametrize(("spoil", "name", "reason"), BAD_FILES, ids=[name for _, name, _ in BAD_FILES])
def test_a_file_that_is_no_usable_image_is_left_out_counted_and_listed(
    spoil: Callable[[Path, str], None], name: str, reason: str, project: Project, tmp_path: Path, labeler: Command
) -> None:
    label_one(project, "cat")
    more = tmp_path / "more"
    more.mkdir()
    png(more, "good.png")
    spoil(more, name)

    ended = labeler("import", project.folder, more)

    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[0].startswith("Added 1 image ")
    assert lines[1].startswith("Left out 1 file")
    assert lines[2].strip().startswith(f"{name}: ")
    assert reason in lines[2]
    assert len(lines) == 3
    assert_labels(project.folder, {"cat": 1})
    assert labeler("check", project.folder).code == 0


def test_a_source_in_which_nothing_is_usable_is_a_failure_that_says_why(
    project: Project, tmp_path: Path, labeler: Command
) -> None:
    more = tmp_path / "more"
    more.mkdir()
    text(more, "letter.png")

    ended = labeler("import", project.folder, more)

    assert ended.code == 1
    assert_one_line(ended, "letter.png")
    assert labeler("check", project.folder).code == 0


def test_a_source_without_any_image_says_so(project: Project, tmp_path: Path, labeler: Command) -> None:
    (tmp_path / "more").mkdir()
    ended = labeler("import", project.folder, tmp_path / "more")
    assert ended.code == 1
    assert_one_line(ended, "more")


def test_a_source_that_is_not_there_says_so(project: Project, tmp_path: Path, labeler: Command) -> None:
    ended = labeler("import", project.folder, tmp_path / "nowhere")
    assert ended.code == 1
    assert_one_line(ended, "nowhere")


def test_an_unreadable_folder_inside_a_source_is_listed_and_the_rest_is_imported(
    project: Project, tmp_path: Path
) -> None:
    more = tmp_path / "more"
    (more / "locked").mkdir(parents=True)
    png(more, "good.png")
    png(more / "locked", "hidden.png")
    with mode(more / "locked", 0o000):
        ended = end(start("import", project.folder, more, unprivileged=True))

    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("Added 1 image ")
    assert "  locked: " in ended.out


def test_an_unreadable_source_is_refused_in_one_line(project: Project, tmp_path: Path) -> None:
    more = tmp_path / "more"
    more.mkdir()
    png(more, "good.png")
    with mode(more, 0o000):
        ended = end(start("import", project.folder, more, unprivileged=True))

    assert ended.code == 1
    assert_one_line(ended, "more")


def test_a_read_only_place_is_refused_in_one_line_and_nothing_is_left_behind(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    with mode(place, 0o555):
        ended = end(start("new", place / "project", "--classes", "a,b", unprivileged=True))

    assert ended.code == 1
    assert_one_line(ended, str(place))
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("command", [("import", "SOURCE"), ("serve", "--no-browser", "--port", "0"), ("status",)])
def test_a_read_only_project_is_refused_in_one_line_and_keeps_its_labels(
    command: tuple[str, ...], project: Project, image_folder: Path
) -> None:
    label_one(project, "cat")
    project.store.close()
    words = [image_folder if word == "SOURCE" else word for word in command[1:]]
    with mode(project.folder, 0o555), mode(project.folder / "labels.db", 0o444):
        ended = end(start(command[0], project.folder, *words, unprivileged=True))

    assert ended.code == 1
    assert_one_line(ended, str(project.folder))
    assert_labels(project.folder, {"cat": 1})


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["", "cat"], "empty"),
        (["   ", "cat"], "empty"),
        (["cat", "dog", "cat"], "cat"),
        (["caf\u00e9", "cafe\u0301"], "caf\u00e9"),
        (["cat\ndog"], "control character"),
    ],
    ids=["empty", "blank", "twice", "twice in two spellings", "two lines"],
)
def test_class_names_that_cannot_be_read_or_told_apart_are_refused_and_make_no_project(
    names: list[str], says: str, tmp_path: Path, labeler: Command
) -> None:
    ended = labeler("new", tmp_path / "project", *(word for name in names for word in ("--class", name)))

    assert ended.code == 2
    assert_one_line(ended, says)
    assert not (tmp_path / "project").exists()


AWKWARD = {
    "case": ["cat", "Cat", "CAT"],
    "slashes": ["a/b", "a\\b", "../up", "/etc", "..", "."],
    "quotes": ['"it\'s"', "it's", "`ls`", "${HOME}", "a,b"],
    "emoji": ["🐱", "🐶 dog", "naïve", "猫"],
    "300 characters": ["x" * 300, "x" * 299 + "y", "猫" * 300],
    "names of devices": ["CON", "con", "nul", "aux.txt", "trailing.", "trailing"],
}


@pytest.mark.parametrize("names", AWKWARD.values(), ids=AWKWARD.keys())
def test_the_folder_export_is_right_whatever_the_classes_are_called(
    names: list[str], image_folder: Path, tmp_path: Path, labeler: Command
) -> None:
    folder, out = tmp_path / "project", tmp_path / "out"
    made = labeler("new", folder, *(word for name in names for word in ("--class", name)))
    assert (made.code, made.err) == (0, "")
    given: dict[bytes, str] = {}
    with Project.open(folder) as p:
        p.import_(image_folder, measure_share=0)
        loop = p.loop(annotator="ann")
        for name in names:
            question = loop.ask()
            assert question is not None
            loop.answer(question.sample_id, name)
            given[(folder / p.store.sample(question.sample_id).file).read_bytes()] = name

    ended = labeler("export", folder, out, "--format", "folder")

    assert (ended.code, ended.err) == (0, "")
    class_of = {row["folder"]: row["name"] for row in json.loads((out / "classes.json").read_text("utf-8"))["classes"]}
    exported = {
        file.read_bytes(): class_of[sub.name] for sub in out.iterdir() if sub.is_dir() for file in sub.iterdir()
    }
    assert exported == given
    assert len({sub.casefold() for sub in class_of}) == len(names), "two classes would share a folder on some systems"
    assert {path.parent for path in out.rglob("*") if path.is_dir()} <= {out}


def test_a_port_in_use_is_named_and_another_one_suggested(project: Project, labeler: Command) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        ended = labeler("serve", project.folder, "--port", port, "--no-browser", "--no-trainer")

    assert ended.code == 1
    assert_one_line(ended, str(port))
    assert "--port" in ended.err


def test_a_second_server_on_a_project_is_sent_to_the_first_which_goes_on_until_interrupted(
    project: Project, labeler: Command
) -> None:
    label_one(project, "cat")
    first = start("serve", project.folder, "--port", 0, "--no-browser", "--no-trainer")
    try:
        assert first.stdout is not None
        url = next(word for word in first.stdout.readline().split() if word.startswith("http://"))

        second = labeler("serve", project.folder, "--port", 0, "--no-browser", "--no-trainer")

        assert second.code == 1
        assert_one_line(second, url.rstrip("/"))
        assert first.poll() is None
    finally:
        ended = interrupt(first)
    assert ended.code == 0
    assert_one_line(ended, "stopped")
    assert_labels(project.folder, {"cat": 1})


@pytest.mark.parametrize("content", ["another program", "text", "nothing", "damaged"])
def test_a_database_that_is_not_ours_is_refused_and_left_as_it_was(
    content: str, project: Project, tmp_path: Path, labeler: Command
) -> None:
    database = tmp_path / "other" / "labels.db"
    database.parent.mkdir()
    if content == "another program":
        with sqlite3.connect(database) as db:
            db.execute("CREATE TABLE recipes (name TEXT)")
        db.close()
    elif content == "damaged":
        project.store.close()
        shutil.copy(project.folder / "labels.db", database)
        with open(database, "r+b") as f:
            f.seek(100)
            f.write(b"\xff" * 4000)
    else:
        database.write_text({"text": "no database at all, " * 100, "nothing": ""}[content])
    before = database.read_bytes()

    for command in (["status"], ["serve", "--port", "0", "--no-browser"], ["export", tmp_path / "out.csv"]):
        ended = labeler(command[0], database.parent, *command[1:])
        assert ended.code == 1
        assert_one_line(ended, str(database.parent))
    assert database.read_bytes() == before
    assert not (tmp_path / "out.csv").exists()


def test_a_folder_that_is_no_project_says_how_to_make_one(tmp_path: Path, labeler: Command) -> None:
    for command in ("status", "check", "serve", "train"):
        ended = labeler(command, tmp_path)
        assert ended.code == 1
        assert_one_line(ended, "labeler new")


def test_a_project_is_never_made_over_another_one(project: Project, labeler: Command) -> None:
    label_one(project, "dog")
    ended = labeler("new", project.folder, "--classes", "a,b")
    assert ended.code == 1
    assert_one_line(ended, str(project.folder))
    assert_labels(project.folder, {"dog": 1})


def test_an_import_interrupted_at_any_moment_keeps_what_it_said_and_the_next_one_completes_it(tmp_path: Path) -> None:
    source, folder = tmp_path / "many.npz", tmp_path / "project"
    images = np.random.default_rng(0).integers(0, 256, (60_000, 8, 8), dtype=np.uint8)
    np.savez(source, x=images)
    Project.create(folder, ["a", "b"]).close()
    with Project.open(folder) as p:
        had, halfway = 0, 0
        for delay in (0.05, 0.2, 0.4, None, None):  # None: as soon as some more images are in
            process = start("import", folder, source)
            if delay is None:
                wait_for(lambda had=had, process=process: n_samples(p) > had or process.poll() is not None, every=0.005)
            time.sleep(delay or 0)
            ended = interrupt(process)
            assert ended.code in (0, 130)
            if ended.code == 130:
                assert_one_line(ended, "stopped")
            assert p.store.check() == []
            now = n_samples(p)
            assert now >= had
            halfway += had < now < len(images)
            had = now
        assert halfway > 0, "no interrupt came in the middle of an import"

    assert end(start("import", folder, source)).code == 0
    with Project.open(folder) as p:
        assert n_samples(p) == len(images)
    checked = end(start("check", folder))
    assert checked.code == 0, checked


def n_samples(project: Project) -> int:
    return int(project.store.counts()["samples"])


@pytest.mark.parametrize("command", ["new", "status", "export", "check"])
def test_a_short_command_interrupted_at_any_moment_says_so_in_one_line(
    command: str, project: Project, tmp_path: Path, labeler: Command
) -> None:
    label_one(project, "cat")
    codes = []
    for i, delay in enumerate((0.05, 0.15, 0.4)):
        words = {
            "new": [tmp_path / f"new-{i}", "--classes", "a,b"],
            "status": [project.folder],
            "export": [project.folder, tmp_path / f"out-{i}", "--format", "folder"],
            "check": [project.folder],
        }[command]
        process = start(command, *words)
        time.sleep(delay)
        ended = interrupt(process)
        codes.append(ended.code)
        if ended.code == 130:
            assert_one_line(ended, "stopped")
            assert labeler(command, *words).code == 0
    assert set(codes) <= {0, 130}
    assert 130 in codes, "none was interrupted"
    assert_labels(project.folder, {"cat": 1})


@pytest.mark.parametrize("delay", [0.05, 0.5, 1.5])
def test_a_server_interrupted_before_it_is_ready_ends_as_one_that_is(delay: float, project: Project) -> None:
    label_one(project, "cat")
    process = start("serve", project.folder, "--port", 0, "--no-browser", "--no-trainer")
    time.sleep(delay)
    ended = interrupt(process)
    assert ended.code == 0
    assert_one_line(ended, "stopped")
    assert_labels(project.folder, {"cat": 1})


IN_A_DESTRUCTOR = """
class Fragile:
    def __del__(self):
        print("up", flush=True)
        time.sleep(10)

@labeler.cli.app.command()
def hang():
    Fragile()
    time.sleep(20)
"""
MADE_ANOTHER_ERROR = """
@labeler.cli.app.command()
def hang():
    print("up", flush=True)
    try:
        time.sleep(20)
    except KeyboardInterrupt as interrupt:  # as pydantic does while it builds a schema
        raise RuntimeError("a schema could not be built") from interrupt
"""


@pytest.mark.parametrize("hang", [IN_A_DESTRUCTOR, MADE_ANOTHER_ERROR], ids=["in a destructor", "made another error"])
def test_an_interrupt_that_others_swallow_is_not_lost(hang: str) -> None:
    code = f"import sys, time, labeler.cli\n{hang}\nsys.argv = ['labeler', 'hang']\nsys.exit(labeler.__main__.main())"
    code = f"import labeler.__main__\n{code}"
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    ended = interrupt(process)
    assert ended.code == 130
    assert_one_line(ended, "stopped")


def test_a_second_trainer_is_refused_in_one_sentence_that_names_the_first(project: Project, labeler: Command) -> None:
    project.store.hold("trainer", "somebody", {"phase": "idle"})
    ended = labeler("train", project.folder)
    assert ended.code == 1
    assert_one_line(ended, f"process {os.getpid()} on ")
    assert ended.err.startswith("labeler: This project already has a running trainer: ")
    assert "(" not in ended.err


def test_a_long_class_name_is_shortened_wherever_it_is_said(tmp_path: Path, labeler: Command) -> None:
    folder, name = tmp_path / "project", "x" * 300
    assert labeler("new", folder, "--class", name, "--class", "cat").code == 0
    for ended in (
        labeler("status", folder),
        labeler("generate", folder, tmp_path / "out", "--class", "horse"),
        labeler("generate", folder, tmp_path / "out", "--class", "y" * 300),
        labeler("new", tmp_path / "other", "--class", name, "--class", name),
    ):
        assert "x" * 50 in ended.out + ended.err
        assert "x" * 61 not in ended.out + ended.err
        assert "y" * 61 not in ended.out + ended.err
    assert json.loads(labeler("status", folder, "--json").out)["classes"][0]["name"] == name


def test_a_trainer_interrupted_at_work_says_so_in_one_line(project: Project) -> None:
    process = start("train", project.folder)
    wait_for(lambda: (project.store.process("trainer") or {}).get("alive"))
    time.sleep(0.5)
    ended = interrupt(process)
    assert ended.code == 130
    assert_one_line(ended, "stopped")
    assert project.store.check() == []


def label_one(project: Project, name: str) -> None:
    loop = project.loop(annotator="ann")
    question = loop.ask()
    assert question is not None
    loop.answer(question.sample_id, name)


def assert_labels(folder: Path, expected: dict[str, int]) -> None:
    """The labels are these, as `labeler status` will tell, and the database is sound."""
    with Project.open(folder) as p:
        assert p.store.check() == []
        names = {c.id: c.name for c in p.store.classes()}
        assert {names[c]: n for c, n in p.store.counts()["per_class"].items() if n} == expected


def assert_one_line(ended: Ended, says: str) -> None:
    assert_no_traceback(ended)
    assert len(ended.err.splitlines()) == 1, ended.err
    assert ended.err.startswith("labeler: "), ended.err
    assert says in ended.err, ended.err
    assert "unexpected" not in ended.err, ended.err


def assert_no_traceback(ended: Ended) -> None:
    assert "Traceback" not in ended.err + ended.out, ended.err + ended.out
    assert "Exception ignored" not in ended.err, ended.err


@contextmanager
def mode(path: Path, bits: int) -> Iterator[None]:
    """Permissions for a while, given back at the end so that the folder can be deleted."""
    before = path.stat().st_mode
    os.chmod(path, bits)
    try:
        yield
    finally:
        os.chmod(path, before)


def test_setpriv_really_takes_the_rights_away(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir()
    with mode(tmp_path / "locked", 0o000):
        without = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
        assert subprocess.run([*without, "ls", tmp_path / "locked"], capture_output=True, check=False).returncode != 0
