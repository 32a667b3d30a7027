"""`labeler classes` and Project.classes: every change by name, in words and as JSON, errors as one line."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Ended

from labeler import Project

Command = Callable[..., Ended]
COMMANDS = [
    *("list", "add", "rename", "recolour", "key", "reorder", "archive", "restore", "merge", "unmerge", "split"),
    "guideline",
]


@pytest.fixture
def labeled(project: Project) -> Project:
    """Samples 1 to 4 are cats, 5 and 6 dogs."""
    loop = project.loop("ann")
    for sample_id in range(1, 7):
        loop.answer(sample_id, "cat" if sample_id < 5 else "dog")
    return project


def shown(project: Project) -> list[tuple[str, str, str, int]]:
    from labeler.classes import listed

    return [(c["name"], c["key"], c["status"], c["labels"]) for c in listed(project.store)]


def test_every_change_has_a_help_with_an_example(labeler: Command) -> None:
    overview = labeler("classes", "--help")
    assert overview.code == 0
    assert "Example: labeler classes flowers" in overview.out
    for command in COMMANDS:
        assert f"\n  {command} " in overview.out
        ended = labeler("classes", command, "--help")
        assert ended.code == 0
        assert "Example: labeler classes " in ended.out


def test_the_classes_are_listed_in_words_and_as_json(labeled: Project, labeler: Command) -> None:
    assert "4  cat  (key 1, #4477aa)" in labeler("classes", labeled.folder).out
    reports = [labeler("classes", *words).out for words in ([labeled.folder, "--json"], ["--json", labeled.folder])]
    assert reports[0] == reports[1] == labeler("classes", "list", labeled.folder, "--json").out
    assert json.loads(reports[0])["classes"][1] == {
        "id": 2, "name": "dog", "key": "2", "colour": "#ee6677", "status": "active", "merged_into": None,
        "labels": 2, "gold": 0, "guideline": "", "examples": [],
    }  # fmt: skip


def test_the_project_may_stand_before_the_command(labeled: Project, labeler: Command) -> None:
    ended = labeler("classes", labeled.folder, "rename", "cat", "tiger")
    assert (ended.code, ended.err) == (0, "")
    assert shown(labeled)[0][0] == "tiger"


def test_classes_are_changed_by_commands(labeled: Project, labeler: Command) -> None:
    def classes(*words: object) -> str:
        ended = labeler("classes", words[0], labeled.folder, *words[1:])
        assert (ended.code, ended.err) == (0, ""), ended.err
        return ended.out

    assert classes("add", "owl", "fox") == "Added 2 classes: owl (3), fox (4).\n"
    assert classes("rename", "owl", "barn owl") == "'owl' is named 'barn owl' now.\n"
    classes("recolour", "fox", "#FF8800")
    assert classes("key", "fox", "1") == "Keys now: cat (4), dog (2), barn owl (3), fox (1).\n"
    assert classes("reorder", "fox", "dog", "--keys") == "In order: fox (1), dog (2), cat (3), barn owl (4).\n"
    assert (
        classes("merge", "dog", "fox", "--into", "cat") == "'dog', 'fox' merged into 'cat', which has 6 labels now.\n"
    )
    assert classes("archive", "cat").startswith("Archived 'cat'; 6 labels set aside in all.")
    assert shown(labeled) == [
        ("barn owl", "4", "active", 0),
        ("fox", "1", "merged", 0),
        ("dog", "2", "merged", 2),
        ("cat", "3", "archived", 4),
    ]
    assert classes("restore", "cat") == "In use again: cat (3).\n"
    assert classes("unmerge", "dog", "--annotator", "bob") == "On their own again: dog (2).\n"
    told = classes("split", "cat", "kitten", "--samples", "1,3")
    assert told == "'kitten' (key 5) has 2 labels that were 'cat'.\n"
    assert shown(labeled) == [
        ("dog", "2", "active", 2),
        ("cat", "3", "active", 2),
        ("barn owl", "4", "active", 0),
        ("kitten", "5", "active", 2),
        ("fox", "1", "merged", 0),
    ]
    assert {e.annotator for e in labeled.store.class_events() if e.kind == "unmerge"} == {"bob"}
    assert labeled.store.check() == []


def test_a_split_takes_a_list_of_ids_and_names_and_tells_the_group(
    labeled: Project, labeler: Command, tmp_path: Path
) -> None:
    chosen = tmp_path / "chosen.txt"
    chosen.write_text(f"1\n\n  {labeled.store.sample(2).name}  \n", encoding="utf-8")
    ended = labeler("classes", "split", labeled.folder, "cat", "kitten", "--list", chosen, "--json")
    report = json.loads(ended.out)
    assert report["moved"] == 2
    moved = [e.sample_id for e in labeled.store.events() if e.group_id == report["group_id"]]
    assert moved == [1, 2]
    chosen.write_text("no such image", encoding="utf-8")
    ended = labeler("classes", "split", labeled.folder, "dog", "puppy", "--list", chosen)
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert "no sample named 'no such image'" in ended.err


def test_a_guideline_is_written_shown_and_told_by_the_log(labeled: Project, labeler: Command, tmp_path: Path) -> None:
    def guideline(*words: object) -> str:
        ended = labeler("classes", "guideline", labeled.folder, *words)
        assert (ended.code, ended.err) == (0, ""), ended.err
        return ended.out

    assert guideline("cat").startswith("No guideline says what 'cat' is.")
    name = labeled.store.sample(2).name
    told = guideline("cat", "Whiskers.\nPurrs.", "--examples", "2,1", "--annotator", "rita")
    assert told == f"Whiskers.\nPurrs.\n  example 2  {name}\n  example 1  {labeled.store.sample(1).name}\n"
    labeled.loop("ann").answer(1, "dog")
    assert "example 1  " in guideline("cat")
    assert json.loads(guideline("cat", "--json")) == {
        "class": "cat", "text": "Whiskers.\nPurrs.", "examples": [2, 1], "shown": [2],
    }  # fmt: skip
    assert ", guideline)" in labeler("classes", labeled.folder).out.splitlines()[0]
    (tmp_path / "cat.txt").write_text("Meows.\r\n", encoding="utf-8")
    assert guideline("cat", "--file", tmp_path / "cat.txt", "--examples", "") == "Meows.\n"

    lines = labeler("log", labeled.folder, "--limit", "3").out.splitlines()
    assert lines[0].endswith("class guideline  cat  6 characters, 0 examples")
    assert lines[2].endswith("rita  class guideline  cat  16 characters, 2 examples")
    first = json.loads(labeler("log", labeled.folder, "--json").out.splitlines()[0])
    assert (first["kind"], first["class"], first["text"], first["examples"]) == ("class guideline", "cat", "Meows.", [])


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["add", "P", " "],
        ["add", "P", "owl", "owl"],
        ["rename", "P", "cat", ""],
        ["recolour", "P", "cat", "red"],
        ["key", "P", "cat", "s"],
        ["merge", "P", "cat"],
        ["split", "P", "cat", "kitten"],
        ["split", "P", "cat", "kitten", "--samples", "one"],
        ["split", "P", "cat", "kitten", "--samples", "1", "--list", "file"],
        ["guideline", "P", "cat", "x", "--file", "file"],
        ["guideline", "P", "cat", "x" * 4001],
        ["guideline", "P", "cat", "--examples", "one"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_one_line_with_exit_code_2(words: list[str], labeler: Command) -> None:
    ended = labeler("classes", *words)
    assert ended.code == 2
    assert len(ended.err.splitlines()) == 1
    assert "--help" in ended.err


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["rename", "bird", "owl"], "There is no class 'bird'; the classes are cat, dog."),
        (["rename", "cat", "dog"], "There is a class 'dog' already"),
        (["add", "cat"], "there twice"),
        (["merge", "cat", "--into", "cat"], "into itself"),
        (["unmerge", "cat"], "nothing to unmerge"),
        (["restore", "cat"], "nothing to restore"),
        (["split", "cat", "kitten", "--samples", "5"], "not labeled 'cat', first sample 5"),
        (["split", "cat", "kitten", "--list", "nowhere.txt"], "nowhere.txt"),
        (["guideline", "cat", "--examples", "5"], "Sample 5 is not labeled 'cat'"),
        (["guideline", "bird"], "There is no class 'bird'"),
        (["guideline", "cat", "--file", "nowhere.txt"], "nowhere.txt"),
    ],
)
def test_what_this_project_cannot_do_is_one_line_with_exit_code_1(
    words: list[str], reason: str, labeled: Project, labeler: Command
) -> None:
    before = shown(labeled)
    ended = labeler("classes", words[0], labeled.folder, *words[1:])
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert reason in ended.err
    assert shown(labeled) == before


def test_a_name_means_the_class_in_use_and_restore_the_newest_archived_one(labeled: Project) -> None:
    classes = labeled.classes
    classes.archive(["dog"])
    classes.add(["dog"])
    assert classes.id("dog") == 3
    classes.archive(["dog"])
    assert classes.id("dog") == 3
    classes.restore(["dog"])
    assert [one.id for one in labeled.store.classes()] == [1, 3]
    classes.archive(["dog"])
    classes.rename(3, "second dog")
    classes.restore(["dog"])
    assert [one.id for one in labeled.store.classes()] == [1, 2]


def test_gold_images_are_counted_with_what_their_class_counts_as(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "gold.npz", x=images, y=np.array(["a", "a", "b", "c", "c", "c"]))
    with Project.create(tmp_path / "p", ["a", "b", "c"]) as p:
        p.import_(tmp_path / "gold.npz", gold=True)
        p.classes.merge(["b"], into="a")
        from labeler.classes import listed

        assert [(c["name"], c["gold"]) for c in listed(p.store)] == [("a", 3), ("c", 3), ("b", 1)]


def test_answers_and_imports_by_the_name_of_a_merged_class_count_as_the_other(
    labeled: Project, image_folder: Path
) -> None:
    labeled.classes.merge(["dog"], into="cat")
    labeled.loop().answer(12, "dog")
    report = labeled.import_(image_folder, labels=True)
    assert report.labels == 5
    assert [one.name for one in labeled.store.classes(archived=True)] == ["cat", "dog"]
    assert set(labeled.store.labels().values()) == {1}
    labeled.classes.unmerge(["dog"])
    assert labeled.store.labels()[12] == 2


def test_names_that_differ_by_capital_letters_alone_and_gold_images_that_stay_are_told(
    labeled: Project, tmp_path: Path, labeler: Command
) -> None:
    note = "Note that 'cat' and 'Cat' differ by capital letters alone."
    assert note in labeler("new", tmp_path / "new one", "--classes", "cat,Cat").out
    added = labeler("classes", "add", labeled.folder, "Cat")
    assert (added.code, added.out.count(note)) == (0, 1)
    assert note not in labeler("classes", "add", labeled.folder, "owl").out, "said once"
    np.savez(
        tmp_path / "gold.npz", x=np.full((2, 8, 8), 7, np.uint8) + np.arange(2, dtype=np.uint8)[:, None, None], y=[0, 0]
    )
    labeled.import_(tmp_path / "gold.npz", gold=True)
    split = labeler("classes", "split", labeled.folder, "cat", "kitten", "--samples", "1,2")
    assert "Its gold images stay 'cat': 2." in split.out


def test_a_command_to_be_copied_is_one_that_a_shell_takes(tmp_path: Path, labeler: Command) -> None:
    folder = tmp_path / "it's mine; really"
    told = labeler("new", folder, "--classes", "cat").out
    words = shlex.split(told.partition("Next: ")[2])
    assert words == ["labeler", "import", str(folder), "SOURCE"]
