"""Bringing a source into a project: originals first, then their rows, then their labels, some hundreds at a time."""

import hashlib
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from labeler.control import control_of
from storage import Import, NewEvent, NewSample, Store
from storage.classes import clean_class_name, composed, shown
from storage.images import clear_incoming, decode, keep_original, keep_pack, sha256_of_row
from storage.importers import ArraySource, Item, Source, open_source, printable
from storage.samples import CHUNK, PAUSE_SECONDS, chunks
from storage.synthetic import WHY, is_synthetic

MEASURE_SHARE = 0.1
MOST_MEASURED = 500  # more would cost labels and hardly sharpen the estimate
ANNOTATOR = "import"
FILES_AT_ONCE = 200  # fewer than rows of an array: a chunk of photographs takes seconds
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class ImportReport:
    """What an import did. `rejected` lists (name, reason); `split` is where its images went ('pool' or 'gold').

    `left_parts`: other parts of the source, with their numbers of images, that no import has taken yet. `stay_in_pool`:
    images meant as gold ones that were in the project already, to be labeled: they stay that. `measure_share`: of the
    questions those that measure from now on, where that was changed, as it was asked for. `measured`: how many were
    kept for measuring, of those without a label. `new_classes`: their names.
    """

    added: int
    duplicates: int
    rejected: list[tuple[str, str]]
    labels: int
    split: str
    part: str
    left_parts: dict[str, int]
    stay_in_pool: int
    measure_share: float | None
    measured: int
    new_classes: list[str]


@dataclass(frozen=True)
class Read:
    """An item whose original is in the project: the row to be and its label, or why it is left out."""

    name: str
    sample: NewSample | None = None
    label: str | None = None
    reject: str | None = None


