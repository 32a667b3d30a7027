"""Orders in which samples are asked, kept short: the path from a key to the next image walks them."""

import threading
import zlib
from dataclasses import dataclass

import numpy as np

from labeler.published import Published
from model.scores import SCORES, most_wanted
from storage import Store

THIN_EVERY = 500  # events between two removals of what was decided meanwhile


class Order:
    """Sample ids, first to be asked in front."""

    def __init__(self, sample_ids: np.ndarray, as_of: int) -> None:
        """`as_of`: the event up to which decided samples are left out already."""
        self._all = self._open = np.asarray(sample_ids)
        self._as_of = as_of

    def thinned(self, store: Store) -> np.ndarray:
        """Without what is decided, as of some hundred events ago: a lease looks again at each id it takes."""
        now = store.last_event_id()
        if now - self._as_of >= THIN_EVERY:
            self._open = self._all[~np.isin(self._all, store.decided_ids())]
            self._as_of = now
        return self._open


@dataclass(frozen=True, eq=False)
class Ranking:
    """In which order to ask, and what put it so. scores (N,) have the rows of the published arrays; None: none."""

    acquisition: str
    sample_ids: np.ndarray
    scores: np.ndarray | None


def ranked(published: Published, acquisition: str) -> Ranking:
    """The version's own ranking, or its images ranked anew where the person chose another acquisition meanwhile.

    Scores that need nothing but its probabilities hold at once, with a busy trainer or none. The others look at the
    features too and come with the trainer's next ranking; before the first label probabilities mean nothing.
    """
    if acquisition == published.acquisition or acquisition not in SCORES or published.labels == 0:
        return Ranking(published.acquisition, published.ranking, published.scores)
    scores = SCORES[acquisition](published.probs)
    rows = np.searchsorted(published.sample_ids, published.ranking)
    return Ranking(acquisition, most_wanted(scores[rows], published.ranking), scores)


class Orders:
    """The newest ranking, and each split shuffled once for the whole project."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._ranking: tuple[tuple[int, int | None, str], Ranking, Order] | None = None
        self._shuffled: dict[str, tuple[int, Order]] = {}
        self._pool: tuple[int, tuple[np.ndarray, Order]] | None = None

    def ranking(self, published: Published, acquisition: str) -> tuple[Ranking, np.ndarray]:
        """The ranking in force, and its ids without most of what is decided."""
        with self._lock:
            key = (*published.ranking_key, acquisition)
            if self._ranking is None or self._ranking[0] != key:
                new = ranked(published, acquisition)
                self._ranking = key, new, Order(new.sample_ids, published.last_event_id)
            _, ranking, order = self._ranking
            return ranking, order.thinned(self._store)

    def shuffled(self, split: str) -> np.ndarray:
        """All ids of a split at random, the same order for everybody until more are imported."""
        with self._lock:
            newest = self._store.last_sample_id()
            if split not in self._shuffled or self._shuffled[split][0] != newest:
                rng = np.random.default_rng([self._store.setting("rng_seed", 0), zlib.crc32(split.encode())])
                self._shuffled[split] = newest, Order(rng.permutation(self._store.sample_ids(split)), -THIN_EVERY)
            return self._shuffled[split][1].thinned(self._store)

    def pool(self) -> np.ndarray:
        """All ids of the pool, ascending, whatever became of them."""
        with self._lock:
            return self._in_order()[0]

    def newest(self) -> np.ndarray:
        """The ids of the pool, what was imported last in front."""
        with self._lock:
            return self._in_order()[1].thinned(self._store)

    def _in_order(self) -> tuple[np.ndarray, Order]:
        last = self._store.last_sample_id()
        if self._pool is None or self._pool[0] != last:
            ids = self._store.sample_ids("pool")
            self._pool = last, (ids, Order(ids[::-1], -THIN_EVERY))
        return self._pool[1]
