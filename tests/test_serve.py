"""The server as people start it: refusals, the trainer beside it, Ctrl-C, and kill -9 in the middle of a sitting."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from conftest import interrupt, start, wait_for
from pages import CHROMIUM, FLAGS, IMAGE, small_project
from playwright.sync_api import Response, expect, sync_playwright

from labeler import Project
from labeler.project import DATABASE
from labeler.serve import configured, serve
from storage import AlreadyRunning
from storage.processes import runs


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with small_project(tmp_path / "project") as p:
        yield p


class Started:
    """`labeler serve` in a process of its own, ended with the test."""

    def __init__(self, project: Project, *options: object) -> None:
        self.process = start("serve", project.folder, "--no-browser", *options)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        self.url = next(word for word in line.split() if word.startswith("http://"))

    @property
    def port(self) -> str:
        return self.url.rsplit(":", 1)[-1]

    def state(self) -> Any:
        return httpx.get(f"{self.url}/labeler/state", timeout=30).json()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def started() -> Iterator[Callable[..., Started]]:
    servers: list[Started] = []

    def one(project: Project, *options: object) -> Started:
        servers.append(Started(project, *options))
        return servers[-1]

    yield one
    for server in servers:
        if server.process.poll() is None:
            server.kill()


def trainer_pid(project: Project) -> int | None:
    known = project.store.process("trainer")
    return int(known["pid"]) if known and known["alive"] else None


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.7", "::", "example.org"])
def test_a_host_that_others_could_reach_is_refused_until_there_are_accounts(project: Project, host: str) -> None:
    with pytest.raises(ValueError, match=r"needs accounts\. Make the first one: labeler user add"):
        serve(project.folder, host=host, open_browser=False)


def test_an_empty_host_is_refused(project: Project) -> None:
    with pytest.raises(ValueError, match="--host is empty"):
        serve(project.folder, host="", open_browser=False)


def test_a_port_in_use_is_named_with_another_to_try(project: Project) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(OSError, match=rf"Port {port} is in use.*--port {port + 1}"):
            serve(project.folder, port=port, open_browser=False)
    assert project.store.process("server") is None


def test_a_second_server_on_a_project_is_told_where_the_first_one_is(project: Project) -> None:
    project.store.hold("server", "another", {"url": "http://127.0.0.1:7860", "pid": os.getpid()})
    with pytest.raises(AlreadyRunning, match=r"http://127\.0\.0\.1:7860"):
        serve(project.folder, port=0, open_browser=False)


def test_an_unknown_acquisition_is_refused_before_anything_starts(project: Project) -> None:
    with pytest.raises(ValueError, match="coverage"):
        serve(project.folder, port=0, open_browser=False, acquisition="telepathy")


def test_the_trainer_is_started_again_when_it_dies_and_ends_with_the_server(
    project: Project, started: Callable[..., Started]
) -> None:
    server = started(project, "--port", 0, "--acquisition", "entropy")
    assert server.state()["control"]["acquisition"] == "entropy"
    first = wait_for(lambda: trainer_pid(project), 30)
    os.kill(first, signal.SIGKILL)
    second = wait_for(lambda: (pid := trainer_pid(project)) != first and pid, 30)
    told = server.state()["trainer"]
    assert (told["alive"], told["wanted"], told["restarts"]) == (True, True, 1)
    assert told["restarted_ago"] < 30

    ended = interrupt(server.process)

    assert (ended.code, "Traceback" in ended.err) == (0, False), ended.err
    assert not runs(second)
    assert project.store.process("server") is None


def test_ctrl_c_while_the_server_starts_ends_it_without_a_traceback(project: Project) -> None:
    for seconds in (0.3, 1.2):
        process = start("serve", project.folder, "--no-browser", "--port", 0, "--no-trainer")
        time.sleep(seconds)
        ended = interrupt(process)
        assert (ended.code, "Traceback" in ended.err) == (0, False), ended.err
    assert project.store.process("server") is None


def test_a_server_whose_project_was_taken_over_leaves(project: Project, started: Callable[..., Started]) -> None:
    server = started(project, "--port", 0, "--no-trainer")
    known = project.store.process("server")
    assert known is not None
    project.store.let_go("server", known["holder"])
    project.store.hold("server", "another", {"url": "http://127.0.0.1:1"})
    _, err = server.process.communicate(timeout=20)
    assert server.process.returncode == 1
    assert "Another server took" in err
    assert "Traceback" not in err


KEYS_WITHOUT_END = """
() => {
  window.pressed = [];
  const press = () => {
    window.pressing = setTimeout(press, 80);
    const image = document.querySelector('.stage-image img');
    if (!image) return;
    const key = String(1 + (window.pressed.length * 7) % 9);
    window.pressed.push([Number(image.dataset.sampleId), Number(key)]);
    document.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true }));
  };
  press();
}
"""


def test_kill_9_of_the_server_while_keys_arrive_loses_no_answer(
    project: Project, started: Callable[..., Started]
) -> None:
    acknowledged: set[str] = set()

    def note(response: Response) -> None:
        if response.url.endswith("/labeler/commit") and response.ok:
            acknowledged.update(response.json()["stored"])

    server = started(project, "--port", 0)
    trainer = wait_for(lambda: trainer_pid(project), 30)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page()
        page.goto(server.url)
        page.fill("dialog.who input", "ann")
        page.keyboard.press("Enter")
        expect(page.locator(IMAGE)).to_be_visible()
        page.on("response", note)
        page.evaluate(KEYS_WITHOUT_END)
        page.wait_for_timeout(1500)

        server.kill()
        died = time.monotonic()
        page.wait_for_timeout(700)  # keys go on while the server is away
        page.evaluate("clearTimeout(window.pressing)")
        wait_for(lambda: not runs(trainer), 5 - (time.monotonic() - died))
        stored = {event.uid for event in project.store.events()}
        assert acknowledged, "some answers were acknowledged before the end"
        assert acknowledged <= stored
        expect(page.locator(".save")).to_contain_text("not saved yet")

        started(project, "--port", server.port, "--no-trainer")
        expect(page.locator(".save")).to_have_text("All saved", timeout=20_000)
        pressed = page.evaluate("window.pressed")
        browser.close()

    events = project.store.events()
    assert [[event.sample_id, event.class_id] for event in events] == pressed
    assert len({event.sample_id for event in events}) == len(events)
    assert len(stored) < len(events), "some answers were given while the server was away"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_a_simulation_that_is_killed_takes_its_server_and_its_trainer_along(
    tmp_path: Path, digits: tuple[np.ndarray, np.ndarray], number: signal.Signals
) -> None:
    images, labels = digits
    source, out = tmp_path / "digits.npz", tmp_path / "out"
    np.savez(source, xtr=images[:120], ytr=labels[:120], xte=images[120:180], yte=labels[120:180])
    process = start("simulate", source, "--budget", 100, "--seconds-per-label", 60, "--out", out)
    try:
        folder = wait_for(lambda: next((f.parent for f in out.glob(f"simulate-*/**/{DATABASE}")), None), 60)
        with Project.open(folder) as project:
            server = wait_for(lambda: (known := project.store.process("server")) and int(known["pid"]), 60)
            trainer = wait_for(lambda: trainer_pid(project), 30)
            process.send_signal(number)
            process.communicate(timeout=10)
            wait_for(lambda: not runs(server) and not runs(trainer), 15)
            assert project.store.process("server") is None, "it ended in good order"
    finally:
        process.kill()


def test_a_header_is_not_believed_about_where_a_request_comes_from() -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            seen.append(scope["client"][0])

    config = configured(app)
    config.load()
    scope = {"type": "http", "client": ("127.0.0.1", 1), "headers": [(b"x-forwarded-for", b"10.0.0.9")]}
    asyncio.run(config.loaded_app(scope, None, None))  # type: ignore[arg-type]
    assert seen == ["127.0.0.1"]
