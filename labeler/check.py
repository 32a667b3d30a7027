"""`labeler check`: is everything there that the record speaks of, and what it was? What can be, is mended."""

import hashlib
import os
import re
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from labeler import heads
from labeler.maps import DRAFT as MAP_DRAFT
from labeler.mend import drop_version, put_back, remove
from labeler.published import ARRAYS, DRAFT, MODEL, RANKING_DRAFT
from labeler.working import STALE_SECONDS, drafts, stale_caches
from storage import AlreadyRunning, Sample, Store, Version
from storage.images import DAMAGED, left_incoming
from storage.processes import runs

Progress = Callable[[int, int], None]
OURS = {  # what these folders hold, hidden files apart
    "images": re.compile(rf"images/([0-9a-f]{{2}}/)?[0-9a-f]{{64}}[^/]*|images/{DAMAGED}/.*"),
    "models": re.compile(r"models/\d{6,}/[a-z_]+\.(npy|npz|safetensors|json)"),
    "cache": re.compile(r"cache/.*\.(npy|npz|json|safetensors)"),
}


@dataclass(frozen=True)
class Finding:
    """One line about something that is wrong or, not `wrong`, about what a process left that was killed.

    `mend` does what can be done and tells it in one line, or returns None where nothing could; `alone`: it may be
    called only while no trainer runs.
    """

    text: str
    wrong: bool = True
    mend: Callable[[], str | None] | None = None
    alone: bool = False


def check(folder: Path, store: Store, on_progress: Progress | None = None) -> list[Finding]:
    """Everything that is found; empty when all is well. Reads every image once."""
    return list(findings(folder, store, on_progress))


def findings(folder: Path, store: Store, on_progress: Progress | None = None) -> Iterator[Finding]:
    """One by one, so that what is mended is sound when it is looked at by what comes after."""
    problems = store.check()
    if (cut := heads.fault(folder, store)) is not None:
        problems.append(cut)
    yield from (Finding(line) for line in problems)
    if not problems:
        heads.note(folder, store)
    yield from of_images(folder, store, on_progress)
    trainer = store.process("trainer")
    rests = trainer is None or not trainer["alive"]  # otherwise it may be in the middle of it
    yield from of_models(folder, store, rests)
    yield from of_cache(folder, store, rests)
    yield from of_leftovers(folder, store)
    yield from of_strangers(folder, store)


# ---------- images ----------


def of_images(folder: Path, store: Store, on_progress: Progress | None) -> Iterator[Finding]:
    """Image files that are gone, cannot be read, or are no longer what was imported."""
    samples, done = store.samples(), 0
    samples_of: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        samples_of[sample.file].append(sample)
    origins: dict[int, tuple[str, str]] | None = None
    for file, inside in samples_of.items():
        fault = fault_of_file(folder / file, inside)
        if fault:
            origins = store.origins() if origins is None else origins
            what = f"{file} ({inside[0].name if len(inside) == 1 else f'{len(inside)} images'}): {fault}"
            yield _of_image(folder, inside[0], what, origins.get(inside[0].id))
        done += len(inside)
        if on_progress:
            on_progress(done, len(samples))


def fault_of_file(path: Path, samples: list[Sample]) -> str | None:
    """A pack of many images is named by its hash; an image file's hash is in its row."""
    expected = samples[0].sha256 if samples[0].row is None else path.stem
    try:
        with path.open("rb") as f:
            found = hashlib.file_digest(f, "sha256").hexdigest()
    except FileNotFoundError:
        return "the file is gone"
    except OSError as error:
        return f"the file cannot be read ({error.strerror})"
    return None if found == expected else "the file is not what was imported"


def _of_image(folder: Path, sample: Sample, what: str, origin: tuple[str, str] | None) -> Finding:
    if Path(sample.file).is_absolute():
        return Finding(f"{what}. It was imported without a copy: put it back in its place.")
    if origin is None:
        return Finding(f"{what}. Restore it from a backup.")
    text = f"{what}. It came from {origin[0]}: --repair looks there; or restore it from a backup."
    return Finding(text, mend=lambda: put_back(folder, sample, *origin))


# ---------- models ----------


def of_models(folder: Path, store: Store, rests: bool) -> Iterator[Finding]:
    """Published versions whose files are gone or damaged, and files that no published version speaks of."""
    there = [path for path in sorted((folder / "models").glob("[0-9]" * 6)) if path.is_dir()]  # before the rows
    kept = store.versions(pruned=False)
    for version in kept:
        if faults := faults_of_version(folder, store, version):
            yield _damaged(folder, store, version, ", ".join(faults))
    known = {folder / version.folder for version in kept}
    if rests:
        for path in there:
            if path not in known:
                yield _unpublished(folder, store, path)
            for prefix, what in ((RANKING_DRAFT, "half a ranking"), (MAP_DRAFT, "half a map")):
                for draft in path.glob(f"{prefix}*"):
                    yield _left(folder, draft, what, alone=True)
        for draft in sorted((folder / "models").glob(f"{DRAFT}*")):
            yield _left(folder, draft, "half a version", alone=True)


def _unpublished(folder: Path, store: Store, home: Path) -> Finding:
    def mend() -> str | None:
        return remove(folder, home) if _has_no_row(folder, store, home) else None

    return _left(folder, home, "a version that was not published, or is pruned", True, mend)


def _damaged(folder: Path, store: Store, version: Version, faults: str) -> Finding:
    def mend() -> str | None:
        return drop_version(folder, store, version) if faults_of_version(folder, store, version) else None

    text = f"model version {version.version}: {faults}. Training makes a new one; --repair takes this one out."
    return Finding(text, mend=mend, alone=True)


