"""Wakes the threads of a trainer when something was committed, by whatever process, and lets them sleep otherwise."""

import threading
import time

from labeler.outage import heard
from storage import Store

LOOK_EVERY = 0.008  # seconds between two looks while people label: a look takes about 0.1 ms, most of it to wake up
REST_EVERY = 0.25  # and when nobody has for long
GROWTH = 1 / 600  # in between, seconds for each second without news: 0.1 after a minute


class Lookout(threading.Thread):
    """`news` is another number after every change of what a trainer goes by: events, samples, classes, settings.

    Who waits reads `news`, then looks at the record, then calls `wait`: what comes in between is news already.
    """

    def __init__(self, store: Store, ended: threading.Event):
        super().__init__(name="lookout", daemon=True)
        self._store, self._ended = store, ended
        # An interrupt may fall between a Condition's taking of its lock and the block behind it: nobody gives it back.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._known = store.known()
        self.news = 0

    def run(self) -> None:
        mark, woken = None, time.monotonic() - REST_EVERY / GROWTH  # nobody labels yet
        while not self._ended.is_set():
            looked = False
            with heard("The record could not be read."):
                newest = self._store.change_mark()
                if newest != mark and self._is_news():  # a heartbeat is none
                    woken = time.monotonic()
                mark, looked = newest, True
            if not looked:  # it is looked at again, as the mark is still the old one
                self._ended.wait(1)
            time.sleep(_pause(time.monotonic() - woken))
        self.tell()

    def _is_news(self) -> bool:
        known = self._store.known()
        if known == self._known:
            return False
        self._known = known
        self.tell()
        return True

    def tell(self) -> None:
        """Wake all who wait."""
        with self._lock:
            self.news += 1
            self._changed.notify_all()

    def wait(self, seen: int, seconds: float | None = None) -> None:
        """Sleep until `news` is no longer `seen`, so many seconds at most."""
        with self._lock:
            self._changed.wait_for(lambda: self.news != seen, seconds)


def _pause(since: float) -> float:
    """Seconds between two looks, when the last news came so many seconds ago."""
    return min(max(LOOK_EVERY, since * GROWTH), REST_EVERY)
