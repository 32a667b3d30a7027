"""The commands as other programs rely on them: help, reports, exit codes, and what is installed."""

import csv
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from conftest import Ended, interrupt, wait_for
from PIL import Image

from labeler import Project
from labeler.cli.base import ORDER
from model import ACQUISITIONS

Command = Callable[..., Ended]
ROOT = Path(__file__).parent.parent
QUICK = {"warm_up_steps": 6, "settle_least": 20, "settle_most": 40, "batch": 32, "labeled_batch": 16}


def test_the_help_names_every_command_and_each_has_an_example(labeler: Command) -> None:
    overview = labeler("--help")
    assert overview.code == 0
    for command in ORDER:
        assert f"\n  {command} " in overview.out
        ended = labeler(command, "--help")
        assert ended.code == 0
        assert f"Example: labeler {command} " in ended.out
    listed = [line.split()[0] for line in overview.out.partition("Commands:")[2].splitlines() if line.strip()]
    assert listed == ORDER, "a new command has a place in it"


def test_the_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from labeler.__main__ import run; run(['--help']);"
        "print([name for name in ('torch', 'gradio', 'sklearn', 'sqlalchemy', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_version_is_the_installed_one(labeler: Command) -> None:
    ended = labeler("--version")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == f"labeler {version('labeler')}\n"


def test_the_help_names_every_acquisition(labeler: Command) -> None:
    for command in ("serve", "simulate"):
        said = " ".join(labeler(command, "--help").out.split())
        assert all(name in said for name in ACQUISITIONS)


def test_usage_errors_are_sentences(labeler: Command) -> None:
    assert labeler("export", "project", "out", "--format", "xml").err == (
        "labeler: Invalid value for '--format': 'xml' is not one of 'csv', 'jsonl', 'folder'. "
        "See `labeler export --help`.\n"
    )
    assert "equal to 65535. See " in labeler("serve", "project", "--port", "70000").err


def test_classes_beyond_the_last_key_are_said_to_have_none(tmp_path: Path, labeler: Command) -> None:
    names = [f"class {i}" for i in range(33)]
    assert "no key" not in labeler("new", tmp_path / "31", "--classes", ",".join(names[:31])).out
    ended = labeler("new", tmp_path / "33", "--classes", ",".join(names))
    assert ended.code == 0
    assert "2 classes have no key" in ended.out
    assert "class 32  (no key)" in labeler("status", tmp_path / "33").out