def faults_of_version(folder: Path, store: Store, version: Version) -> list[str]:
    """Only the newest must have all its arrays. What a trainer prunes meanwhile is no fault."""
    newest, home = store.newest_version(), folder / version.folder
    arrays = (home / f"{name}.npy" for name in ARRAYS)
    faults = faults_of_arrays(arrays if version == newest else (file for file in arrays if file.exists()))
    faults = [*fault_of_model(home), *faults]
    if faults and newest != store.newest_version():
        return faults_of_version(folder, store, version)
    return [] if _has_no_row(folder, store, home) else faults


def _has_no_row(folder: Path, store: Store, home: Path) -> bool:
    return home not in {folder / version.folder for version in store.versions(pruned=False)}


def fault_of_model(home: Path) -> list[str]:
    try:
        with safe_open(home / MODEL, framework="numpy") as model:
            return [] if model.keys() else [f"{MODEL} is empty"]
    except FileNotFoundError:
        return [f"{MODEL} is gone"]
    except (OSError, SafetensorError) as error:
        return [f"{MODEL} cannot be read ({error})"]


def faults_of_arrays(files: Iterable[Path]) -> list[str]:
    faults = []
    for file in files:
        try:
            np.load(file, mmap_mode="r", allow_pickle=False)
        except FileNotFoundError:
            faults.append(f"{file.name} is gone")
        except (OSError, ValueError, EOFError) as error:
            faults.append(f"{file.name} cannot be read ({error})")
    return faults


# ---------- cache, and what was left by processes that were killed ----------


def of_cache(folder: Path, store: Store, rests: bool) -> Iterator[Finding]:
    for path, why, misleads in stale_caches(folder, store):
        if rests or misleads:
            yield _stale(folder, path, why, misleads)
    if rests:
        for draft in drafts(folder):
            yield _left(folder, draft, "half a cache", alone=True)


def _stale(folder: Path, path: Path, why: str, misleads: bool) -> Finding:
    text = f"{path.relative_to(folder)} {why}. It is built anew when it is needed."
    return Finding(text, misleads, lambda: remove(folder, path), alone=True)


def of_leftovers(folder: Path, store: Store) -> Iterator[Finding]:
    for path in left_incoming(folder):
        yield _left(folder, path, "half an image")
    for path in sorted(folder.glob(".labels.db.*")):
        if (pid := path.suffix[1:]).isdecimal() and not runs(int(pid)):
            yield _left(folder, path, "half a database")
    if n := len(unknown_images(folder, store)):
        text = f"{n:,} in images/ that no sample speaks of: an import was cut short. Run again, it takes them up."
        yield Finding(text, wrong=False)
    if n := store.leases_run_out():
        text = f"Leases that ran out, of tabs that are gone: {n:,}. Anybody may take them over."
        yield Finding(text, wrong=False, mend=lambda: "; ".join(store.repair()) or None)


def of_strangers(folder: Path, store: Store) -> Iterator[Finding]:
    """What somebody put into our folders: it does no harm, and is not ours to remove."""
    for inside in ("images", "models", "cache"):
        strange = [path for path in files_in(folder / inside) if not OURS[inside].fullmatch(_within(folder, path))]
        if strange:
            more = f" and {len(strange) - 1:,} more" if len(strange) > 1 else ""
            text = f"{_within(folder, strange[0])}{more}: not of Labeler, which reads nothing of it. Move it elsewhere."
            yield Finding(text, wrong=False)


def files_in(folder: Path) -> list[Path]:
    """But hidden ones, and those in hidden folders: drafts, and what was moved aside."""
    there = (path for path in sorted(folder.glob("**/*")) if path.is_file())
    return [path for path in there if not any(part.startswith(".") for part in path.relative_to(folder).parts)]


def _within(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()


def unknown_images(folder: Path, store: Store) -> list[Path]:
    """Originals without a sample, but for those that an import may just be about to name. Nothing else has them."""
    old = time.time() - STALE_SECONDS
    known = {folder / sample.file for sample in store.samples()}
    ours = (path for path in files_in(folder / "images") if OURS["images"].fullmatch(_within(folder, path)))
    return [path for path in ours if path not in known and path.parent.name != DAMAGED and path.stat().st_mtime < old]


def _left(
    folder: Path, path: Path, what: str, alone: bool = False, mend: Callable[[], str | None] | None = None
) -> Finding:
    text = f"{path.relative_to(folder)}: {what}, left by a process that was killed"
    return Finding(text, False, mend or (lambda: remove(folder, path)), alone)


# ---------- mending ----------


def repair(folder: Path, store: Store, on_progress: Progress | None = None) -> tuple[list[str], list[Finding]]:
    """(what was mended, one line each; what is left). May be killed at any moment and run again."""
    done, left = store.repair(), []
    for finding in findings(folder, store, on_progress):
        try:
            line = _mended(finding, store)
        except AlreadyRunning:
            finding = replace(finding, text=f"{finding.text} (Not mended while a trainer runs: stop it first.)")
            line = None
        if line is None:
            left.append(finding)
        else:
            done.append(line)
    return done, left


def _mended(finding: Finding, store: Store) -> str | None:
    if finding.mend is None:
        return None
    if not finding.alone:
        return finding.mend()
    holder = uuid.uuid4().hex
    store.hold("trainer", holder, {"phase": "repair", "pid": os.getpid()})  # none starts, and publishes, meanwhile
    try:
        return finding.mend()
    finally:
        store.let_go("trainer", holder)
