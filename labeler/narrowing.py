"""What one person wants to be asked: images the model takes for a class, a selection of them, the newest first.

It is kept in the record under the person's name, so that a reload, another browser and another day find it as it was.
Samples that measure accuracy are never narrowed: see docs/decisions/0031-a-narrowing-is-a-persons-own.md.
"""

import secrets
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from labeler.guesses import taken_for
from labeler.orders import Order, Orders, Ranking
from labeler.published import Published
from storage import Store

NEWEST = "newest"  # what chose an image that was asked because it was imported last
MOST_SELECTED = 100_000
BEYOND = 2**62  # no id is as large
KEPT = 32  # people whose narrowed order is kept


@dataclass(frozen=True)
class Narrowing:
    """`selected`: of how many samples the selection is, None without one; `mark`: another one for each selection."""

    class_id: int | None = None
    selected: int | None = None
    title: str = ""
    newest: bool = False
    mark: str = ""

    @property
    def narrows(self) -> bool:
        """Whether some images are left out: an order alone leaves out none."""
        return self.class_id is not None or self.selected is not None

    @property
    def suffix(self) -> str:
        """What an acquisition's name gets, so that its picks are not taken for picks among all images."""
        parts = ["class"] * (self.class_id is not None) + ["selection"] * (self.selected is not None)
        return f" among {' and '.join(parts)}" if parts else ""


@dataclass(frozen=True, eq=False)
class Narrowed:
    """A narrowing applied to one ranking. `held`: ascending ids of all samples of the pool that are among them."""

    held: np.ndarray
    ranking: Ranking
    order: Order  # the ranking's ids
    suffix: str

    def of(self, sample_ids: np.ndarray) -> np.ndarray:
        """Those of these that are among them, in their order."""
        return sample_ids[np.isin(sample_ids, self.held)]


class Narrowings:
    """Everybody's, of one project. Threads may share one."""

    def __init__(self, store: Store, orders: Orders) -> None:
        self._store, self._orders = store, orders
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[tuple[Any, ...], Narrowed]] = OrderedDict()
        self._selections: OrderedDict[str, tuple[str, np.ndarray]] = OrderedDict()  # person -> mark, ascending ids

    def of(self, annotator: str) -> Narrowing:
        return Narrowing(**self._store.setting(_key(annotator), {}))

    def choose(
        self, annotator: str, sample_ids: Sequence[int] | np.ndarray | None = None, title: str = "", **changes: Any
    ) -> Narrowing:
        """Change what a person is asked; what is not named stays. `sample_ids` are a new selection.

        `changes`: class_id (None for all), newest, and selected=None to lift the selection. ValueError for a selection
        of none or too many, KeyError for a class that is not there.
        """
        now = replace(self.of(annotator), **changes)
        class_id = changes.get("class_id")
        if class_id is not None and class_id not in {one.id for one in self._store.classes()}:
            raise KeyError(f"There is no class {class_id} to narrow to.")
        kept: dict[str, Any] = {}
        if sample_ids is not None:
            ids = np.array(sorted({int(i) for i in sample_ids if 0 < i < BEYOND}), np.int64)
            if not 1 <= len(ids) <= MOST_SELECTED:
                raise ValueError(f"A selection is of 1 to {MOST_SELECTED:,} images; this one is of {len(ids):,}.")
            now = replace(now, selected=len(ids), title=title, mark=secrets.token_hex(8))
            kept[_key(annotator, "selection")] = ids.tolist()
        elif now.selected is None and now.mark:
            now = replace(now, title="", mark="")
            kept[_key(annotator, "selection")] = []
        self._store.set_settings({**kept, _key(annotator): asdict(now)})
        return now

    def apply(self, annotator: str, wanted: Narrowing, published: Published | None, acquisition: str) -> Narrowed:
        """Which samples a person wants, in the order of the ranking or of import; without a model in a random one."""
        counted_as, asked = self._store.counted_as(), self._store.overlap() if wanted.class_id is not None else None
        version = published.ranking_key if published is not None else None
        key = (wanted, version, acquisition, tuple(sorted(counted_as.items())), asked, self._store.last_sample_id())
        with self._lock:
            known = self._kept.get(annotator)
            if known is None or known[0] != key:
                held = self._held(annotator, wanted, published, counted_as)
                ranking = self._ranking(held, wanted, published, acquisition)
                order = Order(ranking.sample_ids, self._store.last_event_id())
                known = self._kept[annotator] = key, Narrowed(held, ranking, order, wanted.suffix)
            _keep_newest(self._kept, annotator)
            return known[1]

    def _held(
        self, annotator: str, wanted: Narrowing, published: Published | None, counted_as: dict[int, int]
    ) -> np.ndarray:
        held = self._orders.pool()
        if wanted.selected is not None:
            held = held[np.isin(held, self._selection(annotator, wanted.mark))]
        if wanted.class_id is None:
            return held
        if published is None or not published.labels:  # what it takes them for means nothing yet
            return held[:0]
        taken = taken_for(published, counted_as)
        mine = published.sample_ids[taken == counted_as.get(wanted.class_id, wanted.class_id)]
        several = list(self._store.asked_of_several())  # that it is here would tell what the model takes it for
        return held[np.isin(held, mine) & ~np.isin(held, several)]

    def _ranking(self, held: np.ndarray, wanted: Narrowing, published: Published | None, acquisition: str) -> Ranking:
        if wanted.newest:
            newest = self._orders.newest()
            return Ranking(NEWEST + wanted.suffix, newest[np.isin(newest, held)], None)
        if published is None or acquisition == "random":
            shuffled = self._orders.shuffled("pool")
            return Ranking("random" + wanted.suffix, shuffled[np.isin(shuffled, held)], None)
        ranking, in_order = self._orders.ranking(published, acquisition)
        return Ranking(ranking.acquisition + wanted.suffix, in_order[np.isin(in_order, held)], ranking.scores)

    def _selection(self, annotator: str, mark: str) -> np.ndarray:
        known = self._selections.get(annotator)
        if known is None or known[0] != mark:
            ids = np.array(self._store.setting(_key(annotator, "selection"), []), np.int64)
            known = self._selections[annotator] = mark, ids
        _keep_newest(self._selections, annotator)
        return known[1]


def _key(annotator: str, what: str = "queue") -> str:
    return f"{what} of {annotator}"


def _keep_newest(kept: "OrderedDict[str, Any]", annotator: str) -> None:
    kept.move_to_end(annotator)
    while len(kept) > KEPT:
        kept.popitem(last=False)
