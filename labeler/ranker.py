"""A new ranking a moment after each label, beside the gradient steps: propagation, refitted layer, acquisition.

A thread of the trainer, never on the path from a key to the next image. Within seconds a version follows.
"""

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

from labeler import published
from labeler.control import control_of
from labeler.flips import as_rows
from labeler.learning import Learning
from labeler.lookout import Lookout
from labeler.outage import heard
from model.device import use_one_thread
from storage import Store

LONGEST = 1.0  # seconds that a step or a part of a version waits for a ranking
MOST = 20_000_000  # probabilities: a larger file would not be written in time, so that only versions rank


class Ranker(threading.Thread):
    """Ranks for whatever learning `now` gives, at all news of `lookout`, until `ended`."""

    def __init__(self, store: Store, now: Callable[[], Learning | None], lookout: Lookout, ended: threading.Event):
        super().__init__(name="ranker", daemon=True)
        self._store, self._now, self._lookout, self._ended = store, now, lookout, ended
        self._rng = np.random.default_rng(0)
        self._idle = threading.Event()
        self._idle.set()
        self._ranked: tuple[Path, int, str, float] | None = None  # folder of the version, newest event, and by what

    def let_pass(self) -> None:
        """Wait while a ranking is made: beside a step it takes twice as long. For the thread that trains."""
        self._idle.wait(LONGEST)

    def run(self) -> None:
        use_one_thread()
        while not self._ended.is_set():
            seen = self._lookout.news
            with heard("A ranking could not be published."):  # the next version ranks as well
                self._turn()
            self._expect(seen)
            self._lookout.wait(seen)

    def _turn(self) -> None:
        """Rank on the newest version where the ranking in force does not know all events, or goes by something else."""
        learning = self._now()
        if learning is None or learning.look is None:
            return
        control = control_of(self._store)
        newest = learning.look[0], self._store.last_event_id(), control.acquisition, control.diversity
        in_force = self._ranked
        if in_force is None or in_force[0] != newest[0]:  # the version's own
            in_force = newest[0], learning.published_event_id, *learning.published_how
        if newest != in_force:
            self._ranked = newest
            self._idle.clear()
            try:
                rank_now(learning, self._rng, control.acquisition)
            finally:
                self._idle.set()

    def _expect(self, seen: int) -> None:
        """Until something new comes, prepare for labels of the images that are asked next."""
        learning = self._now()
        look = learning.look if learning is not None else None
        if learning is None or look is None:
            return
        for position in learning.asked_next.tolist():
            if self._lookout.news != seen:
                return
            look[1].expect(position)


def rank_now(learning: Learning, rng: np.random.Generator, acquisition: str) -> bool:
    """Publish a ranking on the newest version that knows every event there is. False where none can be made yet."""
    if learning.look is None or len(learning.sample_ids) * len(learning.class_ids) > MOST:
        return False
    home, instant = learning.look
    newest = learning.store.last_event_id()
    labels = {p: y for p, y in learning.labels_now().items() if not learning.learner.held_out[p]}
    instant.learn(labels)
    if instant.head is None:  # nothing labeled: the version's own ranking holds
        return False
    probs = instant.probs()
    scores, ranking, name = learning.rank(acquisition, probs, instant.graph, labels, rng)
    changes = learning.flips.ranking(home, learning.sample_ids, learning.taken_for(probs), newest, len(labels))
    try:
        published.publish_ranking(
            home,
            acquisition=name,
            last_event_id=newest,
            probs=probs,
            scores=scores,
            ranking=ranking,
            changes=as_rows(changes),
        )
    except FileNotFoundError:  # pruned meanwhile: a newer version is there, and ranks
        return False
    return True
