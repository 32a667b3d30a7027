"""A database that is away for a while: said once, not by each thread at each look, and waited for."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from labeler.project import Project

FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0  # seconds between two looks whether it is back

T = TypeVar("T")
log = logging.getLogger(__name__)


class Outage:
    """Threads may share one."""

    def __init__(self) -> None:
        self._lock, self._since = threading.Lock(), 0.0

    def began(self, error: Exception) -> None:
        with self._lock:
            if not self._since:
                self._since = time.monotonic()
                log.warning("%s Waiting until it answers again.", error)

    def ended(self) -> None:
        with self._lock:
            if self._since:
                log.warning("The database answers again, after %.0f s.", time.monotonic() - self._since)
                self._since = 0.0


outage = Outage()  # of this process: it has one database


@contextmanager
def heard(what: str) -> Iterator[None]:
    """Around a look that is taken again and again: what goes wrong is logged, and no reason to stop looking."""
    try:
        yield
        outage.ended()
    except ConnectionError as error:
        outage.began(error)
    except Exception:  # a full disk, a lock
        log.exception(what)


def outlasted(folder: Path, do: Callable[[], T]) -> T:
    """What `do` returns, begun again when the database went away and is back. One that cannot be reached at first is
    an error: it is more likely not there at all."""
    Project.open(folder).close()
    while True:
        try:
            return do()
        except ConnectionError as error:
            outage.began(error)
        _wait_for(folder)


def _wait_for(folder: Path) -> None:
    wait = FIRST_WAIT
    while True:
        time.sleep(wait)
        try:
            Project.open(folder).close()
        except ConnectionError:
            wait = min(LONGEST_WAIT, 2 * wait)
            continue
        return outage.ended()
