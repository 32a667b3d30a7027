"""`labeler serve`: the page's server, and the trainer process that lives and dies with it."""

import errno
import logging
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from labeler import heads
from labeler.outage import heard
from labeler.project import Project
from model import ACQUISITIONS
from storage import AlreadyRunning, Store

log = logging.getLogger(__name__)

LOOPBACK = ("127.0.0.1", "localhost", "::1")
BEAT_EVERY = 2.0  # seconds; a server that is silent for ten is taken for dead
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0  # seconds before a dead trainer is started again
LIVED_WELL = 60.0  # a trainer that lived this long is started again at once
END_WAIT = 5.0  # seconds a trainer gets to end by itself


def serve(
    folder: Path,
    host: str = "127.0.0.1",
    port: int = 7860,
    open_browser: bool = True,
    acquisition: str | None = None,
    trainer: bool = True,
    auth: bool = False,
) -> None:
    """Serve the page until Ctrl-C. Prints one line with its URL once it answers.

    With `auth`, and always where others could reach the page, people sign in; ValueError when nobody could.
    """
    _check(host, acquisition)
    auth = auth or host not in LOOPBACK
    with Project.open(folder) as project, _interruptible():
        if auth:
            _somebody_must_sign_in(project, host)
        _must_be_alone(project.store)
        with _listening(host, port) as sock:
            url = _url(host, sock)
            with _held(project, url) as lost:
                if acquisition:
                    project.store.set_setting("acquisition", acquisition)
                _run(project, sock, url, open_browser, Trainer(project) if trainer else None, auth, lost)
            if lost.is_set():
                raise RuntimeError(f"Another server took {folder} over while this one did not answer. It has stopped.")


def _check(host: str, acquisition: str | None) -> None:
    if not host:
        raise ValueError("--host is empty. Use 127.0.0.1 for this machine alone, or 0.0.0.0 for all that reach it.")
    if acquisition is not None and acquisition not in ACQUISITIONS:
        raise ValueError(f"There is no acquisition {acquisition!r}; choose one of {', '.join(ACQUISITIONS)}.")


def _somebody_must_sign_in(project: Project, host: str) -> None:
    if any(not one.disabled for one in project.store.accounts()):
        return
    what = "--auth needs an account" if host in LOOPBACK else f"At {host} others reach the page, so it needs accounts"
    raise ValueError(
        f"{what}. Make the first one: labeler user add {shlex.quote(str(project.folder))} NAME --role admin"
    )


def _run(
    project: Project,
    sock: socket.socket,
    url: str,
    open_browser: bool,
    trainer: "Trainer | None",
    auth: bool,
    lost: threading.Event,
) -> None:
    from labeler.accounts import SignIns
    from labeler.ui.app import build  # gradio takes seconds to import: refusals come before it

    app = build(project, trainer.status if trainer else None, SignIns(project.store) if auth else None)
    config = configured(app)
    server = Server(config, url, open_browser, lost)
    try:
        if trainer:
            trainer.start()
        server.run(sockets=[sock])
    finally:
        if trainer:
            trainer.stop()


def configured(app: ASGIApp) -> uvicorn.Config:
    """Who sends is the address of the connection: anybody may write another one into a header."""
    return uvicorn.Config(app, log_level="error", access_log=False, timeout_graceful_shutdown=3, proxy_headers=False)


class Server(uvicorn.Server):
    """Says where it is as soon as it answers, and leaves when another server has taken the project over."""

    def __init__(self, config: uvicorn.Config, url: str, open_browser: bool, lost: threading.Event) -> None:
        super().__init__(config)
        self.url, self.open_browser, self.lost = url, open_browser, lost

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            print(f"Labeler is ready at {self.url} (Ctrl-C stops it)", flush=True)
            if self.open_browser:
                threading.Thread(target=webbrowser.open, args=(self.url,), daemon=True).start()

    async def on_tick(self, counter: int) -> bool:
        return await super().on_tick(counter) or self.lost.is_set()


