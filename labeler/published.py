"""What the trainer publishes and the page reads: one folder of arrays and weights for each version of the model.

A version is written under a temporary name, renamed, and only then entered in the database, so that a reader
sees a whole version or none. Between two versions each label brings a new ranking: one file in the folder of the
newest version, replaced by rename, with what changes at once.
"""

import json
import os
import shutil
import uuid
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from storage import Store, Version

RANKING, MODEL = "ranking.npz", "model.safetensors"
MAP = "map.npz"  # beside them, once there is one: see maps.py
DRAFT, RANKING_DRAFT = ".draft-", ".ranking-"
ARRAYS = ("sample_ids", "probs", "scores", "ranking", "embeddings", "generated")


@dataclass(frozen=True, eq=False)
class Published:
    """One published version, with the newest ranking on it. All arrays but `ranking` and `generated` share their rows.

    sample_ids int64 (N,) ascending; probs float32 (N, C) with columns in the order of class_ids;
    scores float32 (N,), higher = ask sooner; ranking int64 (M,) sample ids, the one to ask first in front;
    embeddings float16 (N, Z); generated uint8 (C, n, H, W) or (C, n, H, W, 3), the same latents in every version.
    `last_event_id`: the newest event that probs, scores and ranking know; `labels`: those the weights learned from.
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
    changes: Sequence[Sequence[Any]] = ()  # since the version, rows of flips.Change
    as_written: int | None = None  # when the ranking's file was written; None for the version's own ranking

    @property
    def ranking_key(self) -> tuple[int, int | None]:
        """Another one for each ranking."""
        return self.version, self.as_written

    def position(self, sample_id: int) -> int | None:
        """Row of a sample in this version's arrays; None when it was imported later."""
        i = int(np.searchsorted(self.sample_ids, sample_id))
        return i if i < len(self.sample_ids) and self.sample_ids[i] == sample_id else None

    def probs_of(self, sample_id: int, counted_as: Mapping[int, int]) -> dict[int, float] | None:
        """Class id -> probability. Those of classes that were merged since add up, archived ones are left out.

        `counted_as`: the store's, which knows what the classes of this version are now.
        """
        i = self.position(sample_id)
        if i is None:
            return None
        found: dict[int, float] = {}
        for class_id, p in zip(self.class_ids, self.probs[i].tolist(), strict=True):
            if class_id in counted_as:
                found[counted_as[class_id]] = found.get(counted_as[class_id], 0.0) + p
        if len(found) == len(self.class_ids):
            return found
        total = sum(found.values())
        return {class_id: p / total for class_id, p in found.items()} if total else None


def home(folder: Path, version: int) -> Path:
    """The folder of a version."""
    return folder / "models" / f"{version:06d}"


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
    draft = models / f"{DRAFT}{uuid.uuid4().hex}"
    draft.mkdir()
    to = home(folder, version)
    try:
        _write(draft, arrays, save_model)
        if to.exists():  # left by a trainer that died between the rename and the row
            shutil.rmtree(to)
        draft.rename(to)
    except BaseException:  # on a full disk what is half written would keep it full
        shutil.rmtree(draft, ignore_errors=True)
        raise
    store.add_version(
        version=version,
        last_event_id=last_event_id,
        labels=labels,
        steps=steps,
        folder=f"models/{to.name}",
        acquisition=acquisition,
        metrics={**metrics, "class_ids": class_ids},
    )


def _write(draft: Path, arrays: Mapping[str, np.ndarray], save_model: Callable[[Path], None]) -> None:
    for name in ARRAYS:
        np.save(draft / f"{name}.npy", arrays[name], allow_pickle=False)
    save_model(draft / MODEL)
    for path in draft.iterdir():
        with open(path, "rb+") as f:
            os.fsync(f.fileno())


def clear_drafts(folder: Path) -> None:
    """Remove what trainers left half written that were killed. For who holds the role of the trainer."""
    for draft in (folder / "models").glob(f"{DRAFT}*"):
        shutil.rmtree(draft, ignore_errors=True)


def publish_ranking(
    files: Path,
    *,
    acquisition: str,
    last_event_id: int,
    probs: np.ndarray,
    scores: np.ndarray,
    ranking: np.ndarray,
    changes: Sequence[Sequence[Any]] = (),
) -> None:
    """A new ranking on the version in the folder `files`; gone with it. FileNotFoundError when it is gone already."""
    draft = files / f"{RANKING_DRAFT}{uuid.uuid4().hex}"
    try:
        with open(draft, "wb") as f:  # not synced to disk: the trainer makes it anew in a moment
            np.savez(
                f,
                probs=probs,
                scores=scores,
                ranking=ranking,
                acquisition=np.array(acquisition),
                last_event_id=np.array(last_event_id),
                changes=np.array(json.dumps(changes)),
            )
        draft.replace(files / RANKING)
    finally:
        draft.unlink(missing_ok=True)


def _with_newest_ranking(version: Published, last_event_id: int) -> Published:
    """`version` with the ranking in its folder, if there is one that knows at least the event given."""
    path = version.folder / RANKING
    try:
        written = path.stat().st_mtime_ns
        if written == version.as_written:
            return version
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as f:
            probs = f["probs"]  # read from the file at each access
            if f["last_event_id"] < last_event_id or len(probs) != len(version.sample_ids):
                return version
            return replace(
                version,
                acquisition=str(f["acquisition"]),
                last_event_id=int(f["last_event_id"]),
                probs=probs,
                scores=f["scores"],
                ranking=f["ranking"],
                changes=json.loads(str(f["changes"])) if "changes" in f else [],
                as_written=written,
            )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):  # none, or torn by a power cut
        return version


def newest(folder: Path, store: "Store", known: Published | None = None) -> Published | None:
    """The newest version whose files are all there. `known` is returned as it is while nothing newer exists."""
    row = store.newest_version()
    if row is None:
        return None
    if known is not None and known.version == row.version:
        return _with_newest_ranking(known, known.last_event_id)
    version = _opened(folder, row)
    if version is None:  # pruned a moment ago, or torn by a power cut: keep what we have, or take what was before it
        earlier = (_opened(folder, row) for row in reversed(store.versions(pruned=False)))
        return known or next((version for version in earlier if version is not None), None)
    return _with_newest_ranking(version, row.last_event_id)


def _opened(folder: Path, row: "Version") -> Published | None:
    """A version as it was published; None where its arrays are not there, or are torn."""
    files = folder / row.folder
    try:
        arrays = {name: np.load(files / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in ARRAYS}
    except (OSError, ValueError, EOFError):
        return None
    return Published(
        version=row.version,
        folder=files,
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
    versions = store.versions(pruned=False)
    kept = {v.version for v in versions[-2:]} | _milestones(versions)
    for v in versions[:-2]:
        files = folder / v.folder
        if v.version not in kept:
            store.drop_version(v.version)
            shutil.rmtree(files, ignore_errors=True)
            continue
        for name in (RANKING, MAP, *(f"{array}.npy" for array in ARRAYS if array != "generated")):
            (files / name).unlink(missing_ok=True)


def _milestones(versions: list[Any]) -> set[int]:
    """The first version at or past each of 0, 10, 20, 30, 50, 100, 200, 300, 500 ... labels."""
    kept, marks = set(), [0, *(m * 10**e for e in range(1, 8) for m in (1, 2, 3, 5))]
    for mark in marks:
        past = [v for v in versions if v.labels >= mark]
        if past and (mark == 0 or past[0].labels < 2 * mark):
            kept.add(past[0].version)
    return kept
