"""Who is running (one server, one trainer), which versions they published, and the project's settings."""

import json
import os
import socket
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import select

from storage.database import Database
from storage.dialects import insert
from storage.tables import processes, settings, versions
from storage.values import AlreadyRunning, Moment, Version

OF_A_PERSON = "% of %"  # keys such as "keys of ann": nobody but that person goes by them
SILENT_SECONDS = 10  # a holder whose heartbeat is older than this is taken for dead


class ProcessTables(Database):
    def hold(self, role: str, holder: str, info: dict[str, Any]) -> None:
        """Become the only `role` ('server', 'trainer') of this project; AlreadyRunning when another one lives."""
        with self._writing() as db:
            now = self._dialect.clock(db)
            row = db.execute(select(processes).where(processes.c.role == role)).first()
            if row is not None and row.holder != holder and _alive(row, now):
                raise AlreadyRunning(role, _described(row, now))
            values = {
                "role": role,
                "holder": holder,
                "pid": os.getpid(),
                "host": socket.gethostname(),
                "info": json.dumps(info),
                "started": now,
                "heartbeat": now,
            }
            statement = insert(processes).values(values)
            db.execute(statement.on_conflict_do_update(index_elements=[processes.c.role], set_=values))

    def heartbeat(self, role: str, holder: str, info: dict[str, Any]) -> bool:
        """Say that we live and how we are. False when another one has taken the role over."""
        mine = (processes.c.role == role, processes.c.holder == holder)
        with self._writing(durable=False) as db:
            values = {"heartbeat": self._dialect.clock(db), "info": json.dumps(info)}
            return db.execute(sa.update(processes).where(*mine).values(values)).rowcount == 1

    def let_go(self, role: str, holder: str) -> None:
        with self._writing() as db:
            db.execute(sa.delete(processes).where(processes.c.role == role, processes.c.holder == holder))

    def process(self, role: str) -> dict[str, Any] | None:
        """What the newest holder said about itself, with `alive` and `heartbeat` (seconds since 1970)."""
        with self._reading() as db:
            row = db.execute(select(processes).where(processes.c.role == role)).first()
            return _described(row, self._dialect.clock(db)) if row is not None else None


class VersionTables(Database):
    def add_version(
        self,
        version: int,
        last_event_id: int,
        labels: int,
        steps: int,
        folder: str,
        acquisition: str,
        metrics: dict[str, Any],
    ) -> None:
        """Publish a version. Its files are in place: this row is what makes it seen."""
        row = {
            "version": version,
            "time": time.time(),
            "last_event_id": last_event_id,
            "labels": labels,
            "steps": steps,
            "folder": folder,
            "acquisition": acquisition,
            "metrics": json.dumps(metrics),
            "pruned": 0,
        }
        with self._writing() as db:
            db.execute(sa.insert(versions).values(row))

    def versions(self, newest: int | None = None, pruned: bool = True) -> list[Version]:
        """Oldest first, only so many of the newest, or all. The rows of pruned ones are the learning curve; without
        them it takes no longer however many there were."""
        query = select(versions).order_by(versions.c.version.desc()).limit(newest)
        if not pruned:
            query = query.where(versions.c.pruned == 0)
        with self._reading() as db:
            return [_version(row) for row in reversed(db.execute(query).all())]

    def newest_version(self, at: Moment | None = None) -> Version | None:
        """The one in use; or the one that was in use then, whose arrays may be gone."""
        query = select(versions).where(versions.c.pruned == 0 if at is None else versions.c.time <= at.time)
        query = query.order_by(versions.c.version.desc()).limit(1)
        with self._reading() as db:
            row = db.execute(query).first()
        return _version(row) if row is not None else None

    def next_version(self) -> int:
        """The number of the version to come: pruned ones keep theirs."""
        with self._reading() as db:
            return int(db.scalar(select(sa.func.coalesce(sa.func.max(versions.c.version), 0))) or 0) + 1

    def drop_version(self, version: int) -> None:
        """Mark a version whose arrays are gone."""
        with self._writing() as db:
            db.execute(sa.update(versions).where(versions.c.version == version).values(pruned=1))


class SettingTables(Database):
    def setting(self, key: str, default: Any = None) -> Any:
        with self._reading() as db:
            value = db.scalar(select(settings.c.value).where(settings.c.key == key))
        return default if value is None else json.loads(value)

    def settings(self, keys: Iterable[str]) -> dict[str, Any]:
        """Those of these settings that were made."""
        query = select(settings.c.key, settings.c.value).where(settings.c.key.in_(list(keys)))
        with self._reading() as db:
            return {key: json.loads(value) for key, value in db.execute(query)}

    def set_setting(self, key: str, value: Any) -> None:
        """Any JSON value."""
        self.set_settings({key: value})

    def set_settings(self, values: Mapping[str, Any]) -> None:
        """Several settings, all or none."""
        with self._writing() as db:
            for key, value in values.items():
                row = {"key": key, "value": json.dumps(value)}
                statement = insert(settings).values(row)
                db.execute(statement.on_conflict_do_update(index_elements=[settings.c.key], set_=row))


def _version(row: sa.Row[Any]) -> Version:
    return Version(**{**row._mapping, "metrics": json.loads(row.metrics), "pruned": bool(row.pruned)})


def _described(row: sa.Row[Any], now: float) -> dict[str, Any]:
    known = {name: row._mapping[name] for name in ("holder", "pid", "host", "started", "heartbeat")}
    return {**known, **json.loads(row.info), "alive": _alive(row, now)}


def _alive(row: sa.Row[Any], now: float) -> bool:
    if abs(now - row.heartbeat) >= SILENT_SECONDS:  # one from the future was written before a clock was set back
        return False
    return row.host != socket.gethostname() or runs(row.pid)


def runs(pid: int) -> bool:
    """Whether a process of this machine runs. One that was killed and not yet waited for does not."""
    if os.name != "posix":
        return True  # os.kill(pid, 0) would end it there: the heartbeat alone decides
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:  # no /proc on macOS
        return True
