"""A PostgreSQL server of the tests' own: on a Unix socket in a temporary folder, gone when the process that asked is.

A shell stands between: it waits at a pipe that the operating system closes with our process, however that ends, then
stops the server and removes the folder.
"""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

KEEP = """cat >/dev/null
for _ in 1 2 3 4 5; do "$1" -D "$2/data" -m immediate -w stop && break; sleep 0.3; done
rm -rf "$2"
"""
SETTINGS = """
listen_addresses = ''
unix_socket_directories = '{folder}'
max_connections = 200
shared_buffers = 32MB
max_wal_size = 256MB
wal_level = minimal
max_wal_senders = 0
"""


class NoServer(Exception):
    """Why there is none, in one line."""


@dataclass(frozen=True)
class Server:
    folder: Path
    programs: Path

    def url(self, schema: str, **query: str) -> str:
        """Of a record; its schema is made with it."""
        options = "".join(f"&{key}={quote(value)}" for key, value in query.items())
        return f"postgresql+psycopg://tester@/postgres?host={quote(str(self.folder))}&schema={schema}{options}"

    def restart(self) -> None:
        """At once, whoever is connected. Returns when it answers again."""
        self.stop()
        self.start()

    def stop(self) -> None:
        self._control("-m", "fast", "stop")

    def kill(self) -> None:
        """As a power cut would end it, but that what the system was given to write is written."""
        self._control("-m", "immediate", "stop")

    def start(self) -> None:
        self._control("-l", self.folder / "log", "start")

    def _control(self, *what: object) -> None:
        command = [self.programs / "pg_ctl", "-D", self.folder / "data", "-w", *what]
        done = subprocess.run([str(part) for part in command], stdout=subprocess.DEVNULL, **_as_nobody())
        if done.returncode:
            raise NoServer(f"PostgreSQL did not {what[-1]}: {' '.join((self.folder / 'log').read_text().split())}")


@contextlib.contextmanager
def server(durable: bool = False) -> Iterator[Server]:
    """NoServer where PostgreSQL cannot be found or started. Not `durable`: in memory where there is room for it."""
    programs = _programs()
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 2**30
    folder = Path(tempfile.mkdtemp(prefix="labeler-pg-", dir=memory if roomy and not durable else None))
    command = ["sh", "-c", KEEP, "keep", str(programs / "pg_ctl"), str(folder)]
    try:
        _make(programs, folder)
        nowhere = subprocess.DEVNULL
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=nowhere, stderr=nowhere, start_new_session=True, **_as_nobody()
        ):  # leaving closes its pipe and waits for its end
            found = Server(folder, programs)
            found.start()
            yield found
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def chosen(database: str) -> Iterator[str | None]:
    """For a benchmark: '' is SQLite, a URL is taken, 'postgresql' starts a server on this machine's disk."""
    if database != "postgresql":
        yield database or None
        return
    with server(durable=True) as found:
        yield found.url("").removesuffix("&schema=")


def _programs() -> Path:
    """Where initdb and postgres are: on the PATH, or the newest that Debian has."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    if not debian:
        raise NoServer("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    return debian[-1].parent


def _make(programs: Path, folder: Path) -> None:
    if os.geteuid() == 0:
        owner = _nobody()
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    command = [programs / "initdb", "-D", folder / "data", "-U", "tester", "-A", "trust", "-E", "UTF8", "--locale=C"]
    made = subprocess.run([*command, "--no-sync"], capture_output=True, text=True, **_as_nobody())
    if made.returncode:
        raise NoServer(f"initdb failed: {' '.join(made.stderr.split())}")
    rules = folder / "data" / "pg_hba.conf"
    rules.write_text(f"local all guarded scram-sha-256\n{rules.read_text()}")
    with (folder / "data" / "postgresql.conf").open("a") as settings:
        settings.write(SETTINGS.format(folder=folder))


def _nobody() -> pwd.struct_passwd:
    """Who runs it where we are root, which the server refuses."""
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise NoServer("PostgreSQL does not run as root, and there is neither a user postgres nor a user nobody")


def _as_nobody() -> dict[str, object]:
    if os.geteuid() != 0:
        return {}
    owner = _nobody()
    return {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": [], "cwd": "/"}
