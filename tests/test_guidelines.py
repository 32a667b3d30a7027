"""Guidelines in the record: each change is kept, and an example is shown while it is labeled as its class."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from conftest import by_hand, drop_trigger
from pages import publish_version, small_project
from sqlalchemy.exc import IntegrityError

from labeler.typical import medoids, typical
from storage import ChangedMeanwhile, Guideline, NewEvent, NewSample, Store, migrations
from storage.guidelines import LONGEST, MOST_EXAMPLES


@pytest.fixture
def store(database: Path | str) -> Iterator[Store]:
    """Classes cat, dog, owl. Samples 1 to 9 are cats, 10 and 11 dogs; 12 is open, 13 a labeled gold cat."""
    store = Store.create(database, "test", ["cat", "dog", "owl"])
    store.add_samples([NewSample(f"{i:064x}", f"image {i}", "pack", i, 8, 8, 1) for i in range(12)])
    store.add_samples([NewSample("f" * 64, "gold", "pack", 12, 8, 8, 1, "gold", 1)])
    labeled = dict.fromkeys(range(1, 10), 1) | {10: 2, 11: 2, 13: 1}
    store.record([label(f"e{i}", i, class_id) for i, class_id in labeled.items()])
    yield store
    store.close()


def label(uid: str, sample_id: int, class_id: int) -> NewEvent:
    return NewEvent(uid, "label", sample_id, class_id, "ann", "tab")


def test_the_newest_text_and_examples_hold_and_the_earlier_ones_are_kept(store: Store) -> None:
    assert store.guidelines() == {}
    assert store.guideline(1) == Guideline(1)
    store.set_guideline(1, "Whiskers.\r\n\r\nPurrs. \n", [2, 1, 2], "rita")
    store.set_guideline(1, "Meows.", annotator="rita")
    store.set_guideline(1, "Meows.")  # what is so already is no event
    store.use_as_example(1, 3)
    store.use_as_example(1, 1, use=False)
    store.set_guideline(2, examples=[10])
    now = store.guidelines()
    assert now == {1: Guideline(1, "Meows.", (2, 3), (2, 3), 4), 2: Guideline(2, "", (10,), (10,), 5)}
    assert store.guideline(1) == now[1]
    kept = [(e.class_id, e.text, e.examples, e.annotator, e.after_event_id) for e in store.guideline_events()]
    assert kept == [
        (1, "Whiskers.\n\nPurrs.", (2, 1), "rita", 12),
        (1, "Meows.", (2, 1), "rita", 12),
        (1, "Meows.", (2, 1, 3), None, 12),
        (1, "Meows.", (2, 3), None, 12),
        (2, "", (10,), None, 12),
    ]
    assert store.check() == []


def test_an_example_is_shown_only_while_it_is_labeled_as_its_class(store: Store) -> None:
    store.set_guideline(1, examples=[1, 2, 3])
    marks = [store.guidelines_mark()]

    def shown() -> tuple[int, ...]:
        marks.append(store.guidelines_mark())
        return store.guideline(1).shown

    store.record([NewEvent("undo", "undo", 1, annotator="ann", undoes="e1")])
    assert shown() == (2, 3)
    store.record([label("other", 2, 2)])
    assert shown() == (3,)
    store.merge_classes([2], into=1)
    assert shown() == (2, 3)
    store.unmerge_classes([2])
    store.archive_classes([2])
    store.record([label("again", 1, 1)])
    assert shown() == (1, 3)
    assert store.guideline(1).examples == (1, 2, 3)
    assert all(one != other for one, other in pairwise(marks)), "a page sees by the mark that something is another"
    store.set_guideline(1, "One that is not shown now may stay.", [2, 3])
    assert store.guideline(1).shown == (3,)


REFUSED: list[tuple[Callable[[Store], object], str]] = [
    (lambda s: s.set_guideline(1, "x" * (LONGEST + 1)), "4,001 characters; 4,000 are possible"),
    (lambda s: s.set_guideline(1, "bell\x07"), "control character"),
    (lambda s: s.set_guideline(1, examples=[10]), "Sample 10 is not labeled 'cat'"),
    (lambda s: s.set_guideline(1, examples=[1, 12]), "Sample 12 is not labeled 'cat'"),
    (lambda s: s.set_guideline(1, examples=[13]), "Sample 13 is not labeled 'cat'"),  # gold
    (lambda s: s.use_as_example(2, 99), "Sample 99 is not labeled 'dog'"),
    (lambda s: s.set_guideline(1, examples=range(1, 10)), "at most 8 examples"),
    (lambda s: s.set_guideline(9, "nobody"), "no class with id 9"),
]


@pytest.mark.parametrize(("act", "reason"), REFUSED, ids=[reason for _, reason in REFUSED])
def test_what_will_not_do_is_refused_in_one_line_and_changes_nothing(
    store: Store, act: Callable[[Store], object], reason: str
) -> None:
    store.set_guideline(1, "y" * LONGEST, range(1, 1 + MOST_EXAMPLES))
    before = store.guideline_events()
    with pytest.raises((ValueError, KeyError), match=reason) as refused:
        act(store)
    assert "\n" not in str(refused.value)
    assert store.guideline_events() == before


def test_a_change_of_what_somebody_else_changed_meanwhile_is_refused_and_says_who(store: Store) -> None:
    seen = store.set_guideline(1, "Ours.", annotator="ann")
    store.set_guideline(1, "Theirs.", annotator="bob", was=seen.event_id)
    with pytest.raises(ChangedMeanwhile, match="bob changed this guideline meanwhile"):
        store.set_guideline(1, "Ours again.", annotator="ann", was=seen.event_id)
    assert store.guideline(1).text == "Theirs."


def test_guidelines_cannot_be_changed_afterwards(store: Store) -> None:
    store.set_guideline(1, "Whiskers.")
    for statement in ("UPDATE guideline_events SET text = 'x'", "DELETE FROM guideline_events"):
        with pytest.raises(IntegrityError, match="only appended"):
            by_hand(store, statement)
    drop_trigger(store, "guideline_events_keep_delete")
    assert store.check() == [
        "The trigger guideline_events_keep_delete, which keeps events from being changed, is missing."
    ]
    store.repair()
    assert store.check() == []


def test_an_older_record_gets_guidelines(database: Path | str, monkeypatch: pytest.MonkeyPatch) -> None:
    made_here = [migrate.__module__.endswith("_guidelines") for migrate in migrations.MIGRATIONS].index(True)
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "MIGRATIONS", migrations.MIGRATIONS[:made_here])
        older = Store.create(database, "test", ["cat"])
        older.close()
    with Store.open(older.place) as store:
        assert store.guidelines() == {}
        store.set_guideline(1, "Whiskers.")
        assert store.guideline(1).text == "Whiskers."
        assert store.check() == []


def test_labeled_images_are_listed_newest_first_with_what_is_merged_in(store: Store) -> None:
    store.merge_classes([2], into=1)
    store.record([label("late", 5, 2)])
    assert store.labeled_as(1) == [5, 11, 10, 9, 8, 7, 6, 4, 3, 2, 1]
    assert store.labeled_as(1, limit=2, offset=1) == [11, 10]
    assert store.labeled_as(3) == []


def test_typical_images_stand_for_the_groups_of_a_class() -> None:
    points = np.array([[0, 0], [0, 1], [0, 2], [10, 0], [10, 1], [50, 0]], np.float32)
    assert medoids(points, 3) == [4, 5, 1]
    assert sorted(medoids(points, 9)) == [0, 1, 2, 3, 4, 5]


def test_before_a_model_the_newest_labels_are_typical(tmp_path: Path) -> None:
    with small_project(tmp_path / "project", n=20) as p:
        loop = p.loop("ann")
        for sample_id in (3, 1, 2):
            loop.answer(sample_id, 0)
        assert typical(p, 1, 2) == [2, 1]
        publish_version(p, 1)
        assert sorted(typical(p, 1, 5)) == [1, 2, 3]
        assert typical(p, 2, 5) == []
