"""Class surgery in the record: labels stay as they were given, and count as what the classes are now."""

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import by_hand, drop_trigger
from sqlalchemy.exc import IntegrityError

from labeler import Project
from storage import Class, Event, NewEvent, NewSample, Store, migrations
from storage.exporters import export


@pytest.fixture
def store(database: Path | str) -> Iterator[Store]:
    """Ids 1 to 3 are cat, dog, owl. Of ten samples 1, 4 are cats, 2, 5 dogs, 3, 6 owls; sample 11 is a gold dog."""
    store = Store.create(database, "test", ["cat", "dog", "owl"])
    store.add_samples([NewSample(f"{i:064x}", f"image {i}", "pack", i, 8, 8, 1) for i in range(10)])
    store.add_samples([NewSample("f" * 64, "gold", "pack", 10, 8, 8, 1, "gold", 2)])
    store.record([label(f"e{i}", i + 1, i % 3 + 1) for i in range(6)])
    yield store
    store.close()


def label(uid: str, sample_id: int, class_id: int) -> NewEvent:
    return NewEvent(uid, "label", sample_id, class_id, "ann", "tab")


def everything(store: Store) -> tuple[object, ...]:
    return store.classes(), store.labels(), store.counts(), store.gold(), store.states()


def history(store: Store) -> tuple[list[Event], list[tuple[int, str]]]:
    return store.events(), [(e.id, e.kind) for e in store.class_events()]


def test_names_colours_and_keys_change_and_ids_and_labels_do_not(store: Store) -> None:
    before = store.events(), store.labels()
    store.rename_class(1, "  kitten ")
    store.recolour_class(2, "#ABCDEF")
    store.key_class(3, "C")
    assert store.classes() == [
        Class(1, "kitten", "1", "#4477aa", 0, False),
        Class(2, "dog", "2", "#abcdef", 1, False),
        Class(3, "owl", "c", "#228833", 2, False),
    ]
    assert (store.events(), store.labels()) == before
    assert store.check() == []


def test_a_key_that_another_class_has_is_exchanged(store: Store) -> None:
    store.key_class(1, "2")
    assert [one.key for one in store.classes()] == ["2", "1", "3"]
    store.key_class(2, "")
    store.key_class(3, "")
    assert [one.key for one in store.classes()] == ["2", "", ""]


def test_a_new_order_keeps_the_keys_unless_they_are_dealt_anew(store: Store) -> None:
    store.reorder_classes([3])
    assert [(one.name, one.key) for one in store.classes()] == [("owl", "3"), ("cat", "1"), ("dog", "2")]
    store.reorder_classes([2, 3], keys=True)
    assert [(one.name, one.key) for one in store.classes()] == [("dog", "1"), ("owl", "2"), ("cat", "3")]


def test_labels_of_a_merged_class_count_as_the_other_and_an_unmerge_restores_exactly_what_was(store: Store) -> None:
    before, events = everything(store), store.events()
    store.merge_classes([2], into=1)
    assert store.labels() == {1: 1, 2: 1, 3: 3, 4: 1, 5: 1, 6: 3}
    assert store.counts()["per_class"] == {1: 4, 3: 2}
    assert store.gold() == {11: 1}
    state = store.state(2)
    assert state is not None
    assert state.class_id == 1
    assert [one.name for one in store.classes()] == ["cat", "owl"]
    assert store.events() == events
    store.unmerge_classes([2])
    assert everything(store) == before
    assert store.check() == []


def test_a_label_given_as_a_merged_class_is_kept_and_comes_apart_again(store: Store) -> None:
    store.merge_classes([2], into=1)
    store.record([label("late", 7, 2)])
    assert store.labels()[7] == 1
    store.record([NewEvent("undo", "undo", 2, annotator="ann", undoes="e1")])
    assert 2 not in store.labels()
    store.unmerge_classes([2])
    assert store.labels() == {1: 1, 3: 3, 4: 1, 5: 2, 6: 3, 7: 2}


def test_merges_follow_each_other_and_come_apart_in_any_order(store: Store) -> None:
    store.merge_classes([1], into=2)
    store.merge_classes([2], into=3)
    assert set(store.labels().values()) == {3}
    assert store.roots() == {1: 3, 2: 3, 3: 3}
    store.unmerge_classes([1])
    assert store.counts()["per_class"] == {1: 2, 3: 4}
    store.merge_classes([1], into=3)
    store.unmerge_classes([2])
    assert store.counts()["per_class"] == {2: 2, 3: 4}


