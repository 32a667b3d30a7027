"""Orders in which samples are asked, kept short: the path from a key to the next image walks them."""

import threading
import zlib

import numpy as np

from labeler.published import Published
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


class Orders:
    """The newest ranking, and each split shuffled once for the whole project."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._ranking: tuple[int, Order] | None = None
        self._shuffled: dict[str, tuple[int, Order]] = {}

    def ranking(self, published: Published) -> np.ndarray:
        with self._lock:
            if self._ranking is None or self._ranking[0] != published.version:
                self._ranking = published.version, Order(published.ranking, published.last_event_id)
            return self._ranking[1].thinned(self._store)

    def shuffled(self, split: str) -> np.ndarray:
        """All ids of a split at random, the same order for everybody until more are imported."""
        with self._lock:
            newest = self._store.last_sample_id()
            if split not in self._shuffled or self._shuffled[split][0] != newest:
                rng = np.random.default_rng([self._store.setting("rng_seed", 0), zlib.crc32(split.encode())])
                self._shuffled[split] = newest, Order(rng.permutation(self._store.sample_ids(split)), -THIN_EVERY)
            return self._shuffled[split][1].thinned(self._store)