class Importer:
    """One run. It may be killed at any moment: what is stored stays, and the same import again adds the rest."""

    def __init__(self, folder: Path, store: Store, labels: bool, gold: bool, copy: bool, max_megapixels: float) -> None:
        if labels and gold:
            raise ValueError("An import gives labels to learn from or gold ones to test with. Choose one of the two.")
        if not 0 <= max_megapixels < math.inf:
            raise ValueError(f"The most megapixels are a number from 0 on, not {max_megapixels:g}.")
        self._folder = folder
        self._store = store
        self._labels = labels
        self._gold = gold
        self._copy = copy
        self._max_megapixels = max_megapixels
        self._class_ids: dict[str, int] = {}
        self._label_of: dict[str, tuple[str, str]] = {}  # sha256 -> (label, name) of the first file with that content
        self._rejected: list[tuple[str, str]] = []
        self._stay_in_pool: set[int] = set()
        self._added = self._duplicates = self._labeled = 0
        self._new_share: float | None = None
        self._new_classes: list[str] = []

    def run(self, path: Path, part: str | None, measure_share: float | None, on_progress: Progress) -> ImportReport:
        source = open_source(path)
        part = part or usual_part(source, self._gold)
        if part not in source.parts:
            raise ValueError(f"There is no part {part!r} in {path}; it has {', '.join(source.parts)}.")
        total = source.parts[part]
        if self._labels or self._gold:
            known = {one.id for one in self._store.classes(archived=True)}
            self._class_ids = class_ids_for(source, part, self._store)
            self._new_classes = [one.name for one in self._store.classes() if one.id not in known]
        split = "gold" if self._gold else "pool"
        place = printable(Path(os.path.abspath(path)))
        before = [one for one in self._store.imports() if one.source == place]
        import_id = self._store.start_import(place, source.kind, part, split)
        attempts = [*interrupted(before, part, split), import_id]
        measured = self._draw_measured(total, measure_share, attempts)
        clear_incoming(self._folder)
        done = 0
        for chunk in chunks(self._read(source, part), CHUNK if isinstance(source, ArraySource) else FILES_AT_ONCE):
            splits = ["measure" if done + i in measured else split for i in range(len(chunk))]
            self._store_chunk(chunk, splits, import_id)
            done += len(chunk)
            on_progress(done, total)
            time.sleep(PAUSE_SECONDS)  # labels get in between
        self._store.finish_import(import_id, self._added, self._duplicates, self._labeled)
        taken = {part} | {one.part for one in before if one.finished is not None}
        return ImportReport(
            self._added,
            self._duplicates,
            self._rejected,
            self._labeled,
            split,
            part,
            {other: n for other, n in source.parts.items() if n and other not in taken},
            len(self._stay_in_pool),
            self._new_share,
            self._store.number_imported("measure", [import_id]),
            self._new_classes,
        )

    def _draw_measured(self, total: int, share: float | None, attempts: list[int]) -> set[int]:
        """Places in the source whose images are kept for measuring accuracy: drawn at random, before any is seen.

        `attempts`: this import, after those of the same images that were interrupted. The first one's draw is repeated,
        so that what is stored already and what is still to come are together one draw (docs/decisions/0003).
        """
        counts = self._store.counts()
        asked_for, share = share, share if share is not None else 0.0 if counts["gold"] else MEASURE_SHARE
        elsewhere = counts["measure"] - self._store.number_imported("measure", attempts)
        n = min(round(share * total), MOST_MEASURED - elsewhere)
        if self._gold or n <= 0:
            return set()
        if asked_for is not None and asked_for != control_of(self._store).measure_share:
            self._store.set_setting("measure_share", asked_for)  # without the option it stays what somebody made it
            self._new_share = asked_for
        rng = np.random.default_rng([self._store.setting("rng_seed", 0), attempts[0]])
        return set(rng.permutation(total)[:n].tolist())  # with another share more or less of the same order

    def _read(self, source: Source, part: str) -> Iterator[Read]:
        if isinstance(source, ArraySource):
            return self._read_rows(source, part)
        self._must_fit(None)
        return self._read_files(source.items(part))

    def _read_rows(self, source: ArraySource, part: str) -> Iterator[Read]:
        """Rows of an array, which is stored whole as one pack (also without --copy: a zipped array has no rows)."""
        images = source.images(part)
        self._must_fit(images.shape[1] if images.ndim == 2 else None)
        file = keep_pack(self._folder, images)
        height, width, *rest = images.shape[1:] if images.ndim > 2 else (1, images.shape[1])
        for item in source.items(part):
            assert item.image is not None
            sample = NewSample(sha256_of_row(item.image), item.name, file, item.row, width, height, 3 if rest else 1)
            yield Read(item.name, sample, item.label)

    def _must_fit(self, length: int | None) -> None:
        """Vectors of one length (None: images) make a project of their own; the first of them settle what it is."""
        size, channels = self._store.setting("working_size"), self._store.setting("channels")
        here = f"vectors of {size} numbers" if channels == 0 else "images" if self._store.last_sample_id() else None
        given = "images" if length is None else f"vectors of {length} numbers"
        if here not in (None, given):
            raise ValueError(f"This project holds {here}, the source {given}. Make a new project for them.")
        if length is not None:
            self._store.set_setting("working_size", length)
            self._store.set_setting("channels", 0)

    def _read_files(self, items: Iterable[Item]) -> Iterator[Read]:
        """Files read, decoded and copied by a few threads (all of that releases the interpreter), in order."""
        workers = min(8, 2 * (os.cpu_count() or 1))
        waiting: deque[Future[Read]] = deque()
        pool = ThreadPoolExecutor(workers, thread_name_prefix="import")
        try:
            for item in items:
                waiting.append(pool.submit(self._read_file, item))
                if len(waiting) >= 4 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)  # Ctrl-C waits for the files at hand, not for the queue

    def _read_file(self, item: Item) -> Read:
        if item.path is None:
            return Read(item.name, reject=item.reject)
        try:
            data = read_bytes(item.path, self._max_megapixels)
            if is_synthetic(data):
                return Read(item.name, reject=WHY)
            image, format_ = decode(data, self._max_megapixels)
        except OSError as error:
            return Read(item.name, reject=f"the file cannot be read: {error.strerror}")
        except ValueError as error:
            return Read(item.name, reject=str(error))
        sha256 = hashlib.sha256(data).hexdigest()
        if self._copy:  # a full disk ends the import here: that is no fault of the image
            file = keep_original(self._folder, data, sha256, format_, item.path.suffix)
        else:
            file = str(item.path.absolute())
            if printable(item.path) != item.path.as_posix():
                return Read(
                    item.name, reject="its path is not valid UTF-8 and cannot be remembered: import with a copy"
                )
        height, width, *rest = image.shape
        return Read(item.name, NewSample(sha256, item.name, file, None, width, height, 3 if rest else 1), item.label)

    def _store_chunk(self, chunk: list[Read], splits: list[str], import_id: int) -> None:
        rejected_before = len(self._rejected)
        rows: list[NewSample] = []
        labels: dict[str, int] = {}
        for one, split in zip(chunk, splits, strict=True):
            class_id = None
            reject = one.reject
            if one.sample is not None and (self._labels or self._gold):
                class_id, reject = self._class_of(one.sample.sha256, one)
            if one.sample is None or reject is not None:
                self._rejected.append((one.name, reject or "not readable"))
                continue
            if self._labels and class_id is not None:
                labels.setdefault(one.sample.sha256, class_id)
                split = "pool"  # what is labeled already is learned from
            gold_class_id = class_id if self._gold else None
            rows.append(replace(one.sample, split=split, gold_class_id=gold_class_id, import_id=import_id))
        tally = self._store.add_samples(rows)
        self._added += tally["added"]
        self._duplicates += tally["duplicates"]
        self._record_labels(labels)
        if self._gold:
            ids = self._store.ids_by_sha256([row.sha256 for row in rows])
            known = self._store.samples(ids=ids.values())
            self._stay_in_pool.update(sample.id for sample in known if sample.split != "gold")
        self._store.add_rejects(import_id, self._rejected[rejected_before:])

    def _class_of(self, sha256: str, one: Read) -> tuple[int | None, str | None]:
        """(class id, why the image is left out): a label that cannot be used is worse than an image less."""
        if one.label is None:
            return None, "it has no label, so it cannot be gold" if self._gold else None
        if one.label not in self._class_ids:
            return None, f"its label {shown(one.label)} cannot be the name of a class"
        label, name = self._label_of.setdefault(sha256, (one.label, one.name))
        if label != one.label:
            return None, f"the same image is {shown(label)} in {name}; that label was kept"
        return self._class_ids[one.label], None

    def _record_labels(self, labels: dict[str, int]) -> None:
        """Labels for samples that nobody has decided; an imported label that was undone stays undone."""
        if not labels:
            return
        ids = self._store.ids_by_sha256(list(labels))
        gold = {sample.id for sample in self._store.samples(ids=ids.values()) if sample.split == "gold"}
        settled = gold | set(self._store.decided_ids(ids.values()).tolist())
        events = [
            NewEvent(f"import-{sha256}", "label", ids[sha256], class_id, ANNOTATOR, acquisition="import")
            for sha256, class_id in labels.items()
            if ids[sha256] not in settled
        ]
        known = self._store.known_uids(event.uid for event in events)
        events = [event for event in events if event.uid not in known]
        self._store.record(events)
        self._labeled += len(events)


