"""Which samples are asked next, and what chose each of them. A pick is leased when it is made."""

import threading
import time
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from labeler.control import Control, control_of
from labeler.narrowing import NEWEST, Narrowed, Narrowing
from labeler.orders import THIN_EVERY, Ranking
from labeler.published import Published

if TYPE_CHECKING:
    from labeler.project import Project

WAITING_SHARE = 0.5  # of the questions, where others answered images that need this person's answer too
LOOK_AGAIN = 30  # times as long as a look takes until the next one
OVERLAP = "overlap"  # what chose such an image


@dataclass(frozen=True)
class Pick:
    """A leased sample and what chose it. `drawn`: chance put it among the others."""

    sample_id: int
    purpose: str
    acquisition: str
    score: float | None = None
    rank: int | None = None
    drawn: bool = False


class Picker:
    """Picks for one annotator at one client. Threads may share one."""

    def __init__(self, project: "Project", annotator: str, client: str) -> None:
        self.annotator, self.client = annotator, client
        self._project, self._store = project, project.store
        self._lock = threading.Lock()
        self._rng: np.random.Generator | None = None
        self._others: dict[str, np.ndarray] = {}
        self._look_again = 0.0

    def wishes(self) -> tuple[Control, Narrowing]:
        """What questions are chosen by, now: the project's settings, and what this person wants."""
        return replace(control_of(self._store), paused=False), self._project.narrowings.of(self.annotator)

    def lease(self, wanted: Sequence[int] | np.ndarray, n: int) -> list[int]:
        return self._store.lease(wanted, n, self.annotator, self.client)

    def pick(self, n: int, have: Sequence[int], published: Published | None) -> list[Pick]:
        """n samples: measuring ones with their probability, the others as they are wanted, at the end whatever is open.

        Where the person narrowed the questions nothing else comes, but for the measuring ones: those are for accuracy,
        and would tell a lie if a narrowing chose them. Fewer, and at last none, when what was wanted is used up.
        """
        control, wanted = self.wishes()
        basket = _Basket(self, n, have, published)
        measure = self._project.orders.shuffled("measure")
        measured = self._draw(n, control.measure_share) if len(measure) else 0
        if wanted.narrows:
            narrowed = self._project.narrowings.apply(self.annotator, wanted, published, control.acquisition)
            self._pick_among(narrowed, basket, n - measured, control)
            if basket.picks or (measured == n and self._is_any_left(narrowed, have)):
                basket.take(measure, measured, "measure", drawn=True)
        else:
            basket.take(measure, measured, "measure", drawn=True)
            self._pick_of_all(basket, control, wanted, published)
        return self._mixed(basket.picks)

    def _pick_among(self, narrowed: Narrowed, basket: "_Basket", n: int, control: Control) -> None:
        by_chance = f"random{narrowed.suffix}"
        if control.random_share:
            shuffled = narrowed.of(self._project.orders.shuffled("pool"))
            basket.take(shuffled, self._draw(n, control.random_share), "pool", why=by_chance, drawn=True)
        in_order = narrowed.order.thinned(self._store)
        basket.take(in_order, n - len(basket.picks), "pool", narrowed.ranking)
        if len(basket.picks) < n:  # imported since the ranking, or undone since the order was thinned
            still = narrowed.of(self._store.open_ids("pool", self.annotator))
            basket.take(still, n - len(basket.picks), "pool", why=by_chance)

    def _is_any_left(self, narrowed: Narrowed, have: Sequence[int]) -> bool:
        """Whether some of them, besides what the caller has, is undecided."""
        wanted = narrowed.order.thinned(self._store)
        wanted = wanted[~np.isin(wanted, np.array(have, np.int64))]
        parts = (wanted[start : start + THIN_EVERY] for start in range(0, len(wanted), THIN_EVERY))
        return any(len(self._store.decided_ids(part.tolist())) < len(part) for part in parts)

    def _pick_of_all(self, basket: "_Basket", control: Control, wanted: Narrowing, published: Published | None) -> None:
        orders = self._project.orders
        waiting = self._waiting()
        most = len(basket.picks) + self._draw_waiting(basket.left, sum(map(len, waiting.values())))
        for split, ids in waiting.items():
            basket.take(ids, most - len(basket.picks), split, why=OVERLAP, drawn=True)
        if control.random_share:
            basket.take(orders.shuffled("pool"), self._draw(basket.left, control.random_share), "pool", drawn=True)
        if wanted.newest:
            basket.take(orders.newest(), basket.left, "pool", why=NEWEST)
        elif published is not None and control.acquisition != "random":
            ranking, in_order = orders.ranking(published, control.acquisition)
            basket.take(in_order, basket.left, "pool", ranking)
        basket.take(orders.shuffled("pool"), basket.left, "pool")  # at random, nothing published, or imported since
        basket.take(orders.shuffled("measure"), basket.left, "measure", drawn=True)
        for split, ids in (self._waiting(now=True) if basket.left else {}).items():
            basket.take(ids, basket.left, split, why=OVERLAP, drawn=True)
        for split in ("pool", "measure"):
            if basket.left:  # what was undone since the orders were thinned
                still = self._store.open_ids(split, self.annotator)
                basket.take(still, basket.left, split, drawn=split == "measure")

    def _draw(self, n: int, share: float) -> int:
        """How many of n questions: each one with the same probability, whatever came before."""
        return int(self._random().binomial(max(n, 0), share))

    def _waiting(self, now: bool = False) -> dict[str, np.ndarray]:
        """Of each split the samples that others answered, as of a moment ago: a look is slow where there are many."""
        with self._lock:
            if now or time.monotonic() >= self._look_again:
                begun = time.monotonic()
                self._others = {s: self._store.waiting_ids(s, self.annotator) for s in ("measure", "pool")}
                self._look_again = time.monotonic() + LOOK_AGAIN * (time.monotonic() - begun)
            return self._others

    def _draw_waiting(self, n: int, waiting: int) -> int:
        """How many of the next n questions others have answered: enough that no image waits long, never all of them."""
        return self._draw(n, WAITING_SHARE) if waiting and n > 0 else 0

    def _mixed(self, picks: list[Pick]) -> list[Pick]:
        """What chance put among the others at random places, so that no place tells it."""
        drawn = [pick for pick in picks if pick.drawn]
        others = iter([pick for pick in picks if not pick.drawn])
        places: Iterable[int] = self._random().choice(len(picks), size=len(drawn), replace=False) if drawn else []
        at = dict(zip(sorted(int(place) for place in places), drawn, strict=True))
        return [at[i] if i in at else next(others) for i in range(len(picks))]

    def _random(self) -> np.random.Generator:
        if self._rng is None:
            holder = zlib.crc32(f"{self.annotator}\n{self.client}".encode())
            self._rng = np.random.default_rng([self._store.setting("rng_seed", 0), holder])
        return self._rng


