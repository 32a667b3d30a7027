"""A share of the samples is asked of several people: who is asked what, what they agree on, what is learned of it."""

import csv
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import Ended

from labeler import Project
from labeler.learning import Learning, _leading
from labeler.scores import measured_labels
from storage import NewEvent, NewSample, Store, overlap
from storage.places import place

Command = Callable[..., Ended]


@pytest.fixture
def store(database: Path | str) -> Iterator[Store]:
    """Four samples in the pool that are all asked of two people; classes 1 cat, 2 dog, 3 owl."""
    with Store.create(database, "test", ["cat", "dog", "owl"]) as store:
        store.add_samples(NewSample(f"{i:064x}", f"image {i}", "images/pack.npy", i, 8, 8, 1) for i in range(4))
        store.set_overlap(1, 2)
        yield store


def answer(store: Store, who: str, sample_id: int, class_id: int | None, kind: str = "label", **more: object) -> str:
    uid = f"{who}-{store.last_event_id()}"
    store.record([NewEvent(uid, kind, sample_id, class_id, who, "tab", **more)])  # type: ignore[arg-type]
    return uid


def test_the_share_is_a_draw_that_does_not_depend_on_the_rest(project: Project) -> None:
    store = project.store
    seed = project.set_overlap(0.5, 2).rng_seed
    ids = {sample.id: sample.sha256 for sample in store.samples()}
    drawn = store.asked_of_several(ids)
    assert drawn == {i for i, sha256 in ids.items() if place(seed, sha256) < 0.5}
    store.add_samples(NewSample(f"{i:064x}", f"new {i}", "images/pack.npy", i, 8, 8, 1) for i in range(200))
    assert store.asked_of_several(ids) == drawn
    project.set_overlap(0.9, 2)
    assert store.asked_of_several(ids) >= drawn
    assert 150 < len(store.asked_of_several(store.sample_ids())) < 212


def test_every_database_draws_the_same(database: Path | str) -> None:
    with Store.create(database, "test", ["cat", "dog"]) as store:
        store.add_samples(NewSample(f"{i:064x}", f"image {i}", "images/pack.npy", i, 8, 8, 1) for i in range(500))
        seed = store.set_overlap(0.3, 2).rng_seed
        assert store.asked_of_several() == {i + 1 for i in range(500) if place(seed, f"{i:064x}") < 0.3}


def test_places_are_spread_evenly() -> None:
    places = np.array([place(7, f"{i:064x}") for i in range(20_000)])
    counts = np.histogram(places, bins=20, range=(0, 1))[0]
    assert ((counts - 1000) ** 2 / 1000).sum() < 50  # chi-squared with 19 degrees of freedom: 1 in 10,000


def test_two_people_have_a_sample_at_once_and_one_person_never_in_two_tabs(store: Store) -> None:
    assert store.lease([1], 1, "ann", "tab") == [1]
    assert store.lease([1], 1, "ann", "another") == []
    assert store.lease([1], 1, "bob", "tab") == [1]
    assert store.lease([1], 1, "cat", "tab") == []
    answer(store, "ann", 1, 1)
    assert store.held("bob", "tab") == [1]
    assert store.lease([1], 1, "ann", "tab") == []
    assert store.lease([1], 1, "cat", "tab") == []
    answer(store, "bob", 1, 1)
    assert store.labels() == {1: 1}
    assert store.held("bob", "tab") == []


