"""A sitting in real time: a server and its trainer as people start them, answers through the page's routes."""

import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from subprocess import PIPE
from typing import Any

import httpx

from labeler.project import Project

WARM_UP_LIMIT = 1800  # seconds


def sitting(
    project: Project,
    truth: dict[str, str],
    budget: int,
    acquisition: str,
    seconds_per_label: float,
    on_progress: Callable[[int, int], None],
) -> int:
    """Serve the project, answer `budget` questions at an even pace after the warm-up; how many were answered.

    Ends when a version that learned from all of them is published.
    """
    store = project.store
    with _server(project, acquisition) as client:
        until(lambda: _warmed_up(client), WARM_UP_LIMIT, "the warm-up did not end")
        tab = {"project": client.get("/labeler/state").json()["key"], "client": uuid.uuid4().hex}
        classes = {c.name: c.id for c in store.classes()}
        client.post("/labeler/name", json={"name": "simulated"}).raise_for_status()
        held: list[dict[str, Any]] = []
        begun, ranking, given = time.monotonic(), None, 0
        while given < budget:
            newest = client.get("/labeler/state").json()["ranking"]
            held = held[:2] if newest != ranking else held  # as the page does: all but the one shown and the next
            have = [q["sample_id"] for q in held]
            body = tab | {"n": max(2 - len(held), 1), "have": have, "replace": newest != ranking}
            ranking = newest
            held += client.post("/labeler/next", json=body).raise_for_status().json()["questions"]
            if not held:
                break
            question = held.pop(0)
            time.sleep(max(0.0, begun + (given + 1) * seconds_per_label - time.monotonic()))
            operation = _label(question, classes[truth[question["name"]]], round(1000 * seconds_per_label))
            reply = client.post("/labeler/commit", json=tab | {"operations": [operation]}).raise_for_status().json()
            if reply["stored"] != [operation["uid"]]:
                raise RuntimeError(f"the page did not store a label: {reply}")
            given += 1
            on_progress(given, budget)
        last = store.last_event_id()
        until(lambda: _learned(project, last), 120, f"no version learned from event {last}")
    return given


def _label(question: dict[str, Any], class_id: int, ms: int) -> dict[str, Any]:
    """The operation of the page's outbox for one key press."""
    shown = {name: question[name] for name in ("sample_id", "version", "acquisition", "score", "rank", "purpose")}
    guess = question["guess"]
    prob = None if guess is None else question["probs"][str(guess)]
    predicted = {"predicted_class_id": guess, "predicted_prob": prob}
    return {"uid": uuid.uuid4().hex, "kind": "label", "class_id": class_id, "ms": ms, **shown, **predicted}


def _warmed_up(client: httpx.Client) -> bool:
    state = client.get("/labeler/state").json()
    return state["version"] is not None and state["trainer"]["phase"] != "warm_up"


def _learned(project: Project, event_id: int) -> bool:
    newest = project.store.newest_version()
    return newest is not None and newest.metrics["learned_event_id"] >= event_id


def until(done: Callable[[], bool], seconds: float, otherwise: str) -> None:
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise RuntimeError(f"{otherwise} within {seconds:g} s")
        time.sleep(0.2)


@contextmanager
def _server(project: Project, acquisition: str) -> Iterator[httpx.Client]:
    """`labeler serve` on a free port, as a client of its routes; stopped as Ctrl-C stops it, and when we are killed.

    What it and its trainer tell is shown where something went wrong, and is no part of a simulation's output otherwise.
    """
    command = [sys.executable, "-P", "-m", "labeler", "serve", str(project.folder), "--port", "0", "--no-browser"]
    command += ["--acquisition", acquisition, "--parent", str(os.getpid())]
    with (
        tempfile.TemporaryFile("w+") as told,
        subprocess.Popen(command, stdin=PIPE, stdout=PIPE, stderr=told, text=True) as server,
    ):
        assert server.stdout is not None
        try:
            line = server.stdout.readline()
            url = next((word.rstrip("/.,") for word in line.split() if word.startswith("http://")), None)
            if url is None:
                raise RuntimeError(f"the server did not start: {line.strip() or 'it printed no address'}")
            with httpx.Client(base_url=url, timeout=30) as client:
                yield client
        except BaseException:
            told.seek(0)
            sys.stderr.write(told.read())
            raise
        finally:
            server.terminate()
            server.wait(30)