@pytest.mark.parametrize(
    "words",
    [
        ["frobnicate"],
        ["new"],
        ["new", "project"],
        ["new", "project", "--classes", "a,,b"],
        ["new", "project", "--classes", "a,b,a"],
        ["serve", "project", "--port", "many"],
        ["serve", "project", "--acquisition", "telepathy"],
        ["export", "project", "out", "--format", "xlsx"],
        ["simulate", "source", "--out", "out", "--rng-seeds", "0,one"],
        ["simulate", "source", "--out", "out", "--rng-seeds", "-1"],
        ["regimes", "source", "--out", "out", "--rng-seeds", "0,-1"],
        ["regimes", "source", "--out", "out", "--rng-seeds", "99999999999"],
        ["simulate", "source", "--out", "out", "--budget", "0"],
        ["regimes", "source", "--out", "out", "--labels", "10,many"],
        ["regimes", "source", "--out", "out", "--labels", ""],
        ["regimes", "source", "--out", "out", "--steps", "1"],
        ["import", "project", "source", "--max-megapixels", "inf"],
        ["import", "project", "source", "--measure-share", "nan"],
        ["import", "project", "source", "--labels", "--gold"],
        ["new", "project", "--classes", "a", "--database", "mysql://host/x"],
        ["new", "project", "--classes", "a", "--database", "postgresql://:x"],
        ["restore", "backup.zip", "project", "--database", "mysql://host/x"],
        ["serve", "project", "--host", ""],
        ["overlap", "project", "--share", "nan"],
        ["generate", "project", "out", "--class", "a", "--temperature", "nan"],
        ["simulate", "source", "--out", "out", "--seconds-per-label", "inf"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_one_line_with_exit_code_2(words: list[str], labeler: Command) -> None:
    ended = labeler(*words)
    assert ended.code == 2
    assert len(ended.err.splitlines()) == 1
    assert ended.err.startswith("labeler: ")
    assert "--help" in ended.err


def test_a_project_is_made_filled_labeled_and_exported_by_commands(
    tmp_path: Path, image_folder: Path, labeler: Command
) -> None:
    folder = tmp_path / "pets"
    assert labeler("new", folder, "--classes", "cat, dog", "--class", "neither, really").code == 0

    ended = labeler("import", folder, image_folder, "--labels", "--json")
    assert ended.code == 0
    assert json.loads(ended.out) == {
        "added": 12,
        "duplicates": 0,
        "labels": 12,
        "split": "pool",
        "part": "all",
        "left_parts": {},
        "stay_in_pool": 0,
        "measure_share": None,
        "measured": 0,
        "new_classes": [],
        "rejected": [],
    }

    report = json.loads(labeler("status", folder, "--json").out)
    assert {c["name"]: c["labels"] for c in report["classes"]} == {"cat": 6, "dog": 6, "neither, really": 0}
    assert (report["name"], report["samples"], report["labeled"]) == ("pets", 12, 12)
    assert report["model"] is None

    ended = labeler("export", folder, tmp_path / "pets.csv")
    assert ended.code == 0
    with open(tmp_path / "pets.csv", encoding="utf-8", newline="") as f:
        rows = list(csv.DictReader(f))
    assert sorted((row["name"], row["class"]) for row in rows) == sorted(
        (f"{'cat' if i < 6 else 'dog'}/{i}.png", "cat" if i < 6 else "dog") for i in range(12)
    )


def test_status_in_words_tells_the_same_numbers_as_in_json(project: Project, labeler: Command) -> None:
    loop = project.loop(annotator="ann")
    for decide in (lambda q: loop.answer(q.sample_id, "dog"), lambda q: loop.skip(q.sample_id)):
        question = loop.ask()
        assert question is not None
        decide(question)

    report = json.loads(labeler("status", project.folder, "--json").out)
    words = labeler("status", project.folder).out

    assert (report["labeled"], report["skipped"], report["open"]) == (1, 1, 10)
    assert "1 of 12 images labeled" in words
    assert "skipped 1" in words
    assert "no model yet" in words
    assert "trainer: not running" in words


def test_a_second_import_of_the_same_folder_adds_nothing(
    project: Project, image_folder: Path, labeler: Command
) -> None:
    ended = labeler("import", project.folder, image_folder, "--json")
    assert ended.code == 0
    report = json.loads(ended.out)
    assert (report["added"], report["duplicates"]) == (0, 12)


def test_an_import_says_which_part_it_took_and_how_to_import_the_others(tmp_path: Path, labeler: Command) -> None:
    x = np.random.default_rng(0).integers(0, 256, (10, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "many.npz", xtr=x[:6], ytr=np.zeros(6, int), xte=x[6:], yte=np.zeros(4, int))
    labeler("new", tmp_path / "one", "--classes", "a,b")
    said = labeler("import", tmp_path / "one", tmp_path / "many.npz").out.splitlines()
    assert said[1] == "Took part train; left 4 images of part test: import them with --part test --gold"
    assert (
        len(labeler("import", tmp_path / "one", tmp_path / "many.npz", "--part", "test", "--gold").out.splitlines())
        == 1
    )
    assert len(labeler("import", tmp_path / "one", tmp_path / "many.npz").out.splitlines()) == 1

    labeler("new", tmp_path / "two", "--classes", "a,b")
    report = json.loads(labeler("import", tmp_path / "two", tmp_path / "many.npz", "--gold", "--json").out)
    assert (report["added"], report["part"], report["left_parts"]) == (4, "test", {"train": 6})
    said = labeler("import", tmp_path / "two", tmp_path / "many.npz", "--gold").out.splitlines()
    assert said[1] == "Took part test; left 6 images of part train: import them with --part train"


def test_gold_images_that_are_in_the_pool_already_are_said_to_stay_there(
    project: Project, image_folder: Path, labeler: Command
) -> None:
    ended = labeler("import", project.folder, image_folder, "--gold")
    assert ended.code == 0
    assert "12 images were in the project without --gold already" in ended.out
    assert "stay in the pool" in ended.out
    again = labeler("import", project.folder, image_folder, "--gold", "--json")
    assert json.loads(again.out)["stay_in_pool"] == 12


def test_many_left_out_files_are_listed_in_short_and_in_full_as_json(
    project: Project, tmp_path: Path, labeler: Command
) -> None:
    more = tmp_path / "more"
    more.mkdir()
    for i in range(25):
        (more / f"{i}.png").touch()
    Image.new("L", (8, 8), 7).save(more / "good.png")

    lines = labeler("import", project.folder, more).out.splitlines()
    assert len(lines) == 2 + 20 + 1
    assert "5 more" in lines[-1]
    assert len(json.loads(labeler("import", project.folder, more, "--json").out)["rejected"]) == 25


def test_check_finds_files_that_are_gone_changed_or_unreadable(project: Project, labeler: Command) -> None:
    ended = labeler("check", project.folder)
    assert (ended.code, ended.err) == (0, "")
    assert "all is well" in ended.out
    gone, changed = project.store.samples()[:2]
    (project.folder / gone.file).unlink()
    Image.new("L", (8, 8), 3).save(project.folder / changed.file)

    ended = labeler("check", project.folder, "--json")

    assert ended.code == 1
    assert len(ended.err.splitlines()) == 1
    wrong = json.loads(ended.out)["wrong"]
    assert len(wrong) == 2
    assert gone.name in wrong[0]
    assert changed.name in wrong[1]


def test_check_reads_images_that_came_in_one_array(tmp_path: Path, labeler: Command) -> None:
    np.savez(tmp_path / "many.npz", x=np.random.default_rng(0).integers(0, 256, (20, 8, 8), dtype=np.uint8))
    labeler("new", tmp_path / "project", "--classes", "a,b")
    assert labeler("import", tmp_path / "project", tmp_path / "many.npz").code == 0
    assert labeler("check", tmp_path / "project").code == 0
    with Project.open(tmp_path / "project") as p:
        pack = tmp_path / "project" / p.store.samples()[0].file
    data = bytearray(pack.read_bytes())
    data[-1] ^= 255
    pack.write_bytes(data)

    ended = labeler("check", tmp_path / "project", "--json")

    assert ended.code == 1
    assert len(json.loads(ended.out)["wrong"]) == 1


def test_check_finds_a_published_model_whose_files_are_gone(project: Project, labeler: Command) -> None:
    project.store.add_version(
        1, last_event_id=0, labels=0, steps=10, folder="models/000001", acquisition="random", metrics={}
    )
    ended = labeler("check", project.folder, "--json")
    assert ended.code == 1
    assert any("version 1" in line for line in json.loads(ended.out)["wrong"])


def test_an_export_names_missing_and_changed_originals_and_fails_after_the_rest_is_written(
    project: Project, tmp_path: Path, labeler: Command
) -> None:
    loop = project.loop()
    for sample_id in (1, 2, 3):
        loop.answer(sample_id, "cat")
    gone, changed, good = (project.store.sample(i) for i in (1, 2, 3))
    (project.folder / gone.file).unlink()
    Image.new("L", (8, 8), 3).save(project.folder / changed.file)

    ended = labeler("export", project.folder, tmp_path / "out", "--format", "folder")

    assert ended.code == 1
    assert "label 3" in ended.out
    lines = ended.err.splitlines()
    assert lines[:2] == [
        f"  {gone.name} ({gone.file}): the file is gone",
        f"  {changed.name} ({changed.file}): the file is not what was imported",
    ]
    assert lines[2].startswith("labeler: 2 labeled images are not in ")
    assert len(lines) == 3
    exported = [path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png")]
    assert exported == [good.name]

    ended = labeler("export", project.folder, tmp_path / "again", "--format", "folder", "--json")
    assert ended.code == 1
    assert len(json.loads(ended.out)["left_out"]) == 2
    for format in ("csv", "jsonl"):
        ended = labeler("export", project.folder, tmp_path / f"out.{format}", "--format", format)
        assert (ended.code, ended.err) == (0, "")


def test_an_export_into_a_folder_prints_the_file_and_refuses_to_write_it_twice(
    project: Project, tmp_path: Path, labeler: Command
) -> None:
    (tmp_path / "out").mkdir()
    assert labeler("export", project.folder, tmp_path / "out").out.startswith(f"{tmp_path}/out/labels.csv: ")
    again = labeler("export", project.folder, tmp_path / "out")
    assert again.code == 1
    assert f"{tmp_path}/out/labels.csv exists already" in again.err


def test_an_import_of_labels_tells_of_new_classes_and_that_nothing_measures(
    image_folder: Path, tmp_path: Path, labeler: Command
) -> None:
    labeler("new", tmp_path / "project", "--classes", "cat")
    said = labeler("import", tmp_path / "project", image_folder, "--labels").out
    assert "1 new class: dog." in said
    assert "none of it measures" in said
    report = json.loads(labeler("import", tmp_path / "project", image_folder, "--labels", "--json").out)
    assert (report["new_classes"], report["measured"]) == ([], 0)
    tested = tmp_path / "tested"
    labeler("new", tested, "--classes", "cat,dog")
    np.savez(tmp_path / "test.npz", x=np.random.default_rng(0).integers(0, 256, (4, 8, 8), np.uint8), y=[0, 1, 0, 1])
    labeler("import", tested, tmp_path / "test.npz", "--gold")
    assert "none of it measures" not in labeler("import", tested, image_folder, "--labels").out


def test_generate_without_a_model_or_with_an_unknown_class_says_what_to_do(
    project: Project, tmp_path: Path, labeler: Command
) -> None:
    ended = labeler("generate", project.folder, tmp_path / "out", "--class", "cat")
    assert ended.code == 1
    assert "labeler train" in ended.err
    ended = labeler("generate", project.folder, tmp_path / "out", "--class", "horse")
    assert ended.code == 1
    assert "cat, dog" in ended.err
    assert not (tmp_path / "out").exists()


def test_an_unexpected_error_is_one_line_too_and_the_traceback_is_there_on_demand(
    project: Project, labeler: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise TypeError("no such thing\nat all")

    monkeypatch.setattr("labeler.check.check", broken)
    ended = labeler("check", project.folder)
    assert ended.code == 1
    assert len(ended.err.splitlines()) == 1
    assert "TypeError" in ended.err
    monkeypatch.setenv("LABELER_TRACEBACK", "1")
    with pytest.raises(TypeError):
        labeler("check", project.folder)


def test_the_demo_and_its_trainer_run_in_a_folder_with_somebody_elses_model_and_storage(tmp_path: Path) -> None:
    for name in ("model.py", "storage.py", "labeler.py"):
        (tmp_path / name).write_text("raise SystemExit('the wrong file was imported')")
    words = [Path(sys.executable).parent / "labeler", "demo", "--dataset", "digits", "--no-browser", "--port", "0"]
    server = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        assert "http://127.0.0.1:" in server.stdout.readline()
        with Project.open(tmp_path / "labeler-demo" / "digits") as p:
            wait_for(lambda: server.poll() is not None or (p.store.process("trainer") or {}).get("alive"))
            assert p.store.counts()["pool"] == 1_297
        assert server.poll() is None
    finally:
        ended = interrupt(server)
    assert ended.code == 0
    assert ended.err.splitlines() == ["labeler: stopped. Every label is saved; the same command goes on from here."]


def test_the_wheel_holds_the_three_packages_with_their_data_and_no_tests(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for name in ("labeler", "model", "storage", "tests"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree / name)
    build = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", build, str(tmp_path)], cwd=tree, capture_output=True, text=True, check=True
    )
    with zipfile.ZipFile(tmp_path / done.stdout.splitlines()[-1]) as wheel:
        held = {name for name in wheel.namelist() if ".dist-info/" not in name}

    assert {name.split("/")[0] for name in held} == {"labeler", "model", "storage"}
    ours = {
        file.relative_to(ROOT).as_posix()
        for package in ("labeler", "model", "storage")
        for file in (ROOT / package).rglob("*")
        if file.is_file() and file.suffix not in (".pyc", ".pyi")
    }
    assert held == ours


def test_a_model_is_trained_and_draws_by_commands(
    tmp_path: Path, digits: tuple[np.ndarray, np.ndarray], labeler: Command
) -> None:
    folder, out = tmp_path / "project", tmp_path / "out"
    images, labels = digits
    np.savez(tmp_path / "labeled.npz", x=images[:60], y=labels[:60].astype(str))
    assert labeler("new", folder, "--classes", ",".join(map(str, range(10)))).code == 0
    assert labeler("import", folder, tmp_path / "labeled.npz", "--labels").code == 0
    with Project.open(folder) as p:
        p.store.set_setting("learner", QUICK)
        p.store.set_setting("map", False)

    ended = labeler("train", folder, "--until-settled")
    assert (ended.code, ended.err) == (0, "")
    model = json.loads(labeler("status", folder, "--json").out)["model"]
    assert model["labels"] == 60
    assert f"model version {model['version']}, learned from 60 labels" in labeler("status", folder).out

    ended = labeler("generate", folder, out, "--class", "7", "-n", "3", "--json")
    assert ended.code == 0
    assert json.loads(ended.out)["files"] == [str(out / f"0000{i}.png") for i in range(3)]
    drawn = [np.asarray(Image.open(file)) for file in sorted(out.glob("*.png"))]
    assert [(image.shape, image.dtype) for image in drawn] == [((8, 8), np.uint8)] * 3

    again = labeler("generate", folder, out, "--class", "7")
    assert again.code == 1
    assert "empty" in again.err
    assert sorted(out.iterdir()) == [*(out / f"0000{i}.png" for i in range(3)), out / "manifest.json"]

    assert labeler("check", folder).code == 0
    (folder / "models" / f"{model['version']:06d}" / "probs.npy").write_bytes(b"torn")
    ended = labeler("check", folder)
    assert ended.code == 1
    assert "probs.npy" in ended.out


def test_names_of_files_and_people_give_a_terminal_no_commands(tmp_path: Path, labeler: Command) -> None:
    source, folder = tmp_path / "source", tmp_path / "p"
    bad = "\x1b]0;owned\x07\x9b31m\n\u202e"
    for name in (f"{bad}.png", f"{bad}.txt"):
        (source / f"{bad}dir" / name).parent.mkdir(parents=True, exist_ok=True)
        (source / f"{bad}dir" / name).write_text("no image")
    Image.fromarray(np.eye(8, dtype=np.uint8)).save(source / f"{bad}dir" / f"{bad}.png")
    rose = "rosé 🐈\u200d⬛"
    Project.create(folder, [rose]).close()
    ended = [labeler("import", folder, source, "--no-copy"), labeler("import", folder, source / f"{bad}dir", "--gold")]
    with Project.open(folder) as p:
        p.loop(f"an{bad}n").answer(1, 0)
        p.loop(f"bo{bad}b").answer(1, 0)
        p.classes.set_guideline(rose, "a\ttab", [1], "ann")
    (source / f"{bad}dir" / f"{bad}.png").unlink()
    ended += [labeler(*words) for words in (
        ("status", folder), ("check", folder), ("log", folder), ("log", folder, "--sample", bad),
        ("log", folder, "--annotator", bad), ("export", folder, tmp_path / "out", "--format", "folder"),
        ("backup", folder, tmp_path / "b.zip"), ("classes", folder), ("classes", "guideline", folder, rose),
        ("classes", "rename", folder, bad, "x"), ("generate", folder, tmp_path / "drawn", "--class", bad),
        ("import", folder, tmp_path / bad),
    )]  # fmt: skip
    assert sum("�]0;owned" in one.out + one.err for one in ended) == 9  # others quote or leave it
    for one in ended:
        assert not set(one.out + one.err) & (set(bad) - set("\n]0;owned31m")), one
        assert len(one.err.splitlines()) <= 2, one
    assert rose in ended[2].out
    assert "a       tab\n" in ended[10].out


def test_the_help_of_regimes_says_that_supervised_takes_other_steps(labeler: Command) -> None:
    assert "`supervised` takes as many as follow the warm-up" in " ".join(labeler("regimes", "--help").out.split())


def test_simulate_without_true_labels_says_what_it_needs(
    tmp_path: Path, digits: tuple[np.ndarray, np.ndarray], labeler: Command
) -> None:
    np.savez(tmp_path / "unlabeled.npz", x=digits[0][:30])
    ended = labeler("simulate", tmp_path / "unlabeled.npz", "--budget", "10", "--out", tmp_path / "out")
    assert ended.code == 1
    assert len(ended.err.splitlines()) == 1
    assert "no labeled source" in ended.err


def test_a_long_command_shows_a_bar_on_a_terminal_and_keeps_its_report_clean(
    project: Project, image_folder: Path, labeler: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # what tells rich that it writes to a terminal
    ended = labeler("import", project.folder, image_folder, "--json")
    assert "Importing" in ended.err
    assert json.loads(ended.out)["duplicates"] == 12