def test_what_cannot_be_done_is_refused_in_one_line_and_leaves_all_as_it_was(store: Store) -> None:
    store.merge_classes([2], into=1)
    store.archive_classes([3])
    before = everything(store), history(store)
    for act, reason in [
        (lambda: store.merge_classes([1], into=1), "into itself"),
        (lambda: store.merge_classes([1], into=2), "'dog' is merged into 'cat'"),
        (lambda: store.merge_classes([2], into=1), "'dog' is merged into 'cat'"),
        (lambda: store.merge_classes([1], into=3), "'owl' is archived. Restore it first"),
        (lambda: store.merge_classes([3], into=1), "'owl' is archived. Restore it first"),
        (lambda: store.archive_classes([1, 2]), "Unmerge it first"),
        (lambda: store.archive_classes([3]), "is archived"),
        (lambda: store.restore_classes([1]), "nothing to restore"),
        (lambda: store.unmerge_classes([1]), "nothing to unmerge"),
        (lambda: store.rename_class(1, "dog"), "already, which is merged"),
        (lambda: store.rename_class(1, " "), "empty"),
        (lambda: store.recolour_class(1, "red"), "no colour such as"),
        (lambda: store.key_class(1, "s"), "cannot be the key"),
        (lambda: store.add_classes(["dog"]), "there twice"),
        (lambda: store.split_class(1, "new", []), "No sample was chosen"),
        (lambda: store.split_class(1, "new", [1, 3]), "1 of the 2 samples are not labeled 'cat', first sample 3"),
        (lambda: store.split_class(1, "dog", [1]), "there twice"),
        (lambda: store.archive_classes([9]), "no class with id 9"),
    ]:
        with pytest.raises((ValueError, KeyError), match=reason) as refused:
            act()
        assert "\n" not in str(refused.value)
        assert (everything(store), history(store)) == before


def test_labels_of_an_archived_class_are_set_aside_until_it_is_restored(store: Store) -> None:
    before = everything(store)
    store.archive_classes([2])
    assert store.labels() == {1: 1, 3: 3, 4: 1, 6: 3}
    assert store.gold() == {}
    counts = store.counts()
    assert (counts["labeled"], counts["archived"], counts["open"]) == (4, 2, 4)
    assert counts["per_class"] == {1: 2, 3: 2}
    assert 2 not in store.open_ids("pool")
    with pytest.raises(ValueError, match=r"'dog' is archived\. Choose another class"):
        store.record([label("late", 7, 2)])
    assert store.record([label("e1", 2, 2)]) == ["e1"]  # stored before: sent again, it is acknowledged
    store.record([label("better", 2, 1), NewEvent("undo", "undo", 2, annotator="ann", undoes="better")])
    store.restore_classes([2])
    assert everything(store) == before


def test_a_class_merged_into_one_that_is_archived_is_set_aside_with_it(store: Store) -> None:
    store.merge_classes([1], into=2)
    store.archive_classes([2])
    assert store.labels() == {3: 3, 6: 3}
    with pytest.raises(ValueError, match="'dog' is archived"):
        store.record([label("late", 7, 1)])
    store.unmerge_classes([1])
    assert store.labels() == {1: 1, 3: 3, 4: 1, 6: 3}


def test_the_name_and_key_of_an_archived_class_may_be_used_again(store: Store) -> None:
    store.archive_classes([2])
    new = store.add_classes(["dog"])[0]
    assert (new.id, new.key) == (4, "2")
    assert store.counts()["per_class"] == {1: 2, 3: 2, 4: 0}
    with pytest.raises(ValueError, match="There is a class 'dog' already, which is in use"):
        store.restore_classes([2])
    store.rename_class(2, "old dog")
    store.restore_classes([2])
    assert [(one.name, one.key) for one in store.classes()] == [
        ("cat", "1"), ("old dog", "4"), ("owl", "3"), ("dog", "2"),
    ]  # fmt: skip


def test_a_merged_class_gets_its_key_back_unless_it_was_given_away(store: Store) -> None:
    store.merge_classes([2], into=1)
    assert store.add_classes(["fox"])[0].key == "4"
    store.key_class(1, "2")
    store.unmerge_classes([2])
    assert [(one.name, one.key) for one in store.classes()] == [
        ("cat", "2"), ("dog", "1"), ("owl", "3"), ("fox", "4"),
    ]  # fmt: skip


def test_a_split_is_one_group_of_labels_and_each_can_be_undone(store: Store) -> None:
    store.merge_classes([2], into=1)
    new, group_id = store.split_class(1, "puppy", [2, 4, 2], "bob")
    assert store.labels() == {1: 1, 2: new.id, 3: 3, 4: new.id, 5: 1, 6: 3}
    moved = [event for event in store.events() if event.group_id == group_id]
    assert [(e.kind, e.sample_id, e.class_id, e.annotator) for e in moved] == [
        ("label", 2, new.id, "bob"),
        ("label", 4, new.id, "bob"),
    ]
    assert [(e.kind, e.came_from, e.annotator) for e in store.class_events() if e.group_id == group_id] == [
        ("split", 1, "bob")
    ]
    store.record([NewEvent(f"u{e.id}", "undo", e.sample_id, annotator="bob", undoes=e.uid) for e in moved])
    store.unmerge_classes([2])
    assert store.labels() == {1: 1, 2: 2, 3: 3, 4: 1, 5: 2, 6: 3}


