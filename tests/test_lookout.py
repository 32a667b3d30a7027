"""Nothing that is committed is missed, by whatever process, and a trainer at rest hears of it without asking again."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from conftest import wait_for

from labeler import Project
from labeler.course import Course, Lost, Report, train
from labeler.learning import Learning
from labeler.lookout import Lookout
from labeler.ranker import Ranker

RECORD = """
import sys
from storage import NewEvent, Store
with Store.open(sys.argv[1]) as store:
    for i in range(int(sys.argv[2]), int(sys.argv[3])):
        store.record([NewEvent(f"event {i}", "label", i % 40 + 1, 1, "ann", "tab")])
"""


@pytest.fixture
def digit_project(tmp_path: Path, digits: tuple[np.ndarray, np.ndarray]) -> Iterator[Project]:
    """100 digits in the pool, a learner of few steps."""
    np.savez(tmp_path / "pool.npz", x=digits[0][:100])
    with Project.create(tmp_path / "project", [str(k) for k in range(10)]) as p:
        p.import_(tmp_path / "pool.npz", measure_share=0)
        p.store.set_setting("learner", {"warm_up_steps": 6, "settle_least": 4, "settle_most": 8, "graph_size": 100})
        p.store.set_setting("map", False)
        yield p


def record(project: Project, first: int, last: int) -> subprocess.Popen[bytes]:
    """Events first to last - 1, one by one, by a process of its own."""
    return subprocess.Popen([sys.executable, "-c", RECORD, str(project.store.place), str(first), str(last)])


@contextmanager
def at_work(project: Project) -> Iterator[None]:
    """A trainer in a thread of this process, until it loses the project."""
    with ThreadPoolExecutor() as pool:
        trainer = pool.submit(train, project.folder)
        try:
            yield
        finally:
            project.store.let_go("trainer", project.store.process("trainer")["holder"])
        with pytest.raises(Lost):
            trainer.result(30)


def rests(project: Project) -> bool:
    return (project.store.process("trainer") or {}).get("phase") == "idle"


def learned(project: Project) -> int:
    newest = project.store.newest_version()
    return newest.metrics["learned_event_id"] if newest else -1


def test_no_commit_is_missed_while_others_write_and_look(digit_project: Project) -> None:
    store, ended = digit_project.store, threading.Event()
    lookout = Lookout(store, ended)
    lookout.start()

    def follow() -> int:
        """Until the last event was seen, asking for it only after news."""
        while True:
            seen = lookout.news
            newest = store.last_event_id()
            if newest == 200:
                return newest
            lookout.wait(seen)

    store.hold("trainer", "me", {})
    with ThreadPoolExecutor() as pool, record(digit_project, 0, 200) as writer:
        followers = [pool.submit(follow) for _ in range(3)]
        while writer.poll() is None:
            store.heartbeat("trainer", "me", {"time": time.time()})
            time.sleep(0.005)
        assert [f.result(10) for f in followers] == [200, 200, 200]
        ended.set()
    lookout.join(10)
    assert not lookout.is_alive()


INTERRUPTED = """
import signal, sys, threading
from labeler.lookout import Lookout
from storage import Store

def interrupt(*_):
    raise KeyboardInterrupt

def at_work():
    while True:
        sum(range(2000))

signal.signal(signal.SIGALRM, interrupt)
for _ in range(2):
    threading.Thread(target=at_work, daemon=True).start()
with Store.open(sys.argv[1]) as store:
    for i in range(40):
        lookout = Lookout(store, threading.Event())
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.003 + 0.00007 * i)
            while True:
                lookout.tell()
        except KeyboardInterrupt:
            pass
        other = threading.Thread(target=lookout.tell, daemon=True)
        other.start()
        other.join(10)
        print("waits for ever" if other.is_alive() else "goes on", flush=True)
        if other.is_alive():
            break
"""


def test_an_interrupt_while_it_tells_leaves_the_others_able_to_hear(digit_project: Project) -> None:
    command = [sys.executable, "-P", "-c", INTERRUPTED, str(str(digit_project.store.place))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == ["goes on"] * 40, done.stderr


def test_a_heartbeat_is_no_news_but_events_images_classes_and_settings_are(
    digit_project: Project, digits: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    store, ended = digit_project.store, threading.Event()
    np.savez(tmp_path / "more.npz", x=digits[0][100:110])
    lookout = Lookout(store, ended)
    assert not lookout._is_news()
    store.hold("trainer", "me", {})
    store.heartbeat("trainer", "me", {})
    assert not lookout._is_news()
    for change in (
        lambda: digit_project.loop().answer(1, "3"),
        lambda: digit_project.import_(tmp_path / "more.npz", measure_share=0),
        lambda: store.add_classes(["blank"]),
        lambda: store.set_setting("paused", True),
    ):
        change()
        assert lookout._is_news()
        assert not lookout._is_news()
    assert lookout.news == 4


def test_a_trainer_at_rest_wakes_for_events_of_another_process(digit_project: Project) -> None:
    with at_work(digit_project):
        wait_for(lambda: rests(digit_project))
        assert record(digit_project, 0, 12).wait() == 0
        wait_for(lambda: learned(digit_project) == 12 and rests(digit_project))
        assert record(digit_project, 12, 13).wait() == 0
        wait_for(lambda: digit_project.published().last_event_id == 13)
        wait_for(lambda: learned(digit_project) == 13)
        digit_project.store.set_setting("paused", True)
        wait_for(lambda: (digit_project.store.process("trainer") or {}).get("phase") == "paused")


def test_a_trainer_without_classes_begins_when_there_are_some(tmp_path: Path, digit_project: Project) -> None:
    with Project.create(tmp_path / "bare", []) as bare:
        bare.import_(tmp_path / "pool.npz", measure_share=0)
        bare.store.set_setting("learner", digit_project.store.setting("learner"))
        with at_work(bare):
            wait_for(lambda: "no classes yet" in (bare.store.process("trainer") or {}).get("message", ""))
            bare.store.add_classes(["even", "odd"])
            wait_for(lambda: bare.store.newest_version() is not None)


def test_an_event_that_a_new_version_does_not_know_is_ranked_on_it_too(digit_project: Project) -> None:
    ended = threading.Event()
    learning = Learning(digit_project)
    course = Course(digit_project, learning, Report(digit_project), lookout=Lookout(digit_project.store, ended))
    ranker = Ranker(digit_project.store, lambda: learning, course.lookout, ended)
    loop = digit_project.loop()
    loop.answer(1, "3")
    learning.sync()
    learning.improve(6)
    course._publish()
    course.lookout.start()
    ranker.start()
    loop.answer(2, "5")
    wait_for(lambda: digit_project.published().last_event_id == 2)
    course._publish()  # begun before the second answer
    assert learning.published_event_id == 1
    wait_for(lambda: (p := digit_project.published()).version == 2 and p.last_event_id == 2)
    ended.set()
    ranker.join(10)
    assert not ranker.is_alive()
