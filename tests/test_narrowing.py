"""What one person wants to be asked: a class, a selection, the newest first; and shares that hold for everybody."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_loop import array_project, publish_version

from labeler import Project
from labeler.control import Control, change, control_of
from labeler.loop import Loop, Question
from storage import NewEvent

CAT, DOG = [0.8, 0.1, 0.1], [0.1, 0.8, 0.1]


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """300 images, 60 of them for measuring; the model takes every third one of all for a dog, the others for cats."""
    with array_project(tmp_path, 300, measure_share=0.2) as p:
        probs = {int(i): DOG if i % 3 == 0 else CAT for i in p.store.sample_ids()}
        publish_version(p, 1, p.store.sample_ids("pool")[::-1].tolist(), probs=probs)
        change(p.store, {"acquisition": "margin"})
        yield p


def asked(p: Project, n: int, name: str = "ann", **wanted: Any) -> list[Question]:
    if wanted:
        p.narrowings.choose(name, **wanted)
    return p.loop(name, "tab").ask_many(n, replace=True)


def of_pool(questions: list[Question]) -> list[int]:
    return [question.sample_id for question in questions if question.purpose == "learn"]


def test_only_one_predicted_class_is_asked_in_the_rankings_order_under_a_name_of_its_own(project: Project) -> None:
    pool = project.store.sample_ids("pool")
    questions = asked(project, 30, class_id=2)
    dogs = [int(i) for i in pool[::-1] if i % 3 == 0]
    assert of_pool(questions) == dogs[: len(of_pool(questions))]
    learned = [q for q in questions if q.purpose == "learn"]
    assert {q.acquisition for q in learned} == {"margin among class"}
    assert [q.rank for q in learned] == list(range(len(learned)))
    assert learned[0].score is not None
    assert learned[0].why == "between cat and dog" or learned[0].why == "the least certain of those that are left"


def test_measuring_images_keep_coming_at_their_share_whatever_they_are_taken_for(project: Project) -> None:
    change(project.store, {"measure_share": 0.5})
    project.narrowings.choose("ann", class_id=2)
    loop, kinds = project.loop("ann", "tab"), []
    for _ in range(40):
        (question,) = loop.ask_many(1)
        loop.answer(question.sample_id, "dog")
        kinds.append((question.purpose, question.sample_id % 3 == 0))
    tally = Counter(kinds)
    assert tally["learn", False] == 0
    assert 10 <= tally["measure", True] + tally["measure", False] <= 30
    assert tally["measure", False] > 0  # a guess of the model chose none of them
    assert {e.acquisition for e in project.store.events() if e.purpose == "measure"} == {"random"}


def test_a_selection_and_a_class_and_the_newest_first_work_together(project: Project) -> None:
    pool = project.store.sample_ids("pool").tolist()
    change(project.store, {"measure_share": 0})
    some = pool[10:40]
    assert sorted(of_pool(asked(project, 99, sample_ids=some, title="on the map"))) == some
    assert project.narrowings.of("ann").title == "on the map"
    questions = asked(project, 99, class_id=1, newest=True)
    assert of_pool(questions) == [i for i in some[::-1] if i % 3]
    assert {q.acquisition for q in questions} == {"newest among class and selection"}
    questions = asked(project, 5, class_id=None, selected=None)
    assert of_pool(questions) == pool[::-1][:5]
    assert ({q.acquisition for q in questions}, {q.rank for q in questions}) == ({"newest"}, {None})
    assert questions[0].why == "the newest of those that are open"


def test_ids_that_are_not_of_the_pool_never_come_by_a_selection(project: Project) -> None:
    change(project.store, {"measure_share": 0})
    measure, pool = (project.store.sample_ids(split).tolist() for split in ("measure", "pool"))
    assert of_pool(asked(project, 9, sample_ids=[*measure[:5], pool[0], 99_999])) == [pool[0]]
    assert asked(project, 9)[0].acquisition == "margin among selection"
    assert len(asked(project, 9)) == 1


def test_when_nothing_is_left_nothing_comes_until_it_is_lifted(project: Project) -> None:
    change(project.store, {"measure_share": 0.5})
    pool = project.store.sample_ids("pool").tolist()
    loop = project.loop("ann", "tab", lookahead=3)
    project.narrowings.choose("ann", sample_ids=pool[:4])
    seen = []
    while (question := loop.ask()) is not None:
        loop.answer(question.sample_id, "cat")
        seen.append(question)
    assert sorted(of_pool(seen)) == pool[:4]
    assert len(seen) < 30  # not all of the measuring ones in place of what is used up
    project.narrowings.choose("ann", selected=None)
    assert loop.ask() is not None
    project.narrowings.choose("ann", sample_ids=pool[:4])
    loop.undo()
    while (question := loop.ask()) is not None and question.purpose == "measure":
        loop.answer(question.sample_id, "cat")
    assert question is None or question.sample_id in pool[:4]


def test_an_undone_image_is_among_them_again(project: Project) -> None:
    change(project.store, {"measure_share": 0})
    some = project.store.sample_ids("pool")[:3].tolist()
    bob, ann = project.loop("bob", "tab"), project.loop("ann", "tab")
    project.narrowings.choose("ann", sample_ids=some)
    ann.ask_many(1)
    bob.commit([NewEvent(f"uid-{i}", "label", i, 1) for i in some if i not in project.store.held("ann", "tab")])
    ann.release()
    assert len(ann.ask_many(9)) == 1
    bob.undo()
    bob.release()
    assert len(ann.ask_many(9, replace=True)) == 2


def test_a_change_acts_on_the_next_question_and_the_one_on_screen_stays(project: Project) -> None:
    change(project.store, {"measure_share": 0})
    loop = project.loop("ann", "tab")
    first = loop.ask()
    assert first is not None
    project.narrowings.choose("ann", class_id=1 if first.sample_id % 3 == 0 else 2)
    assert loop.ask() == first
    loop.answer(first.sample_id, "cat")
    second = loop.ask()
    assert second is not None
    assert (second.sample_id % 3 == 0) != (first.sample_id % 3 == 0)
    assert second.acquisition == "margin among class"
    change(project.store, {"acquisition": "random"})
    loop.answer(second.sample_id, "cat")
    third = loop.ask()
    assert third is not None
    assert third.acquisition == "random among class"


def test_it_is_one_persons_own_and_outlives_the_process(project: Project) -> None:
    some = project.store.sample_ids("pool")[:3].tolist()
    asked(project, 1, sample_ids=some)
    assert len(of_pool(asked(project, 30, "bob"))) > 10
    with Project.open(project.folder) as again:
        assert of_pool(again.loop("ann", "later").ask_many(30)) != []
        assert set(of_pool(again.loop("ann", "later").ask_many(30, replace=True))) <= set(some)
        again.narrowings.choose("ann", sample_ids=[some[0]])
    change(project.store, {"measure_share": 0})
    project.store.release("ann", "later")
    assert of_pool(asked(project, 30)) == [some[0]]  # although this process knew the earlier selection


def test_images_asked_of_several_people_are_in_no_class_but_in_a_selection(project: Project) -> None:
    change(project.store, {"measure_share": 0})
    project.set_overlap(1.0, 2)
    assert asked(project, 9, class_id=2) == []
    some = project.store.sample_ids("pool")[:3].tolist()
    questions = asked(project, 9, class_id=None, sample_ids=some)
    assert sorted(of_pool(questions)) == some
    assert all(question.blind for question in questions)


def test_before_the_model_knows_a_label_no_image_is_taken_for_a_class(tmp_path: Path) -> None:
    with array_project(tmp_path, 20, measure_share=0) as p:
        assert asked(p, 5, class_id=1) == []
        assert len(asked(p, 5, class_id=None, sample_ids=[1, 2, 3])) == 3
        assert {q.acquisition for q in asked(p, 5)} == {"random among selection"}
        publish_version(p, 1, list(range(1, 21)), labels=0, probs=dict.fromkeys(range(1, 21), CAT))
        assert asked(p, 5, class_id=1, selected=None) == []
        publish_version(p, 2, list(range(1, 21)), labels=1, probs=dict.fromkeys(range(1, 21), CAT))
        assert len(asked(p, 5)) == 5


def test_a_merged_class_counts_as_the_other_and_an_archived_one_holds_nothing(project: Project) -> None:
    change(project.store, {"measure_share": 0})
    asked(project, 1, class_id=1)
    project.classes.merge(["dog"], into="cat")
    assert len(of_pool(asked(project, 300))) == 240
    project.classes.unmerge(["dog"])
    project.classes.archive(["cat"])
    assert asked(project, 9) == []
    assert asked(project, 9, newest=True) == []  # it can still be changed


@pytest.mark.parametrize(("wanted", "error"), [({"sample_ids": []}, ValueError), ({"class_id": 9}, KeyError)])
def test_what_cannot_be_wanted_changes_nothing(project: Project, wanted: dict[str, Any], error: Any) -> None:
    before = project.narrowings.choose("ann", newest=True)
    with pytest.raises(error):
        project.narrowings.choose("ann", **wanted)
    with pytest.raises(ValueError, match="of 100,001"):
        project.narrowings.choose("ann", sample_ids=np.arange(1, 100_002))
    assert project.narrowings.of("ann") == before


# ---------- shares ----------
def test_the_random_share_comes_at_random_among_the_ranked_ones(project: Project) -> None:
    change(project.store, {"measure_share": 0, "random_share": 0.5})
    loop, chosen = project.loop("ann", "tab"), []
    for _ in range(10):
        questions = loop.ask_many(8, replace=True)
        chosen += [question.acquisition for question in questions]
        loop.commit([NewEvent(f"uid-{q.sample_id}", "skip", q.sample_id) for q in questions])
    assert set(chosen) == {"random", "margin"}
    assert 24 <= chosen.count("random") <= 56
    places = [i % 8 for i, one in enumerate(chosen) if one == "random"]
    assert len(set(places)) > 4  # no place tells it
    project.narrowings.choose("ann", class_id=2)
    questions = loop.ask_many(30, replace=True)
    assert {q.acquisition for q in questions} == {"random among class", "margin among class"}
    assert {q.sample_id % 3 for q in questions} == {0}


def test_without_a_share_or_a_narrowing_the_questions_are_those_of_before(project: Project) -> None:
    """The draws of a sitting can be repeated, so nothing is drawn that is not asked for."""

    def first(loop: Loop) -> list[int]:
        return [question.sample_id for question in loop.ask_many(40, replace=True)]

    plain = first(project.loop("ann", "tab"))
    project.store.release("ann", "tab")
    change(project.store, {"random_share": 0.0, "diversity": 2})
    project.narrowings.choose("ann", newest=False, class_id=None)
    assert first(project.loop("ann", "tab")) == plain


WRONG = [
    ("acquisition", "telepathy"), ("random_share", 1.5), ("measure_share", 0.95), ("measure_share", float("nan")),
    ("diversity", -1), ("paused", "yes"), ("rng_seed", 3),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_setting_that_will_not_do_is_refused_and_changes_nothing(project: Project, name: str, value: Any) -> None:
    before = control_of(project.store)
    with pytest.raises(ValueError, match=r"no 'rng_seed'|between|no acquisition|true or false"):
        change(project.store, {"paused": True, name: value})
    assert control_of(project.store) == before == Control(acquisition="margin", measure_share=0.2)