def test_many_threads_never_get_more_than_the_seats(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "labels.db", "test", ["cat"])
    store.add_samples(NewSample(f"{i:064x}", f"image {i}", "images/pack.npy", i, 8, 8, 1) for i in range(30))
    store.set_overlap(1, 3)
    taken: list[int] = []

    def take(who: str) -> None:
        for _ in range(10):
            taken.extend(store.lease(range(1, 31), 3, who, "tab"))
            for sample_id in store.held(who, "tab"):
                store.record([NewEvent(f"{who}-{sample_id}", "label", sample_id, 1, who, "tab")])

    threads = [threading.Thread(target=take, args=(f"p{i}",)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted([*range(1, 31)] * 3)
    assert store.counts()["labeled"] == 30
    assert store.check() == []


def test_a_majority_a_tie_and_a_correction(store: Store) -> None:
    answer(store, "ann", 1, 1)
    assert (store.labels(), store.counts()["open"]) == ({}, 4)
    answer(store, "bob", 1, 2)
    assert store.state(1).kind == "disputed"  # type: ignore[union-attr]
    assert (store.labels(), store.counts()["disputed"], store.counts()["open"]) == ({}, 1, 3)
    corrected = answer(store, "bob", 1, 1)
    assert store.labels() == {1: 1}
    answer(store, "bob", 1, None, "undo", undoes=corrected)
    assert store.labels() == {}
    answer(store, "cat", 1, 2)  # more than was asked for
    assert store.labels() == {1: 2}
    assert [store.labels(at=at) for at in range(6)] == [{}, {}, {}, {1: 1}, {}, {1: 2}]


def test_skipping_is_an_answer_too(store: Store) -> None:
    answer(store, "ann", 1, None, "skip")
    answer(store, "bob", 1, None, "skip")
    answer(store, "ann", 2, None, "unsure")
    answer(store, "bob", 2, 2)
    assert {i: state.kind for i, state in store.states().items()} == {1: "skip", 2: "disputed"}


def test_answers_that_mean_one_class_since_a_merge_agree(store: Store) -> None:
    answer(store, "ann", 1, 1)
    answer(store, "bob", 1, 2)
    store.merge_classes([2], into=1)
    assert store.labels() == {1: 1}
    store.unmerge_classes([2])
    assert (store.labels(), store.check()) == ({}, [])


def test_a_class_that_is_archived_was_said_all_the_same(store: Store) -> None:
    for who in ("ann", "bob"):
        answer(store, who, 1, 3)
    answer(store, "ann", 2, 3)
    answer(store, "bob", 2, 1)
    store.archive_classes([3])
    assert (store.labels(), store.counts()["archived"], store.counts()["disputed"]) == ({}, 1, 1)
    assert {(a.annotator, a.kind) for a in store.answers() if a.sample_id == 2} == {
        ("ann", "archived"),
        ("bob", "label"),
    }


def test_a_reviewer_stands_above_the_majority_until_undone(store: Store) -> None:
    for who in ("ann", "bob"):
        answer(store, who, 1, 1)
    decided = answer(store, "eve", 1, 3, review=True)
    answer(store, "ann", 1, 2)
    assert store.labels() == {1: 3}
    with pytest.raises(ValueError, match="reviewer's decision"):
        answer(store, "ann", 1, None, "undo", undoes=decided)
    answer(store, "eve", 1, None, "undo", undoes=decided, review=True)
    assert store.state(1).kind == "disputed"  # type: ignore[union-attr]
    assert store.labels(at=3) == {1: 3}
    assert store.last_decision("eve", "tab") is None


def test_what_is_asked_once_is_as_it_was(store: Store) -> None:
    store.set_overlap(0, 1)
    answer(store, "ann", 1, 1)
    assert store.labels() == {1: 1}
    assert store.lease([1, 2], 2, "bob", "tab") == [2]
    assert store.lease([2], 1, "cat", "tab") == []


def test_what_several_answered_stays_theirs_when_it_ends(store: Store) -> None:
    for who, class_id in (("ann", 1), ("bob", 2), ("cat", 1)):
        answer(store, who, 1, class_id)
    answer(store, "ann", 2, 2)
    store.set_overlap(0, 1)
    assert store.labels() == {1: 1, 2: 2}
    assert store.labels(at=3) == {1: 1}
    assert store.check() == []


@pytest.mark.parametrize(("share", "times"), [(1.5, 2), (-0.1, 2), (0.5, 1), (0.5, 1000)])
def test_what_cannot_be_asked_is_refused(store: Store, share: float, times: int) -> None:
    with pytest.raises(ValueError, match="asked"):
        store.set_overlap(share, times)


def test_a_split_moves_what_several_people_agreed_on(store: Store) -> None:
    for who in ("ann", "bob"):
        answer(store, who, 1, 1)
    new, group_id = store.split_class(1, "kitten", [1])
    assert store.labels() == {1: new.id}
    store.undo_group(group_id, "undone", "me")
    assert store.labels() == {1: 1}


# ---------- the loop ----------


def test_each_of_two_people_answers_everything_once(project: Project) -> None:
    project.set_overlap(0.5, 2)
    drawn = project.store.asked_of_several(project.store.sample_ids())
    asked: dict[str, list[int]] = {"ann": [], "bob": []}
    loops = {who: project.loop(annotator=who, lookahead=2) for who in asked}
    open_to = set(asked)
    while open_to:
        for who in sorted(open_to):
            question = loops[who].ask()
            if question is None:
                open_to.remove(who)
                continue
            assert question.blind == (question.sample_id in drawn)
            asked[who].append(question.sample_id)
            loops[who].answer(question.sample_id, "cat")
    every = asked["ann"] + asked["bob"]
    assert all(len(set(ids)) == len(ids) for ids in asked.values())
    assert {i: every.count(i) for i in every} == {i: 2 if i in drawn else 1 for i in range(1, 13)}
    assert project.store.counts()["open"] == 0


def test_who_answered_everything_is_asked_nothing_and_again_after_an_undo(project: Project) -> None:
    project.set_overlap(1, 2)
    loop = project.loop(annotator="ann")
    for _ in range(12):
        loop.answer(loop.ask().sample_id, "dog")  # type: ignore[union-attr]
    assert loop.ask() is None
    assert (project.store.answered_by("ann"), project.store.counts()["open"]) == (12, 12)
    undone = loop.undo()
    assert loop.ask() == undone
    assert len(project.loop(annotator="bob").ask_many(16)) == 12


def test_nothing_is_learned_from_a_tie_and_else_what_most_say() -> None:
    assert _leading({1: [4], 2: [4, 5], 3: [5, 4, 5], 4: [4, 5, 6]}) == {1: 4, 3: 5}


def test_labels_without_agreement_are_told_apart_from_those_with(store: Store) -> None:
    answer(store, "ann", 1, 1)
    answer(store, "ann", 2, 2)
    answer(store, "bob", 2, 1)
    for who in ("ann", "bob"):
        answer(store, who, 3, 1)
    answer(store, "ann", 4, None, "skip")
    assert store.labels_without_agreement("pool") == {1: [1], 2: [2, 1]}
    assert store.labels_without_agreement("measure") == {}


def test_the_learner_has_what_most_say_so_far_and_accuracy_the_first_label_of_a_tie(
    digit_project: Project, digits: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    store = digit_project.store
    np.savez(tmp_path / "measuring.npz", x=digits[0][200:220])
    digit_project.import_(tmp_path / "measuring.npz", measure_share=0.5)
    store.set_overlap(1, 2)
    agreed, tied, waiting = store.sample_ids("pool")[:3].tolist()
    measured = store.sample_ids("measure")[:2].tolist()
    assert len(measured) == 2
    for sample_id, said in {agreed: (3, 3), tied: (3, 4), waiting: (5,), **dict.fromkeys(measured, (6, 7))}.items():
        for who, class_id in zip(("ann", "bob"), said, strict=False):
            answer(store, who, sample_id, class_id)
    learning = Learning(digit_project)
    learned = {int(learning.sample_ids[p]): learning.class_ids[y] for p, y in learning.labels_now().items()}
    assert learned == {agreed: 3, waiting: 5}
    assert measured_labels(learning.store) == dict.fromkeys(measured, 6)
    assert set(learning.sample_ids[learning.open_positions()].tolist()).isdisjoint((agreed, tied, waiting))


# ---------- commands ----------


def test_the_command_sets_tells_and_ends_it(project: Project, labeler: Command) -> None:
    assert labeler("overlap", project.folder).out == "Each image is asked once.\n"
    assert labeler("status", project.folder, "--json").out.count('"overlap": null') == 1
    report = json.loads(labeler("overlap", project.folder, "--share", "1", "--times", "3", "--json").out)
    assert report == {"share": 1, "times": 3, "drawn": 12, "agreed": 0, "disputed": 0, "waiting": 0}
    project.loop(annotator="ann").answer(1, "cat")
    told = labeler("overlap", project.folder).out
    assert "12 images are asked of 3 people" in told
    assert "answered by some 1" in told
    assert "asked of 3 people: 12 images" in labeler("status", project.folder).out
    assert "a share of 1 is asked of 3 people" in labeler("log", project.folder).out
    assert json.loads(labeler("overlap", project.folder, "--off", "--json").out)["share"] == 0
    assert project.store.labels() == {1: 1}
    assert labeler("overlap", project.folder, "--times", "3").code == 1  # with a share it would do
    assert labeler("overlap", project.folder, "--off", "--share", "1").code == 2
    assert labeler("overlap", project.folder, "--share", "2").code == 2


def test_an_export_has_a_row_an_image_or_one_for_each_answer(
    project: Project, labeler: Command, tmp_path: Path
) -> None:
    project.set_overlap(1, 2)
    for who, cls in (("ann", "cat"), ("bob", "dog")):
        loop = project.loop(annotator=who)
        loop.answer(1, cls)
        loop.answer(2, "dog")
    loop.answer(3, "cat")
    project.store.record([NewEvent("review-1", "label", 1, 1, "eve", "tab", review=True)])
    assert labeler("export", project.folder, tmp_path / "labels.csv").code == 0
    with open(tmp_path / "labels.csv", newline="") as f:
        rows = [(row["sample_id"], row["class"]) for row in csv.DictReader(f)]
    assert rows == [("1", "cat"), ("2", "dog")]
    assert labeler("export", project.folder, tmp_path / "all.csv", "--annotations").code == 0
    with open(tmp_path / "all.csv", newline="") as f:
        found = [tuple(row[k] for k in ("sample_id", "annotator", "class", "review")) for row in csv.DictReader(f)]
    assert found == [
        ("1", "ann", "cat", "0"),
        ("1", "bob", "dog", "0"),
        ("1", "eve", "cat", "1"),
        ("2", "ann", "dog", "0"),
        ("2", "bob", "dog", "0"),
        ("3", "bob", "cat", "0"),
    ]
    assert labeler("export", project.folder, tmp_path / "x", "--annotations", "--format", "folder").code == 2
    assert "review: label cat" in labeler("log", project.folder).out


def test_a_disputed_image_is_exported_without_a_class(project: Project, labeler: Command, tmp_path: Path) -> None:
    project.set_overlap(1, 2)
    for who, cls in (("ann", "cat"), ("bob", "dog")):
        project.loop(annotator=who).answer(1, cls)
    assert labeler("export", project.folder, tmp_path / "out", "--format", "folder").code == 0
    with open(tmp_path / "out" / "labels.csv", newline="") as f:
        assert [(row["status"], row["class"]) for row in csv.DictReader(f)] == [("disputed", "")]


@pytest.fixture
def nine(database: Path | str) -> Iterator[Store]:
    """Nine samples, each labeled by ann, asked of nobody else."""
    with Store.create(database, "test", ["cat", "dog"]) as store:
        store.add_samples(NewSample(f"{i:064x}", f"image {i}", "images/pack.npy", i, 8, 8, 1) for i in range(9))
        store.record([NewEvent(f"e{i}", "label", i, 1, "ann", "tab") for i in range(1, 10)])
        yield store


def test_a_share_is_settled_in_chunks_between_which_labels_are_stored(
    nine: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overlap, "SETTLED_AT_ONCE", 2)
    store, told = nine, []

    def meanwhile(done: int, total: int) -> None:
        told.append((done, total))
        if done == 4:
            store.record([NewEvent("later", "label", 8, 2, "bob", "tab")])  # of one that is still to be settled
            store.copy_to(tmp_path / "copy.db")
        if done == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.set_overlap(1, 2, "ann", meanwhile)
    assert told == [(2, 9), (4, 9), (6, 9)]
    assert len(store.check()) == 2, "9 and 7; a label brings the state of its own sample up to date"
    said = store.set_overlap(1, 2, "eve")
    assert store.check() == []
    assert [said] == store.overlap_events(), "asked for again, it only goes on"
    assert {s: state.kind for s, state in store.states().items()} == {8: "disputed"}
    with Store.open(tmp_path / "copy.db") as copy:
        assert copy.check() != []
        copy.settle()
        assert copy.check() == []