def interrupted(before: list[Import], part: str, split: str) -> list[int]:
    """Ids of the imports of this part that were begun, and not ended, since it was last imported whole."""
    attempts: list[int] = []
    for one in before:
        if (one.part, one.split) == (part, split):
            attempts = [*attempts, one.id] if one.finished is None else []
    return attempts


def usual_part(source: Source, gold: bool) -> str:
    """The part meant where none is named: the test part for gold images, else the training part."""
    wanted = ("test", "val", "valid", "validation", "all", "train") if gold else ("train", "all", "test")
    return next((part for part in wanted if part in source.parts), next(iter(source.parts)))


def class_ids_for(source: Source, part: str, store: Store) -> dict[str, int]:
    """Label -> class id; classes the project does not have yet are added. That of a merged class counts as the other.

    Whole numbers (IDX files, .npz without names) mean the project's classes in their order, where it has classes.
    """
    labels = in_order({item.label for item in source.items(part) if item.label is not None}, source.classes)
    classes = store.classes()
    known = {composed(one.name): one.id for one in store.classes(archived=True) if not one.archived}
    has_their_names = not known.keys().isdisjoint(labels)
    if isinstance(source, ArraySource) and source.classes is None and classes and not has_their_names:
        numbers = [int(label) for label in labels if label.isdecimal()]
        if len(numbers) == len(labels):
            if max(numbers, default=0) >= len(classes):
                raise ValueError(
                    f"Labels go up to {max(numbers)}, but there are {len(classes)} classes. Add the others."
                )
            return {str(number): classes[number].id for number in numbers}
    names = {label: name for label in labels if (name := usable(label)) is not None}
    missing = [name for name in dict.fromkeys(names.values()) if name not in known]
    if missing:
        known |= {one.name: one.id for one in store.add_classes(missing)}
    return {label: known[name] for label, name in names.items()}


def in_order(labels: set[str], classes: list[str] | None) -> list[str]:
    """Numbers by value, names as the source lists them or by alphabet."""
    if all(label.isdecimal() for label in labels):
        return sorted(labels, key=int)
    return [name for name in classes if name in labels] if classes else sorted(labels)


def usable(label: str) -> str | None:
    try:
        return clean_class_name(label)
    except ValueError:
        return None


def read_bytes(path: Path, max_megapixels: float) -> bytes:
    """The whole file. ValueError for what is no file (a pipe would wait for ever) or larger than such an image is."""
    if not path.is_file():
        raise ValueError("not a regular file")
    if path.stat().st_size > max_megapixels * 8e6 + 50e6:  # 8 bytes a pixel and some slack
        raise ValueError(f"more than {max_megapixels:g} megapixels could need: {path.stat().st_size / 1e6:,.0f} MB")
    return path.read_bytes()
