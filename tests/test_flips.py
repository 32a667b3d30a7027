"""What each answer changed: every publication is compared with the one before it, and nothing is divided."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from labeler import Project
from labeler.flips import Change, Flips, from_rows, known, of_answers
from labeler.learning import Learning
from labeler.ranker import rank_now

QUICK = {"warm_up_steps": 20, "batch": 48, "labeled_batch": 16, "partial_batch": 8, "graph_size": 200}


@pytest.fixture
def learning(tmp_path: Path, digits: tuple[np.ndarray, np.ndarray]) -> Iterator[Learning]:
    """200 digits after a short warm-up."""
    np.savez(tmp_path / "pool.npz", x=digits[0][:200])
    with Project.create(tmp_path / "project", [str(k) for k in range(10)]) as p:
        p.import_(tmp_path / "pool.npz", measure_share=0)
        p.store.set_setting("learner", QUICK)
        found = Learning(p)
        found.improve(20)
        found.publish("coverage")
        yield found


def taken(p: Project) -> np.ndarray:
    published = p.published()
    assert published is not None
    return np.array(published.probs.argmax(1))


def test_rankings_and_versions_tell_how_many_predictions_flipped_and_which_answers_they_knew_first(
    learning: Learning,
) -> None:
    project, rng = learning.project, np.random.default_rng(0)
    loop, events, seen = project.loop("ann", "tab"), {}, []

    def answers(*ids: int) -> None:
        for sample_id in ids:
            loop.answer(sample_id, sample_id % 10)
            events[sample_id] = project.store.last_event_id()

    answers(1)
    rank_now(learning, rng, "coverage")  # the first that means anything: there is nothing to compare it with
    for some in ((2,), (3, 4, 5)):
        before = taken(project)
        answers(*some)
        rank_now(learning, rng, "coverage")
        seen.append((len(some), int((taken(project) != before).sum()), 0))
    loop.skip(9)
    loop.undo()  # of a skip: it teaches nothing, and reads as an undo all the same
    before = taken(project)
    answers(6)
    learning.sync()
    learning.improve(5)
    learning.publish("coverage")
    seen.append((2, int((taken(project) != before).sum()), 5))

    changes = known(project.store.versions(), project.published())
    assert [(one.answers, one.flipped, one.steps) for one in changes] == seen
    assert [(one.after, one.upto) for one in changes] == [(1, 2), (2, 5), (5, project.store.last_event_id())]
    assert {one.n for one in changes} == {200}
    found = of_answers(project.store, project.published(), events)
    assert {sample_id: one.answers for sample_id, one in found.items()} == {2: 1, 3: 3, 4: 3, 5: 3, 6: 2}

    answers(7)
    rank_now(learning, rng, "coverage")
    newest = known(project.store.versions(), project.published())[-1]
    assert (newest.answers, newest.steps, newest.after) == (1, 0, changes[-1].upto)
    assert from_rows(project.published().changes) == [newest]  # until there is a version, with the ranking


def test_a_ranking_on_a_version_that_is_not_the_newest_any_more_changes_nothing(project: Project) -> None:
    flips, ids = Flips(project.store), np.arange(3)
    a, b = np.array([1, 1, 1]), np.array([2, 1, 1])
    assert flips.version("one", ids, a, 1, 10, 1) == []
    assert flips.version("two", ids, b, 1, 20, 1)[0].flipped == 1
    assert flips.ranking("one", ids, a, 2, 2) == []
    assert [one.flipped for one in flips.ranking("two", ids, b, 2, 2)] == [0]
    assert [one.steps for one in flips.version("three", ids, a, 2, 30, 2)] == [0, 10]
    assert flips.version("four", np.arange(4), np.ones(4, int), 2, 40, 2) == []  # images came


def test_what_a_prediction_was_before_the_first_label_is_no_change(project: Project) -> None:
    flips, ids = Flips(project.store), np.arange(3)
    assert flips.version("one", ids, np.array([1, 2, 3]), 0, 10, 0) == []
    assert flips.ranking("one", ids, np.array([1, 1, 1]), 1, 1) == []
    assert isinstance(flips.ranking("one", ids, np.array([1, 1, 2]), 2, 2)[0], Change)
