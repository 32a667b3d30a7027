"""What the trainer publishes and the page reads: one folder of arrays and weights for each version of the model.

A version is written under a temporary name, renamed, and only then entered in the database, so that a reader
sees a whole version or none.
"""

import os
import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from storage import Store

ARRAYS = ("sample_ids", "probs", "scores", "ranking", "embeddings", "generated")


@dataclass(frozen=True, eq=False)
class Published:
    """One published version. The arrays are memory-mapped; all but `ranking` and `generated` share their rows.

    sample_ids int64 (N,) ascending; probs float32 (N, C) with columns in the order of class_ids;
    scores float32 (N,), higher = ask sooner; ranking int64 (M,) sample ids, the one to ask first in front;
    embeddings float16 (N, Z); generated uint8 (C, n, H, W) or (C, n, H, W, 3), the same latents in every version.
    """

    version: int
    folder: Path
    class_ids: list[int]
    acquisition: str
    last_event_id: int
    labels: int
    steps: int
    metrics: dict[str, Any]
    sample_ids: np.ndarray
    probs: np.ndarray
    scores: np.ndarray
    ranking: np.ndarray
    embeddings: np.ndarray
    generated: np.ndarray

    def position(self, sample_id: int) -> int | None:
        """Row of a sample in this version's arrays; None when it was imported later."""
        i = int(np.searchsorted(self.sample_ids, sample_id))
        return i if i < len(self.sample_ids) and self.sample_ids[i] == sample_id else None

    def probs_of(self, sample_id: int) -> dict[int, float] | None:
        """Class id -> probability."""
        i = self.position(sample_id)
        return None if i is None else {c: float(p) for c, p in zip(self.class_ids, self.probs[i], strict=True)}


def publish(
    folder: Path,
    store: "Store",
    *,
    version: int,
    class_ids: list[int],
    acquisition: str,
    last_event_id: int,
    labels: int,
    steps: int,
    metrics: dict[str, Any],
    arrays: Mapping[str, np.ndarray],
    save_model: Callable[[Path], None],
) -> None:
    """Write one version: arrays and weights first, then the rename, then the row that makes it the newest."""
    models = folder / "models"
    models.mkdir(exist_ok=True)
    draft = models / f".draft-{uuid.uuid4().hex}"
    draft.mkdir()
    for name in ARRAYS:
        with open(draft / f"{name}.npy", "wb") as f:
            np.save(f, arrays[name], allow_pickle=False)
            f.flush()
            os.fsync(f.fileno())
    save_model(draft / "model.safetensors")
    home = models / f"{version:06d}"
    if home.exists():  # left by a trainer that died between the rename and the row
        shutil.rmtree(home)
    draft.rename(home)
    store.add_version(
        version=version,
        last_event_id=last_event_id,
        labels=labels,
        steps=steps,
        folder=f"models/{home.name}",
        acquisition=acquisition,
        metrics={**metrics, "class_ids": class_ids},
    )


def newest(folder: Path, store: "Store", known: Published | None = None) -> Published | None:
    """The newest version whose files are all there. `known` is returned as it is while nothing newer exists."""
    row = store.newest_version()
    if row is None:
        return None
    if known is not None and known.version == row.version:
        return known
    home = folder / row.folder
    try:
        arrays = {name: np.load(home / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in ARRAYS}
    except (FileNotFoundError, ValueError):  # pruned a moment ago, or torn by a power cut: keep what we have
        return known
    return Published(
        version=row.version,
        folder=home,
        class_ids=list(row.metrics["class_ids"]),
        acquisition=row.acquisition,
        last_event_id=row.last_event_id,
        labels=row.labels,
        steps=row.steps,
        metrics=row.metrics,
        **arrays,
    )


def prune(folder: Path, store: "Store") -> None:
    """Keep the arrays of the newest two versions and the weights at log-spaced label counts and of the newest two."""
    versions = [v for v in store.versions() if not v.pruned]
    kept = {v.version for v in versions[-2:]} | _milestones(versions)
    for v in versions[:-2]:
        home = folder / v.folder
        if v.version not in kept:
            store.drop_version(v.version)
            shutil.rmtree(home, ignore_errors=True)
            continue
        for name in ARRAYS:
            if name != "generated":
                (home / f"{name}.npy").unlink(missing_ok=True)


def _milestones(versions: list[Any]) -> set[int]:
    """The first version at or past each of 0, 10, 20, 30, 50, 100, 200, 300, 500 ... labels."""
    kept, marks = set(), [0, *(m * 10**e for e in range(1, 8) for m in (1, 2, 3, 5))]
    for mark in marks:
        past = [v for v in versions if v.labels >= mark]
        if past and (mark == 0 or past[0].labels < 2 * mark):
            kept.add(past[0].version)
    return kept
