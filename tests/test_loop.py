"""A sitting: what is asked, who gets it, and what comes of an answer, a skip and an undo."""

import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import server_url

from labeler import Project
from labeler.loop import Question
from labeler.published import publish
from storage import NewEvent


@pytest.fixture
def project(database: Path | str, tmp_path: Path, image_folder: Path) -> Iterator[Project]:
    """The twelve images, unlabeled, all of them in the pool; classes cat and dog."""
    with Project.create(tmp_path / "project", ["cat", "dog"], server_url(database)) as p:
        p.import_(image_folder, measure_share=0)
        yield p


def publish_version(
    p: Project,
    version: int,
    ranking: list[int],
    acquisition: str = "margin",
    labels: int = 1,
    probs: dict[int, list[float]] | None = None,
    metrics: dict[str, Any] | None = None,
) -> None:
    """A version as the trainer writes it, with the given ranking; undecided between the classes where not told."""
    ids = p.store.sample_ids()
    class_ids = [one.id for one in p.store.classes()]
    believed = np.full((len(ids), len(class_ids)), 1 / len(class_ids), np.float32)
    for sample_id, row in (probs or {}).items():
        believed[np.searchsorted(ids, sample_id)] = row
    publish(
        p.folder,
        p.store,
        version=version,
        class_ids=class_ids,
        acquisition=acquisition,
        last_event_id=p.store.last_event_id(),
        labels=labels,
        steps=10,
        metrics=metrics or {},
        arrays={
            "sample_ids": ids,
            "probs": believed,
            "scores": np.arange(len(ids), dtype=np.float32),
            "ranking": np.array(ranking, np.int64),
            "embeddings": np.zeros((len(ids), 2), np.float16),
            "generated": np.zeros((len(class_ids), 1, 8, 8), np.uint8),
        },
        save_model=lambda path: None,
    )


