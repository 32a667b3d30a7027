"""A paused trainer: labels count and rank, gradient steps wait; it costs nothing, says so, and goes on at once."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import Ended, wait_for
from test_lookout import at_work, digit_project, learned, rests

from labeler import Project
from labeler.cli.page import said_when_paused
from labeler.control import change
from labeler.course import train
from labeler.learning import Learning
from labeler.lookout import Lookout
from labeler.ranker import Ranker

__all__ = ["digit_project"]


def phase(project: Project) -> str | None:
    return (project.store.process("trainer") or {}).get("phase")


def steps(project: Project) -> int:
    return int((project.store.process("trainer") or {})["step"])


def test_while_it_is_paused_labels_rank_and_no_step_is_taken_and_it_goes_on_at_once(digit_project: Project) -> None:
    store, loop = digit_project.store, digit_project.loop()
    with at_work(digit_project):
        loop.answer(1, "3")
        wait_for(lambda: learned(digit_project) == 1 and rests(digit_project))
        change(store, {"paused": True})
        wait_for(lambda: phase(digit_project) == "paused")
        newest = store.newest_version()
        before = steps(digit_project)
        for i in (2, 3, 4):
            loop.answer(i, str(i))
            event = store.last_event_id()
            wait_for(lambda event=event: digit_project.published().last_event_id == event)
        assert digit_project.published().as_written is not None
        assert store.newest_version() == newest
        change(store, {"acquisition": "entropy"})
        wait_for(lambda: digit_project.published().acquisition == "entropy")
        assert (steps(digit_project), learned(digit_project)) == (before, 1)
        change(store, {"paused": False})
        wait_for(lambda: learned(digit_project) == event)
        wait_for(lambda: phase(digit_project) != "paused")


def test_a_trainer_that_starts_paused_ranks_on_a_version_without_a_step(digit_project: Project) -> None:
    store, loop = digit_project.store, digit_project.loop()
    with at_work(digit_project):
        loop.answer(1, "3")
        wait_for(lambda: learned(digit_project) == 1 and rests(digit_project))
    change(store, {"paused": True})
    taken = store.newest_version().steps
    with at_work(digit_project):
        wait_for(lambda: phase(digit_project) == "paused")
        loop.answer(2, "4")
        event = store.last_event_id()
        wait_for(lambda: digit_project.published().last_event_id == event)
        assert digit_project.published().as_written is not None
        store.add_classes(["blank"])
        wait_for(lambda: digit_project.published().probs.shape[1] == 11)
        loop.answer(3, "blank")
        wait_for(lambda: digit_project.published().last_event_id == store.last_event_id())
        assert {version.steps for version in store.versions()[-3:]} == {taken}


def test_a_change_of_how_it_ranks_ranks_anew_and_back(digit_project: Project) -> None:
    store, ended = digit_project.store, threading.Event()
    learning = Learning(digit_project)
    digit_project.loop().answer(1, "3")
    learning.improve(12)
    learning.sync()
    learning.publish("coverage")
    lookout = Lookout(store, ended)
    ranker = Ranker(store, lambda: learning, lookout, ended)
    ranker._turn()
    assert digit_project.published().as_written is None  # the version's own ranking is of now
    seen = []
    for how in ({"acquisition": "margin"}, {"acquisition": "coverage"}, {"diversity": 0}):
        change(store, how)
        ranker._turn()
        seen.append((digit_project.published().acquisition, digit_project.published().as_written))
        ranker._turn()
        assert digit_project.published().as_written == seen[-1][1]  # once is enough
        time.sleep(0.01)
    assert [acquisition for acquisition, _ in seen] == ["margin", "coverage", "coverage"]
    assert len({written for _, written in seen}) == 3


def test_what_is_of_one_person_is_no_news_to_a_trainer(digit_project: Project) -> None:
    lookout = Lookout(digit_project.store, threading.Event())
    digit_project.narrowings.choose("ann", sample_ids=[1, 2, 3], newest=True)
    assert not lookout._is_news()
    change(digit_project.store, {"diversity": 2})
    assert lookout._is_news()


# ---------- the commands ----------
def test_the_commands_pause_and_resume_a_project(project: Project, labeler: Callable[..., Ended]) -> None:
    ended = labeler("pause", project.folder)
    assert (ended.code, ended.err) == (0, "")
    assert "paused. Labels still count. No trainer runs now." in ended.out
    assert project.store.setting("paused") is True
    assert labeler("status", project.folder).out.splitlines()[-1] == "  training is paused: labeler resume goes on"
    assert "Training goes on." in labeler("resume", project.folder).out
    assert project.store.setting("paused") is False
    assert "paused" not in labeler("status", project.folder).out
    assert labeler("pause", project.folder / "nowhere").code == 1


def test_training_until_settled_waits_while_it_is_paused_and_says_so(
    digit_project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    change(digit_project.store, {"paused": True})
    with ThreadPoolExecutor() as pool:
        trainer = pool.submit(train, digit_project.folder, True, on_phase=said_when_paused(digit_project.folder))
        wait_for(lambda: phase(digit_project) == "paused")
        assert not trainer.done()
        assert digit_project.store.newest_version() is None
        change(digit_project.store, {"paused": False})
        trainer.result(60)
    assert digit_project.store.newest_version() is not None
    told = capsys.readouterr().err.splitlines()
    assert told[0].startswith("Training is paused. Labels still count; go on with: labeler resume ")
    assert told[1:] == ["Training goes on."]