class Trainer:
    """The trainer process: started again when it dies, ended with the server.

    It holds the other end of its standard input, so it notices the server's death however that came about.
    """

    def __init__(self, project: Project) -> None:
        self.project = project
        self.command = [
            sys.executable,
            "-P",
            "-m",
            "labeler.trainer",
            str(project.folder),
            "--parent",
            str(os.getpid()),
        ]
        self.restarts = 0
        self.restarted_at: float | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._supervise, name="trainer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def status(self) -> dict[str, Any]:
        """For the page: whether there should be a trainer, and whether it had to be started again."""
        ago = None if self.restarted_at is None else time.monotonic() - self.restarted_at
        return {"wanted": True, "restarts": self.restarts, "restarted_ago": ago}

    def stop(self) -> None:
        """Close the pipe, which ends it; insist if it does not."""
        self._ending.set()
        self._thread.join(3 * END_WAIT)

    def _supervise(self) -> None:
        wait = FIRST_WAIT
        while not self._ending.is_set():
            if self._another_trains():  # `labeler train`, on this machine or a bigger one
                self._ending.wait(BEAT_EVERY)
                continue
            begun = time.monotonic()
            self._live()
            if self._ending.is_set():
                return
            self.restarts += 1
            self.restarted_at = time.monotonic()
            wait = FIRST_WAIT if time.monotonic() - begun > LIVED_WELL else min(LONGEST_WAIT, 2 * wait)
            self._ending.wait(wait)

    def _another_trains(self) -> bool:
        with heard("Whether another trainer is at work could not be read."):
            known = self.project.store.process("trainer")
            return known is not None and bool(known["alive"])
        return True  # it is asked again

    def _live(self) -> None:
        """One life of the trainer, from its start to its end or ours."""
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,  # our standard output carries the URL and nothing else
            start_new_session=True,  # Ctrl-C is for the server, which ends the trainer in its own time
        )
        try:
            while self.process.poll() is None and not self._ending.wait(0.1):
                pass
        finally:
            _end(self.process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """However stubborn it is. An ended process is waited for, so that no zombie stays."""
    assert process.stdin is not None
    with suppress(OSError):
        process.stdin.close()
    for insist in (lambda: None, process.terminate, process.kill):
        insist()
        with suppress(subprocess.TimeoutExpired):
            process.wait(END_WAIT)
            return


# ---------- alone on the project, alone on the port ----------


def _must_be_alone(store: Store) -> None:
    """The friendly check, before anything is opened; `_held` is the atomic one."""
    other = store.process("server")
    if other is not None and other["alive"]:
        raise AlreadyRunning("server", other)


@contextmanager
def _held(project: Project, url: str) -> Iterator[threading.Event]:
    """Holds the project as its only server, with a heartbeat. Yields what is set when the hold was lost."""
    store, holder, info = project.store, uuid.uuid4().hex, {"url": url, "pid": os.getpid()}
    ended, lost = threading.Event(), threading.Event()

    def beat() -> None:
        while not ended.wait(BEAT_EVERY):
            with heard("A heartbeat could not be written."):
                if not store.heartbeat("server", holder, info):  # this machine slept, and another server took over
                    return lost.set()
                heads.note(project.folder, store)

    store.hold("server", holder, info)
    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield lost
    finally:
        ended.set()
        thread.join()
        with suppress(OSError):  # a database that is away, a full disk: who is silent has let go
            heads.note(project.folder, store)
            store.let_go("server", holder)


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """A bound socket, so that the port is known, and known to be ours, before anything is started."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        if os.name == "posix":  # elsewhere it would let two servers share the port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
            sock.listen(128)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise OSError(f"Port {port} is in use. Choose another one, for example --port {port + 1}.") from error
            raise OSError(
                f"Port {port} of {host} cannot be opened: {error.strerror}. Choose another --port."
            ) from error
        yield sock


def _url(host: str, sock: socket.socket) -> str:
    """What to type into a browser."""
    if host in ("0.0.0.0", "::"):
        host = socket.gethostname()
    return f"http://{f'[{host}]' if ':' in host else host}:{sock.getsockname()[1]}"


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C and SIGTERM both end the server in good order, whenever they come; neither is an error."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, _interrupt)
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """The first one interrupts; what comes while we clean up is ignored."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt
