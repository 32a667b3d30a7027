"""The images of a project: stored once each, in chunks small enough that a label never waits for an import."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

import numpy as np
import sqlalchemy as sa
from sqlalchemy import func, select

from storage.classes import counted_as
from storage.database import Database, values_of
from storage.tables import imports, rejects, samples
from storage.values import SPLITS, Import, NewSample, Reject, Sample

T = TypeVar("T")

CHUNK = 1_000
PAUSE_SECONDS = 0.005  # between chunks, so that waiting labels get in

SAMPLE_COLUMNS = [column for column in samples.c if column.name != "import_id"]


class SampleTables(Database):
    def add_samples(
        self, rows: Iterable[NewSample], on_progress: Callable[[int], None] | None = None
    ) -> dict[str, int]:
        """Store images not yet known by their sha256. `on_progress` gets the number of rows seen so far."""
        seen = added = 0
        for chunk in chunks(rows, CHUNK):
            if seen:
                time.sleep(PAUSE_SECONDS)
            for row in chunk:
                if row.split not in SPLITS:
                    raise ValueError(f"{row.split!r} is not a split; one of {', '.join(SPLITS)} is.")
            with self._writing() as db:
                same = samples.c.sha256.in_(values_of(row.sha256 for row in chunk))
                known = set(db.scalars(select(samples.c.sha256).where(same)))
                fresh = {row.sha256: row for row in reversed(chunk) if row.sha256 not in known}  # the first of a pair
                if fresh:
                    db.execute(sa.insert(samples), [dict(vars(row)) for row in chunk if fresh.get(row.sha256) is row])
                added += len(fresh)
            seen += len(chunk)
            if on_progress:
                on_progress(seen)
        return {"added": added, "duplicates": seen - added}

    def sample(self, sample_id: int) -> Sample:
        with self._reading() as db:
            row = db.execute(select(*SAMPLE_COLUMNS).where(samples.c.id == int(sample_id))).first()
        if row is None:
            raise KeyError(f"There is no sample {sample_id}.")
        return Sample(*row)

    def samples(self, split: str | None = None, ids: Iterable[int] | None = None) -> list[Sample]:
        """By id; of one split, or with these ids, when asked for."""
        query = select(*SAMPLE_COLUMNS).order_by(samples.c.id)
        if split is not None:
            query = query.where(samples.c.split == split)
        if ids is not None:
            query = query.where(samples.c.id.in_(values_of(int(sample_id) for sample_id in ids)))
        with self._reading() as db:
            return [Sample(*row) for row in db.execute(query)]

    def sample_ids(self, split: str | None = None) -> np.ndarray:
        """Ascending int64."""
        query = select(samples.c.id).order_by(samples.c.id)
        if split is not None:
            query = query.where(samples.c.split == split)
        with self._reading() as db:
            return np.array(db.scalars(query).all(), dtype=np.int64)

    def number_imported(self, split: str, import_ids: Iterable[int]) -> int:
        """How many samples of a split came with these imports."""
        query = select(func.count()).where(samples.c.split == split, samples.c.import_id.in_(values_of(import_ids)))
        with self._reading() as db:
            return int(db.scalar(query) or 0)

    def last_sample_id(self) -> int:
        """0 when there is none. Cheap: tells whether something was imported since."""
        with self._reading() as db:
            return int(db.scalar(select(func.coalesce(func.max(samples.c.id), 0))) or 0)

    def ids_by_sha256(self, hashes: Sequence[str]) -> dict[str, int]:
        """sha256 -> sample id, of those that are stored."""
        query = select(samples.c.sha256, samples.c.id).where(samples.c.sha256.in_(values_of(hashes)))
        with self._reading() as db:
            return {row.sha256: row.id for row in db.execute(query)}

    def gold(self) -> dict[int, int]:
        """Sample id -> known class id, of the images that test and are never trained on.

        Of a merged class the one that it was merged into; images of an archived class are absent.
        """
        query = select(samples.c.id, samples.c.gold_class_id).where(
            samples.c.split == "gold", samples.c.gold_class_id.is_not(None)
        )
        with self._reading() as db:
            class_ids = counted_as(db)
            found = db.execute(query).all()
        return {sample_id: class_ids[class_id] for sample_id, class_id in found if class_id in class_ids}

    def gold_counts(self) -> dict[int, int]:
        """Class id -> gold images that came as this very class, whatever became of the class."""
        query = select(samples.c.gold_class_id, func.count()).where(samples.c.gold_class_id.is_not(None))
        with self._reading() as db:
            return dict(db.execute(query.group_by(samples.c.gold_class_id)).all())

    def start_import(self, source: str, kind: str, part: str, split: str) -> int:
        row = {"source": source, "kind": kind, "part": part, "split": split, "started": time.time()}
        with self._writing() as db:
            return int(db.scalar(sa.insert(imports).values(**row).returning(imports.c.id)) or 0)

    def finish_import(self, import_id: int, added: int, duplicates: int, labels: int) -> None:
        row = {"added": added, "duplicates": duplicates, "labels": labels, "finished": time.time()}
        with self._writing() as db:
            db.execute(sa.update(imports).where(imports.c.id == import_id).values(**row))

    def imports(self) -> list[Import]:
        names = ("id", "source", "kind", "part", "split", "started", "finished", "added", "duplicates", "labels")
        query = select(*(imports.c[name] for name in names)).order_by(imports.c.id)
        with self._reading() as db:
            return [Import(*row) for row in db.execute(query)]

    def add_rejects(self, import_id: int, found: Iterable[tuple[str, str]]) -> None:
        """Keep which files an import left out: (name, reason) each."""
        for chunk in chunks(found, CHUNK):
            rows = [{"import_id": import_id, "name": name, "reason": reason} for name, reason in chunk]
            with self._writing() as db:
                db.execute(sa.insert(rejects), rows)

    def rejects(self, import_id: int | None = None) -> list[Reject]:
        query = select(rejects.c.import_id, rejects.c.name, rejects.c.reason).order_by(rejects.c.id)
        if import_id is not None:
            query = query.where(rejects.c.import_id == import_id)
        with self._reading() as db:
            return [Reject(*row) for row in db.execute(query)]


def chunks(rows: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of up to `size` rows, in order."""
    rows = iter(rows)
    while chunk := list(islice(rows, size)):
        yield chunk