class _Basket:
    """What was picked so far for one refill of n, and taking more."""

    def __init__(self, picker: Picker, n: int, have: Sequence[int], published: Published | None) -> None:
        self.picks: list[Pick] = []
        self._picker, self._n, self._have, self._published = picker, n, have, published

    @property
    def left(self) -> int:
        return self._n - len(self.picks)

    def take(
        self,
        wanted: np.ndarray,
        at_most: int,
        split: str,
        ranking: Ranking | None = None,
        why: str = "random",
        drawn: bool = False,
    ) -> None:
        """Lease the first `at_most` open ones of `wanted` (ids of one split). What chose them: `ranking`, or `why`."""
        known = np.array([*self._have, *(pick.sample_id for pick in self.picks)], dtype=np.int64)
        start, size = 0, len(known) + 4 * at_most + THIN_EVERY  # nearly always enough
        purpose = "measure" if split == "measure" else "learn"
        while at_most > 0 and start < len(wanted):
            some = wanted[start : start + size]
            for sample_id in self._picker.lease(some[~np.isin(some, known)], at_most):
                chosen = (why, None, None) if ranking is None else self._ranked(sample_id, ranking)
                self.picks.append(Pick(sample_id, purpose, *chosen, drawn=drawn))
                at_most -= 1
            start, size = start + size, 8 * size

    def _ranked(self, sample_id: int, ranking: Ranking) -> tuple[str, float | None, int | None]:
        if ranking.scores is None or self._published is None:
            return ranking.acquisition, None, None
        row = self._published.position(sample_id)
        score = None if row is None else float(ranking.scores[row])
        return ranking.acquisition, score, int(np.flatnonzero(ranking.sample_ids == sample_id)[0])
