"""A torn labels.db: what check says of it, and the project that is made of what can be read."""

import json
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest
from conftest import Ended
from pages import small_project

from labeler import Project
from storage import NewEvent
from storage.salvage import KEPT, faults

PAGE = 4096
N = 600
Command = Callable[..., Ended]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of 600 labeled images, closed, with many pages in each table."""
    with small_project(tmp_path_factory.mktemp("salvage") / "flowers", n=N) as p:
        for i in range(1, N + 1):
            p.store.record([NewEvent(f"label {i} " + 60 * "x", "label", i, i % 10 + 1, f"ann {i % 2}", "tab")])
        p.store.add_version(1, 5, 5, 0, "models/000001", "random", {})
        p.store.merge_classes([2], into=1)
        return p.folder


@pytest.fixture
def torn(whole: Path, tmp_path: Path) -> Path:
    """To be torn: `tear` does it."""
    folder = tmp_path / "flowers"
    for file in whole.rglob("*"):
        if file.is_file() and file.suffix not in (".db-wal", ".db-shm"):
            (folder / file.relative_to(whole)).parent.mkdir(parents=True, exist_ok=True)
            (folder / file.relative_to(whole)).write_bytes(file.read_bytes())
    return folder


def leaves(path: Path, table: str) -> list[int]:
    """Numbers of the pages that hold the rows of a table."""
    with closing(sqlite3.connect(path)) as db:
        (root,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    data = path.read_bytes()
    found, todo = [], [root]
    while todo:
        number = todo.pop()
        page = data[(number - 1) * PAGE : number * PAGE]
        if page[0] == 13:
            found.append(number)
            continue
        assert page[0] == 5
        cells = [int.from_bytes(page[12 + 2 * i : 14 + 2 * i], "big") for i in range(int.from_bytes(page[3:5], "big"))]
        children = [int.from_bytes(page[at : at + 4], "big") for at in cells]
        todo += [int.from_bytes(page[8:12], "big"), *reversed(children)]
    return found


def tear(folder: Path, *pages: int) -> None:
    with (folder / "labels.db").open("r+b") as file:
        for number in pages:
            file.seek((number - 1) * PAGE)
            file.write(b"\xff" * PAGE)


def test_check_says_what_is_torn_what_can_be_read_and_what_to_do(torn: Path, labeler: Command) -> None:
    pages = leaves(torn / "labels.db", "events")
    assert len(pages) > 10
    tear(torn, pages[3], pages[7], pages[8])
    before = (torn / "labels.db").read_bytes()
    ended = labeler("check", torn)
    assert ended.code == 1
    assert ended.out.startswith("SQLite: ")
    assert re.search(r"^events: [45]\d\d rows can be read, and in 2 places there were more$", ended.out, re.M), (
        ended.out
    )
    assert f"samples: {N} rows can be read\n" in ended.out
    assert f"labeler check {torn} --salvage FOLDER" in ended.out
    assert ended.err.count("\n") == 1
    assert json.loads(labeler("check", torn, "--json").out)["ok"] is False
    assert "labeler check" in labeler("export", torn, torn.parent / "x.csv").err, "any other command names check"
    assert (torn / "labels.db").read_bytes() == before


def test_every_event_outside_of_what_is_torn_is_in_the_new_project(torn: Path, labeler: Command) -> None:
    with Project.open(torn) as p:
        events, samples = p.store.events(), p.store.samples()
    pages = leaves(torn / "labels.db", "events")
    tear(torn, pages[0], pages[5], pages[-1])
    ended = labeler("check", torn, "--salvage", torn.parent / "new", "--json")
    assert ended.code == 0, ended
    report = json.loads(ended.out)
    assert report["tables"]["events"]["holes"] == 3
    with Project.open(torn.parent / "new") as q:
        kept = {event.id: event for event in q.store.events()}
        assert report["events"] == len(kept)
        lost = sorted({event.id for event in events} - kept.keys())
        runs = 1 + sum(b != a + 1 for a, b in pairwise(lost))
        assert runs == 3, "each torn page is one run of ids, and nothing beside it is lost"
        assert all(kept[event.id] == event for event in events if event.id in kept)
        assert q.store.samples() == samples
        assert q.store.labels() == {e.sample_id: 1 if e.class_id == 2 else e.class_id for e in kept.values()}
        assert q.name == "flowers"
        assert [version.pruned for version in q.store.versions()] == [True]
        [gone, *others] = q.store.check()
        assert gone.startswith("Events that were recorded and are gone: 1 to ")
        assert others == []
        question = q.loop("cy").ask()
        assert question is not None
        assert question.sample_id in lost
        assert (q.folder / q.store.sample(question.sample_id).file).is_file()


def test_a_salvaged_project_comes_back_from_its_backup_with_what_it_lacks(torn: Path, labeler: Command) -> None:
    tear(torn, leaves(torn / "labels.db", "events")[5])
    assert labeler("check", torn, "--salvage", torn.parent / "new").code == 0
    taken = labeler("backup", torn.parent / "new", torn.parent / "b.zip")
    assert (taken.code, "something is wrong with the record, listed above" in taken.err) == (1, True), taken
    back = labeler("restore", torn.parent / "b.zip", torn.parent / "again")
    assert (back.code, "again: 600 images" in back.out) == (1, True), back
    with Project.open(torn.parent / "new") as p, Project.open(torn.parent / "again") as q:
        [gone] = p.store.check()
        assert q.store.check() == [gone]
        assert (q.store.events(), q.store.states()) == (p.store.events(), p.store.states())
        assert all(f"  {gone}\n" in ended.err for ended in (taken, back))


def test_even_a_torn_record_is_backed_up_and_comes_back_as_torn_as_it_was(torn: Path, labeler: Command) -> None:
    tear(torn, leaves(torn / "labels.db", "events")[5])
    taken = labeler("backup", torn, torn.parent / "b.zip", "--json")
    assert (taken.code, json.loads(taken.out)["wrong"][0].startswith("SQLite: ")) == (1, True), taken
    back = labeler("restore", torn.parent / "b.zip", torn.parent / "again")
    assert (back.code, "again: 600 images" in back.out) == (1, True), back
    assert "--salvage" in labeler("check", torn.parent / "again").out


def test_rows_that_point_at_what_was_lost_are_left_out(torn: Path, labeler: Command) -> None:
    tear(torn, leaves(torn / "labels.db", "samples")[2], *leaves(torn / "labels.db", "annotators"))
    ended = labeler("check", torn, "--salvage", torn.parent / "new")
    assert (ended.code, "0 events, 0 labels" in ended.out) == (0, True), ended
    assert "rows left out" in ended.out
    with Project.open(torn.parent / "new") as q:
        assert 0 < len(q.store.samples()) < N


def test_a_file_of_which_nothing_is_left_says_to_restore_a_backup(torn: Path, labeler: Command) -> None:
    tear(torn, *range(2, (torn / "labels.db").stat().st_size // PAGE + 1))
    ended = labeler("check", torn)
    assert (ended.code, "Nothing can be read. Restore the newest backup" in ended.out) == (1, True), ended
    ended = labeler("check", torn, "--salvage", torn.parent / "new")
    assert (ended.code, "Restore the newest backup" in ended.err) == (1, True), ended
    assert not (torn.parent / "new").exists()


def test_links_that_were_lost_are_made_again_of_their_events(torn: Path, labeler: Command) -> None:
    with Project.open(torn) as p:
        head, links = p.store.head(), [p.store.link(i) for i in range(1, N + 1)]
    tear(torn, *leaves(torn / "labels.db", "event_links")[1:3])
    assert labeler("check", torn, "--salvage", torn.parent / "new").code == 0
    with Project.open(torn.parent / "new") as q:
        assert (q.store.check(), q.store.head()) == ([], head)
        assert [q.store.link(i) for i in range(1, N + 1)] == links


def test_where_the_list_of_tables_is_torn_those_that_are_left_are_read(torn: Path, labeler: Command) -> None:
    with closing(sqlite3.connect(torn / "labels.db")) as db:
        (rows,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    data = (torn / "labels.db").read_bytes()
    assert data[100] == 5, "the list takes more than one page"
    last = int.from_bytes(data[108:112], "big")
    tear(torn, last)
    ended = labeler("check", torn)
    assert (ended.code, f"events: {N} rows can be read" in ended.out) == (1, True), (rows, ended)
    made = labeler("check", torn, "--salvage", torn.parent / "new")
    assert (made.code, "in 1 place there were more" in made.out) == (0, True), made
    with Project.open(torn.parent / "new") as q:
        assert len(q.store.labels()) == N
        assert q.store.check() == []


def test_a_sound_project_is_not_torn_and_is_salvaged_whole(torn: Path, labeler: Command) -> None:
    assert faults(torn / "labels.db") == []
    assert labeler("check", torn, "--salvage", torn.parent / "new").code == 0
    server = torn.parent / "on a server"
    server.mkdir()
    (server / "labels.url").write_text("postgresql://nowhere/x?schema=y")
    assert "has backups of its own" in labeler("check", server, "--salvage", torn.parent / "other").err
    with Project.open(torn) as p, Project.open(torn.parent / "new") as q:
        assert q.store.events() == p.store.events()
        assert q.store.states() == p.store.states()
        assert q.store.classes(archived=True) == p.store.classes(archived=True)
        assert q.store.head() == p.store.head()
        assert q.store.check() == []
    again = labeler("check", torn, "--salvage", torn.parent / "new")
    assert (again.code, "exists already" in again.err) == (1, True)


def test_what_is_kept_names_every_table_that_is_not_derived_or_of_the_moment() -> None:
    from storage.tables import metadata

    assert {*metadata.tables} - {*KEPT} == {"meta", "sample_states", "open_answers", "leases", "processes"}
