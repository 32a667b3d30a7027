"""The map of a project: a place in the plane for each image, near those that the model finds alike.

The trainer has it made while nobody labels, by a process of its own (projection.py), and writes it into the folder of
the newest version, and with every version after that until there is a newer map.
"""

import logging
import os
import shutil
import subprocess
import sys
import threading
import uuid
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from labeler.projection import PCA_FOR_NOW, at_once
from labeler.published import MAP

DRAFT = ".map-"  # a folder in cache/, while one is made
GROWTH = 1.5  # times the steps of the last map until the next one is due, while nobody labels
GROWTH_MEANWHILE = 4  # the same while somebody does, whose labels want the processor
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Map:
    """places float32 (N, 2), rows as those of the version it lies beside, NaN for images that came later.

    `version`, `steps`: what it was made of; `method`: 't-SNE', 'PCA', or 'PCA for now' where t-SNE is to follow.
    """

    places: np.ndarray
    version: int
    steps: int
    method: str

    def of(self, before: np.ndarray, now: np.ndarray) -> "Map":
        """The same map for the samples `now` instead of `before`, ascending ids each."""
        if len(before) == len(now):
            return self
        places = np.full((len(now), 2), np.nan, np.float32)
        at = np.searchsorted(now, before).clip(max=max(len(now) - 1, 0))
        there = now[at] == before
        places[at[there]] = self.places[there]
        return Map(places, self.version, self.steps, self.method)


def write(files: Path, made: Map) -> None:
    """Into the folder of a version, whole or not at all. FileNotFoundError where that is pruned."""
    draft = files / f"{DRAFT}{uuid.uuid4().hex}"
    try:
        with open(draft, "wb") as f:
            about = np.array(made.version), np.array(made.steps), np.array(made.method)
            np.savez(f, places=made.places, version=about[0], steps=about[1], method=about[2])
        draft.replace(files / MAP)
    finally:
        draft.unlink(missing_ok=True)


def read(files: Path, n: int) -> Map | None:
    """The map in the folder of a version of n samples; None where there is none, or it is torn."""
    try:
        with open(files / MAP, "rb") as opened, np.load(opened, allow_pickle=False) as f:
            made = Map(f["places"], int(f["version"]), int(f["steps"]), str(f["method"]))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return made if made.places.shape == (n, 2) else None


def first_map(features: np.ndarray, version: int, steps: int) -> Map:
    """A map to look at until there is time for a better one. features (N, D)."""
    places, method = at_once(features)
    return Map(places, version, steps, method)


class Mapmaker:
    """Has maps made, one at a time. `done` is called from another thread when one is there, or could not be made."""

    def __init__(self, cache: Path, done: Callable[[], None]) -> None:
        self._cache, self._done = cache, done
        self._process: subprocess.Popen[bytes] | None = None
        self._draft: Path | None = None
        self._about: tuple[int, int] = (0, 0)  # version, steps
        self._ended = False
        self._waits: threading.Thread | None = None
        self._tried = -1  # steps of the last one that was begun

    @property
    def busy(self) -> bool:
        return self._process is not None

    def is_due(self, known: Map, steps: int, idle: bool, quiet: bool) -> bool:
        """Whether to begin one. `quiet`: nobody labels; `idle`: nor is there anything to learn, a step is enough."""
        if self.busy or steps == self._tried:
            return False
        if not quiet:
            return steps >= GROWTH_MEANWHILE * known.steps
        lacks = known.method == PCA_FOR_NOW or not np.isfinite(known.places).all()
        return lacks or (steps > known.steps if idle else steps >= GROWTH * known.steps)

    def begin(self, features: np.ndarray, before: Map | None, version: int, steps: int) -> None:
        """features (N, D), rows as the samples of the version."""
        self._tried = steps
        self._cache.mkdir(exist_ok=True)
        for left in self._cache.glob(f"{DRAFT}*"):  # of a trainer that was killed
            shutil.rmtree(left, ignore_errors=True)
        self._draft = self._cache / f"{DRAFT}{uuid.uuid4().hex}"
        self._draft.mkdir()
        np.save(self._draft / "features.npy", features)
        if before is not None and before.method != PCA_FOR_NOW:
            np.save(self._draft / "before.npy", before.places)
        self._about, self._ended = (version, steps), False
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "labeler.projection", str(self._draft)],
            stdin=subprocess.PIPE,  # closes when this process ends, however it ends
            env={**os.environ, **ONE_THREAD},
            start_new_session=True,  # Ctrl-C is for the trainer, which ends this one
        )
        self._waits = threading.Thread(target=self._wait, args=[self._process], name="mapmaker", daemon=True)
        self._waits.start()

    def _wait(self, process: "subprocess.Popen[bytes]") -> None:
        process.wait()
        self._ended = True
        self._done()

    def take(self) -> Map | None:
        """The map that was begun, once it is there. None while it is made, and where it could not be."""
        if self._process is None or self._draft is None or not self._ended:
            return None
        code, draft = self._process.returncode, self._draft
        self._clear()
        try:
            with np.load(draft / MAP, allow_pickle=False) as f:
                return Map(f["places"], *self._about, str(f["method"]))
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as problem:
            log.warning("No map was made (exit code %s): %s", code, problem)
            return None
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def wait(self) -> None:
        """Until the one that was begun is there."""
        if self._waits is not None:
            self._waits.join()

    def close(self) -> None:
        """End the one that is being made; it may be begun again at once."""
        self._tried = -1
        if self._process is None or self._draft is None:
            return
        self._process.kill()
        self._process.wait()
        if self._waits is not None:
            self._waits.join(5)
        draft = self._draft
        self._clear()
        shutil.rmtree(draft, ignore_errors=True)

    def _clear(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
        self._process = self._draft = self._waits = None
