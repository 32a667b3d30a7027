"""A sitting in real time: a server and its trainer as people start them, answers through the page's routes."""

import time

import pytest
from conftest import interrupt, start
from test_lookout import digit_project

from labeler import Project
from labeler.live import sitting

__all__ = ["digit_project"]


def test_answers_at_an_even_pace_are_stored_and_learned_before_it_ends(
    digit_project: Project, capfd: pytest.CaptureFixture[str]
) -> None:
    store = digit_project.store
    truth = {sample.name: str(sample.id % 10) for sample in store.samples()}
    seen: list[tuple[int, int]] = []
    begun = time.monotonic()
    assert sitting(digit_project, truth, 6, "margin", 0.2, lambda given, of: seen.append((given, of))) == 6
    assert time.monotonic() - begun > 6 * 0.2
    assert seen == [(i, 6) for i in range(1, 7)]
    labels = store.labels(purpose=None)
    names = {c.id: c.name for c in store.classes()}
    assert {i: names[c] for i, c in labels.items()} == {i: str(i % 10) for i in labels}
    assert {(event.annotator, event.ms) for event in store.events()} == {("simulated", 200)}
    newest = store.newest_version()
    assert newest is not None
    assert newest.metrics["learned_event_id"] == store.last_event_id()
    assert store.process("server") is None
    assert capfd.readouterr() == ("", "")


def test_a_server_that_cannot_start_says_why(digit_project: Project, capfd: pytest.CaptureFixture[str]) -> None:
    other = start("serve", digit_project.folder, "--port", "0", "--no-browser", "--no-trainer")
    try:
        assert other.stdout is not None
        assert "Labeler is ready" in other.stdout.readline()
        with pytest.raises(RuntimeError, match="the server did not start"):
            sitting(digit_project, {}, 1, "margin", 0, lambda given, of: None)
    finally:
        ended = interrupt(other)
    assert "already has a running server" in capfd.readouterr().err
    assert ended.code == 0