def test_the_classes_at_any_label_are_told(store: Store) -> None:
    store.rename_class(1, "kitten", "ann")
    store.record([label("x", 7, 1)])
    store.merge_classes([2], into=1)
    store.archive_classes([3])
    store.record([label("y", 8, 1)])
    at = {n: [(one.name, one.active) for one in store.classes_at(n)] for n in (6, 7, 8)}
    assert at == {
        6: [("cat", True), ("dog", True), ("owl", True)],
        7: [("kitten", True), ("dog", True), ("owl", True)],
        8: [("kitten", True), ("dog", False), ("owl", False)],
    }
    assert [(e.kind, e.annotator) for e in store.class_events()][3] == ("rename", "ann")


def test_what_is_so_already_is_no_event(store: Store) -> None:
    before = history(store)
    store.rename_class(1, "cat")
    store.recolour_class(1, "#4477aa")
    store.key_class(1, "1")
    store.reorder_classes([1, 2])
    assert history(store) == before


def test_events_of_classes_cannot_be_changed_and_a_class_that_does_not_follow_is_found(store: Store) -> None:
    for statement in ("UPDATE class_events SET name = 'x'", "DELETE FROM class_events"):
        with pytest.raises(IntegrityError, match="only appended"):
            by_hand(store, statement)
    by_hand(store, "UPDATE classes SET merged_into = 1 WHERE id = 3")
    drop_trigger(store, "class_events_keep_update")
    assert store.check() == [
        "The class with id 3 does not follow from its events.",
        "The trigger class_events_keep_update, which keeps events from being changed, is missing.",
    ]


@pytest.mark.parametrize("schema", [1, 2])
def test_the_classes_of_an_older_project_were_there_from_the_beginning(
    schema: int, database: Path | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "MIGRATIONS", migrations.MIGRATIONS[:schema])
        older = Store.make(database, "test", lambda store: None)
        with older._writing() as db:
            db.exec_driver_sql("INSERT INTO classes (name, key, colour, position) VALUES ('cat', '1', '#4477aa', 0)")
        older.close()
    with Store.open(older.place) as store:
        assert store.classes_at(1) == store.classes() == [Class(1, "cat", "1", "#4477aa", 0, False)]
        assert store.check() == []


def test_exports_follow_merges_and_set_archived_labels_apart(project: Project, tmp_path: Path) -> None:
    loop = project.loop("ann", "tab")
    for sample_id, name in [(1, "cat"), (2, "dog"), (7, "dog")]:
        loop.answer(sample_id, name)
    fox = project.store.add_classes(["fox"])[0].id
    loop.answer(8, "fox")
    project.store.merge_classes([2], into=1)
    project.store.archive_classes([fox])
    tally = export(project.store, project.folder, tmp_path / "out", "folder")
    assert (tally["label"], tally["archived"], tally["classes"]) == (3, 1, {"cat": 3})
    with (tmp_path / "out" / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = [(int(r["sample_id"]), r["status"], r["class"], r["class_id"], r["file"]) for r in csv.DictReader(file)]
    assert rows == [
        (1, "label", "cat", "1", "cat/0.png"),
        (2, "label", "cat", "1", "cat/1.png"),
        (7, "label", "cat", "1", "cat/10.png"),
        (8, "archived", "fox", str(fox), ""),
    ]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["cat", "classes.json", "labels.csv"]


def test_a_repair_gives_exchanged_names_back_and_leaves_one_that_a_stranger_has(store: Store) -> None:
    before = store.classes()
    by_hand(
        store,
        "UPDATE classes SET name = 'x' WHERE id = 1",
        "UPDATE classes SET name = 'cat' WHERE id = 2",
        "UPDATE classes SET name = 'dog' WHERE id = 1",
    )
    assert len(store.check()) == 2
    assert store.repair() == ["Classes that did not follow from their events were derived again: 2."]
    assert store.classes() == before

    by_hand(
        store,
        "UPDATE classes SET name = 'x' WHERE id = 1",
        "INSERT INTO classes (id, name, key, colour, position) VALUES (9, 'cat', '', '#000000', 9)",
        "UPDATE classes SET name = 'y' WHERE id = 2",
    )
    assert store.repair() == ["Classes that did not follow from their events were derived again: 1."]
    assert [one.name for one in store.classes()] == ["x", "dog", "owl", "cat"]
    assert store.check() == [f"The class with id {i} does not follow from its events." for i in (1, 9)]