def array_project(tmp_path: Path, n: int, measure_share: float) -> Project:
    x = np.random.default_rng(0).integers(0, 256, (n, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "x.npz", x=x)
    p = Project.create(tmp_path / "many", ["cat", "dog", "owl"])
    p.import_(tmp_path / "x.npz", measure_share=measure_share)
    return p


def test_asked_again_without_an_answer_it_is_the_same_question(project: Project) -> None:
    loop = project.loop()
    first = loop.ask()
    assert first is not None
    assert loop.ask() == first
    loop.answer(first.sample_id, "cat")
    second = loop.ask()
    assert second is not None
    assert second.sample_id != first.sample_id


def test_every_image_is_asked_once_and_then_none(project: Project) -> None:
    loop, asked = project.loop(lookahead=5), []
    while (question := loop.ask()) is not None:
        asked.append(question.sample_id)
        loop.answer(question.sample_id, len(asked) % 2)
    assert sorted(asked) == project.store.sample_ids().tolist()
    assert asked != sorted(asked)  # drawn at random while there is no model


def test_an_answer_is_a_class_by_name_or_by_its_place(project: Project) -> None:
    loop = project.loop("ann", "tab")
    loop.answer(1, "dog", ms=900, uid="mine")
    loop.answer(2, 0)
    loop.answer(3, np.int64(1))  # type: ignore[arg-type]
    assert project.store.labels() == {1: 2, 2: 1, 3: 2}
    event = project.store.events()[0]
    assert (event.uid, event.ms, event.annotator, event.client) == ("mine", 900, "ann", "tab")


@pytest.mark.parametrize("wrong", ["bird", "Cat", 2, -1, True, None, 1.0])
def test_an_unknown_class_names_the_known_ones_and_stores_nothing(project: Project, wrong: str | int) -> None:
    with pytest.raises(KeyError, match="the classes are cat, dog"):
        project.loop().answer(1, wrong)
    assert project.store.last_event_id() == 0


def test_an_unknown_sample_stores_nothing(project: Project) -> None:
    with pytest.raises(KeyError, match="no sample 99"):
        project.loop().skip(99)


def test_skipped_unsure_and_flagged_samples_are_not_asked_again(project: Project) -> None:
    loop = project.loop()
    loop.skip(1)
    loop.unsure(2)
    loop.flag(3)
    asked = set()
    while (question := loop.ask()) is not None:
        asked.add(question.sample_id)
        loop.answer(question.sample_id, 0)
    assert asked == set(range(4, 13))
    counts = project.store.counts()
    assert (counts["skipped"], counts["unsure"], counts["flagged"], counts["labeled"]) == (1, 1, 1, 9)


def test_undo_brings_back_that_very_sample_and_it_leads_the_queue(project: Project) -> None:
    loop = project.loop()
    answered = []
    for _ in range(3):
        question = loop.ask()
        assert question is not None
        loop.answer(question.sample_id, "cat")
        answered.append(question.sample_id)
    back = loop.undo()
    assert back is not None
    assert back.sample_id == answered[2]
    assert loop.ask() == back
    back = loop.undo()
    assert back is not None
    assert back.sample_id == answered[1]
    assert project.store.labels() == {answered[0]: 1}
    loop.undo()
    assert loop.undo() is None


def test_undo_of_a_correction_brings_the_earlier_label_back(project: Project) -> None:
    loop = project.loop()
    loop.answer(1, "cat")
    loop.answer(1, "dog")
    back = loop.undo()
    assert back is not None
    assert back.sample_id == 1
    assert project.store.labels() == {1: 1}
    question = loop.ask()
    assert question is not None
    assert question.sample_id != 1


def test_undo_retracts_nothing_of_another_tab(project: Project) -> None:
    one, other = project.loop("ann", "one"), project.loop("ann", "other")
    one.answer(1, "cat")
    assert other.undo() is None
    assert project.store.labels() == {1: 1}


def test_two_annotators_never_get_the_same_sample(project: Project) -> None:
    loops = [project.loop(name, lookahead=3) for name in ("ann", "bob")]
    asked: list[int] = []
    while questions := [question for loop in loops if (question := loop.ask()) is not None]:
        assert len({question.sample_id for question in questions}) == len(questions)
        for loop, question in zip(loops, questions, strict=False):
            loop.answer(question.sample_id, 0)
            asked.append(question.sample_id)
    assert sorted(asked) == project.store.sample_ids().tolist()


def test_many_threads_share_one_project_without_sharing_a_sample(tmp_path: Path) -> None:
    answered: list[int] = []
    with array_project(tmp_path, 160, measure_share=0.1) as p:

        def sit(name: str) -> None:
            loop = p.loop(name, lookahead=4)
            for _ in range(20):
                question = loop.ask()
                assert question is not None
                answered.append(question.sample_id)
                loop.answer(question.sample_id, 0)

        threads = [threading.Thread(target=sit, args=(f"annotator {i}",)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(answered) == len(set(answered)) == 160
        assert p.store.counts()["labeled"] == 160


def test_a_question_decided_elsewhere_is_dropped_when_it_is_its_turn(project: Project) -> None:
    loop = project.loop("ann")
    first = loop.ask()
    assert first is not None
    project.loop("bob").answer(first.sample_id, "dog")
    question = loop.ask()
    assert question is not None
    assert question.sample_id != first.sample_id


def test_a_lease_that_ran_out_is_taken_again_unless_somebody_else_has_it(project: Project) -> None:
    loop = project.loop("ann", "tab", lookahead=2)
    first = loop.ask()
    assert first is not None
    project.store.release("ann", "tab")
    assert loop.ask() == first
    project.store.release("ann", "tab")
    assert project.store.lease([first.sample_id], 1, "bob", "tab") == [first.sample_id]
    second = loop.ask()
    assert second is not None
    assert second.sample_id != first.sample_id


def test_the_ranking_is_asked_from_its_top_with_what_the_model_believes(project: Project) -> None:
    believed = {5: [0.55, 0.45], 9: [0.97, 0.03]}
    publish_version(project, 3, [5, 9, 1], probs=believed)
    loop = project.loop()
    questions = loop.ask_many(3)
    assert [question.sample_id for question in questions] == [5, 9, 1]
    assert questions[0] == Question(
        sample_id=5,
        name=project.store.sample(5).name,
        width=8,
        height=8,
        version=3,
        acquisition="margin",
        score=4.0,
        rank=0,
        purpose="learn",
        probs={1: pytest.approx(0.55), 2: pytest.approx(0.45)},
        guess=1,
        doubt=pytest.approx(0.9),
        why="between cat and dog",
    )
    assert questions[1].why == "the least certain of those that are left"
    loop.answer(5, "dog")
    event = project.store.events()[0]
    assert (event.version, event.acquisition, event.score, event.rank) == (3, "margin", 4.0, 0)
    assert (event.predicted_class_id, event.predicted_prob) == (1, pytest.approx(0.55))


def test_another_acquisition_ranks_the_next_questions_without_waiting_for_a_trainer(project: Project) -> None:
    ids = project.store.sample_ids("pool").tolist()
    probs = {sample_id: [0.99 - 0.04 * i, 0.01 + 0.04 * i] for i, sample_id in enumerate(ids)}
    publish_version(project, 1, ids, acquisition="coverage", probs=probs)
    loop = project.loop(client="tab")
    assert [q.sample_id for q in loop.ask_many(3)] == ids[:3]

    project.store.set_setting("acquisition", "entropy")
    asked = loop.ask_many(3, replace=True)
    assert [(q.sample_id, q.acquisition, q.rank) for q in asked] == [(ids[-1 - i], "entropy", i) for i in range(3)]
    assert asked[0].score == pytest.approx(-sum(p * np.log(p) for p in probs[ids[-1]]), rel=1e-5)

    project.store.set_setting("acquisition", "random")
    assert {(q.acquisition, q.score, q.rank) for q in loop.ask_many(3, replace=True)} == {("random", None, None)}

    project.store.set_setting("acquisition", "coverage")
    assert [(q.sample_id, q.acquisition) for q in loop.ask_many(2, replace=True)] == [(i, "coverage") for i in ids[:2]]


def test_the_reason_is_that_of_the_acquisition(project: Project) -> None:
    ids = project.store.sample_ids("pool").tolist()
    publish_version(project, 1, ids[::-1], acquisition="coverage", probs={sample_id: [0.9, 0.1] for sample_id in ids})
    assert project.loop(client="a").ask_many(1)[0].why == "unlike anything labeled so far"
    project.store.set_setting("acquisition", "margin")
    assert project.loop(client="b").ask_many(1)[0].why == "the least certain of those that are left"


def test_what_was_imported_after_the_ranking_is_asked_after_it_at_random(project: Project) -> None:
    publish_version(project, 1, [5, 9])
    questions = project.loop().ask_many(12)
    assert [question.sample_id for question in questions[:2]] == [5, 9]
    assert {question.acquisition for question in questions[2:]} == {"random"}
    assert len({question.sample_id for question in questions}) == 12


def test_before_the_first_label_the_reason_is_the_group(project: Project) -> None:
    publish_version(project, 1, [5], acquisition="coverage", labels=0)
    assert project.loop().ask_many(1)[0].why == "typical of a group nothing is labeled in yet"
    publish_version(project, 2, [6], acquisition="random", labels=3)
    assert project.loop().ask_many(1)[0].why == "drawn at random"


def test_a_new_ranking_replaces_all_but_the_question_on_screen_and_the_next(project: Project) -> None:
    publish_version(project, 1, [1, 2, 3, 4, 5, 6])
    loop = project.loop("ann", "tab", lookahead=4)
    first = loop.ask()
    assert first is not None
    publish_version(project, 2, [12, 11, 10, 9, 3])
    assert loop.ask() == first
    assert sorted(project.store.held("ann", "tab")) == [1, 2, 11, 12]
    order = []
    for _ in range(6):
        question = loop.ask()
        assert question is not None
        order.append((question.sample_id, question.version))
        loop.answer(question.sample_id, 0)
    assert order == [(1, 1), (2, 1), (12, 2), (11, 2), (10, 2), (9, 2)]


def test_a_refill_gives_none_of_what_the_caller_has(project: Project) -> None:
    loop = project.loop("ann", "tab")
    have = [question.sample_id for question in loop.ask_many(5)]
    more = [question.sample_id for question in loop.ask_many(4, have)]
    assert len(more) == 4
    assert not set(more) & set(have)


def test_a_refill_whose_answer_was_lost_is_given_again(project: Project) -> None:
    loop = project.loop("ann", "tab")
    lost = {question.sample_id for question in loop.ask_many(8)}
    again = {question.sample_id for question in loop.ask_many(12)}
    assert lost <= again


def test_a_replacing_refill_gives_back_what_the_caller_has_not(project: Project) -> None:
    loop = project.loop("ann", "tab")
    have = [question.sample_id for question in loop.ask_many(6)]
    assert loop.ask_many(-1, have[:2], replace=True) == []
    assert project.store.held("ann", "tab") == sorted(have[:2])


def test_a_measuring_question_comes_with_its_probability_at_random_and_is_never_learned_from(tmp_path: Path) -> None:
    with array_project(tmp_path, 400, measure_share=0.25) as p:
        measure = set(p.store.sample_ids("measure").tolist())
        publish_version(p, 1, p.store.sample_ids("pool").tolist())
        loop = p.loop()
        asked = []
        for _ in range(200):
            question = loop.ask()
            assert question is not None
            asked.append(question)
            loop.answer(question.sample_id, 0)
        measured = [question for question in asked if question.purpose == "measure"]
        assert {question.sample_id for question in measured} <= measure
        assert {(question.why, question.acquisition) for question in measured} == {
            ("drawn at random to measure accuracy", "random")
        }
        assert 25 <= len(measured) <= 80  # 50 expected
        assert [question.sample_id for question in measured] != sorted(question.sample_id for question in measured)
        assert len(p.store.labels("learn")) == 200 - len(measured)
        assert not measure & p.store.labels("learn").keys()
        ranked = [question.sample_id for question in asked if question.purpose == "learn"]
        assert ranked == p.store.sample_ids("pool").tolist()[: len(ranked)]


def test_when_the_pool_is_done_the_rest_of_the_measuring_ones_is_asked(tmp_path: Path) -> None:
    with array_project(tmp_path, 20, measure_share=0.5) as p:
        p.store.set_setting("measure_share", 0)
        loop = p.loop(lookahead=3)
        purposes = []
        while (question := loop.ask()) is not None:
            purposes.append(question.purpose)
            loop.skip(question.sample_id)
        assert purposes[:9] == ["learn"] * 9
        assert Counter(purposes) == {"learn": 10, "measure": 10}


def test_a_sample_reopened_by_somebody_else_is_asked_again(tmp_path: Path) -> None:
    with array_project(tmp_path, 600, measure_share=0) as p:
        p.loop("bob", "tab").commit([NewEvent(f"{i}", "label", i, 1) for i in range(1, 600)])
        loop = p.loop("ann")
        last = loop.ask()
        assert last is not None
        loop.answer(last.sample_id, 0)
        assert loop.ask() is None
        p.loop("bob", "tab").undo()
        p.store.release("bob", "tab")
        question = loop.ask()
        assert question is not None
        assert question.sample_id == 599


def test_the_order_does_not_depend_on_the_machine_but_on_the_projects_seed(tmp_path: Path) -> None:
    orders = []
    with array_project(tmp_path, 50, measure_share=0.2) as p:
        for rng_seed in (1, 1, 2):
            p.store.set_setting("rng_seed", rng_seed)
            fresh = Project.open(p.folder)
            orders.append([question.sample_id for question in fresh.loop("ann", "tab").ask_many(50)])
            fresh.store.release("ann", "tab")
            fresh.close()
    assert orders[0] == orders[1] != orders[2]


def test_committed_events_are_those_of_the_loops_annotator_and_client_whatever_they_say(project: Project) -> None:
    loop = project.loop("ann", "tab")
    sent = [
        NewEvent("a", "label", 1, 2, annotator="mallory", client="other"),
        NewEvent("b", "skip", 2),
        NewEvent("c", "undo", 1, undoes="a"),
    ]
    assert loop.commit(sent) == ["a", "b", "c"]
    assert loop.commit([replace(sent[0], annotator="ann")]) == ["a"]
    assert {(event.annotator, event.client) for event in project.store.events()} == {("ann", "tab")}
    assert project.store.counts()["skipped"] == 1
    assert project.store.labels() == {}


def test_asking_many_reads_little_however_many_samples_there_are(tmp_path: Path) -> None:
    with array_project(tmp_path, 3_000, measure_share=0.1) as p:
        pool = p.store.sample_ids("pool")
        publish_version(p, 1, pool.tolist())
        p.loop("bob").commit([NewEvent(f"{i}", "label", int(i), 1) for i in pool[:2_000]])
        questions = p.loop("ann").ask_many(16)
        ranked = [question.sample_id for question in questions if question.purpose == "learn"]
        assert ranked == pool[2_000 : 2_000 + len(ranked)].tolist()
        assert Counter(question.acquisition for question in questions)["margin"] == len(ranked)
