"""`labeler backup` and `restore`: a project as one zip of one moment, taken while people label, checked file by file.

The zip holds labels.db, images/, the newest version in models/, and manifest.json with the size and sha256 of each.
"""

import hashlib
import json
import os
import re
import secrets
import shutil
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from labeler.project import DATABASE, Project, must_be_server, remember
from labeler.published import ARRAYS, MODEL
from storage import Store
from storage import salvage as torn
from storage.processes import runs

FORMAT = 1
MANIFEST = "manifest.json"
BLOCK = 1 << 20
COMPRESSED = {".png", ".jpg", ".jpeg", ".gif", ".webp", ".tif", ".tiff"}  # packing them again gains nothing
NAMES = re.compile(
    r"labels\.db|images/[^/\\:]+(/[^/\\:]+)?|models/\d{6,}/[^/\\:]+"
    r"|images/[0-9a-f]{2}/[0-9a-f]{64}\.[^/.]{1,5}"  # imports kept any suffix once: behind a hash none leads elsewhere
)
ATTEMPTS = 5
Progress = Callable[[int, int], None]  # bytes done, bytes in all


@dataclass
class Copied:
    """What a backup holds or a restore brought back. `by_path`: originals kept outside the project, so not in the zip.

    `missing` and `changed` are originals that were gone, or not what was imported, when it was taken. `wrong`: what was
    wrong with the record, as `labeler check` tells it. That comes back as it was.
    """

    samples: int
    last_event_id: int
    version: int | None
    files: dict[str, dict[str, Any]] = field(default_factory=dict)  # name -> size, sha256
    by_path: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def report(self) -> dict[str, Any]:
        """As JSON, without the list of all files."""
        told = {name: value for name, value in vars(self).items() if name != "files"}
        return told | {"files": len(self.files), "bytes": sum(one["size"] for one in self.files.values())}


# ---------- out ----------


def backup(project: Project, out: Path, on_progress: Progress | None = None) -> Copied:
    """Write the project to the new file `out`. It appears whole or not at all."""
    out = out.expanduser().absolute()
    _must_be_free(out)
    if not out.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {out.parent}. Make it first, or plug in the drive it is on.")
    with _draft(out) as draft, ExitStack() as opened:
        store, model = _moment(project, draft, opened)
        copied = _plan(project.folder, store, model)
        copied.wrong = _faults(store, draft / DATABASE)
        store.close()
        originals = {name: project.folder / name for name in copied.files if name.startswith("images/")}
        todo = (draft / DATABASE).stat().st_size + sum(_size(p) for p in originals.values())
        todo += sum(os.fstat(f.fileno()).st_size for f in model.values())
        told = _Told(todo, on_progress)
        expected = dict(copied.files)
        copied.files = {}
        with zipfile.ZipFile(draft / "zip", "w") as archive:
            with open(draft / DATABASE, "rb") as database:
                _put(archive, copied, DATABASE, database, told)
            for name, f in model.items():
                _put(archive, copied, name, f, told)
            for name, path in originals.items():
                _put_original(archive, copied, name, path, expected[name]["sha256"], told)
            about = {"application": "labeler", "format": FORMAT, "name": project.name, "time": time.time()}
            archive.writestr(MANIFEST, json.dumps(about | vars(copied), indent=1), zipfile.ZIP_DEFLATED)
        _on_disk(draft / "zip")
        _must_be_free(out)
        os.rename(draft / "zip", out)
    return copied


def _moment(project: Project, draft: Path, opened: ExitStack) -> tuple[Store, dict[str, BinaryIO]]:
    """The database as it is now, and the files of its newest version: once open, a trainer may prune them.

    Originals need no such care: they are written before their rows, and never deleted.
    """
    for attempt in range(1, ATTEMPTS + 1):
        (draft / DATABASE).unlink(missing_ok=True)
        project.store.copy_to(draft / DATABASE)
        store = Store.open(draft / DATABASE)
        newest = store.newest_version()
        names = [f"{newest.folder}/{name}" for name in (*(f"{a}.npy" for a in ARRAYS), MODEL)] if newest else []
        model: dict[str, BinaryIO] = {}
        try:
            for name in names:
                model[name] = opened.enter_context((project.folder / name).open("rb"))
        except OSError:  # pruned since; or damaged, and then there is none to take along
            if newest != project.store.newest_version() and attempt < ATTEMPTS:
                store.close()
                continue
            model = {}
        for version in store.versions():
            if not version.pruned and not (model and version == newest):
                store.drop_version(version.version)
        store.clear_running()
        return store, model
    raise AssertionError("the last attempt returns")


def _faults(store: Store, path: Path) -> list[str]:
    """What is wrong with the record in this file, a line each."""
    try:
        store.settle(keep_traces=True)  # where it was copied while the states of many samples were derived again
        return store.check()
    except Exception as error:
        if not (found := _torn(error, path)):
            raise
        return [f"SQLite: {line}" for line in found]


def _torn(error: Exception, path: Path) -> list[str]:
    """What SQLite finds wrong with the file, where that is what the error comes of."""
    return torn.faults(path) if torn.is_from_sqlite(error) and path.is_file() else []


def _plan(folder: Path, store: Store, model: dict[str, BinaryIO]) -> Copied:
    """What is to be copied; of originals their sha256, as the record has it."""
    newest = store.newest_version()
    samples = store.samples()
    copied = Copied(len(samples), store.last_event_id(), newest.version if newest and model else None)
    for sample in samples:
        if Path(sample.file).is_absolute():
            copied.by_path.append(sample.file)
        else:
            copied.files[sample.file] = {"sha256": sample.sha256 if sample.row is None else Path(sample.file).stem}
    return copied


def _put_original(
    archive: zipfile.ZipFile, copied: Copied, name: str, path: Path, sha256: str, told: Callable[[int], None]
) -> None:
    with ExitStack() as stack:
        try:
            f = stack.enter_context(path.open("rb"))
        except OSError:
            copied.missing.append(name)
            return
        _put(archive, copied, name, f, told)
    if copied.files[name]["sha256"] != sha256:
        copied.changed.append(name)


def _put(archive: zipfile.ZipFile, copied: Copied, name: str, f: BinaryIO, told: Callable[[int], None]) -> None:
    info = zipfile.ZipInfo(name, time.localtime()[:6])
    info.external_attr = 0o644 << 16
    info.compress_type = zipfile.ZIP_STORED if Path(name).suffix.lower() in COMPRESSED else zipfile.ZIP_DEFLATED
    info._compresslevel = 1  # type: ignore[attr-defined]  # a third slower than none, and most of what 9 gains
    with archive.open(info, "w", force_zip64=True) as to:
        copied.files[name] = _stream(f, to, told)


def _stream(f: Any, to: Any, told: Callable[[int], None], at_most: int | None = None) -> dict[str, Any]:
    """Copy in blocks: {size, sha256} of what was copied. ValueError where more than `at_most` bytes come."""
    sha256, size = hashlib.sha256(), 0
    while block := f.read(BLOCK):
        size += len(block)
        if at_most is not None and size > at_most:
            raise ValueError("it is longer than its manifest says")
        sha256.update(block)
        to.write(block)
        told(len(block))
    return {"size": size, "sha256": sha256.hexdigest()}


# ---------- in ----------


def restore(archive: Path, folder: Path, on_progress: Progress | None = None, database: str | None = None) -> Copied:
    """A backup as the new project `folder`, which appears when every file was found to be what was backed up.

    `database`: the URL of a PostgreSQL database to have the record, wherever it was when it was backed up.
    """
    archive, folder = archive.expanduser(), folder.expanduser().absolute()
    if database is not None:
        must_be_server(database)
    if folder.exists() or folder.is_symlink():
        raise ValueError(f"{folder} exists already. Choose a new folder.")
    if not archive.is_file():
        raise FileNotFoundError(f"There is no file {archive}.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _draft(folder) as draft:
        copied = _extracted(archive, draft / "project", on_progress)
        with _moved(draft / "project", database, folder.name):
            os.rename(draft / "project", folder)
    return copied


def _extracted(archive: Path, folder: Path, on_progress: Progress | None) -> Copied:
    try:
        with zipfile.ZipFile(archive) as opened:
            copied = _manifest(opened)
            told = _Told(sum(one["size"] for one in copied.files.values()), on_progress)
            for name, expected in copied.files.items():
                _extract(opened, folder / name, name, expected, told)
            _take_up(folder / DATABASE, copied)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise ValueError(f"{archive} is damaged or no backup ({error}). Use another one.") from error
    except ValueError as error:
        raise ValueError(f"{archive} was not restored: {str(error).rstrip('.')}. Use another backup.") from error
    return copied


def _manifest(archive: zipfile.ZipFile) -> Copied:
    """ValueError unless the zip holds the files it tells of, no others, and each where a project has files."""
    names = archive.namelist()
    if MANIFEST not in names:
        raise ValueError("it is not a backup of a Labeler project, as it has no manifest.json")
    try:
        about = json.loads(archive.read(MANIFEST))
        if about["application"] != "labeler" or about["format"] > FORMAT:
            raise ValueError("it was written by a newer Labeler")
        about.setdefault("wrong", [])  # older backups do not tell
        copied = Copied(**{name: about[name] for name in Copied.__dataclass_fields__})
        sizes = {name: (int(one["size"]), str(one["sha256"])) for name, one in copied.files.items()}
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"its manifest.json cannot be read ({error})") from error
    if twice := [name for name, n in Counter(names).items() if n > 1]:
        raise ValueError(f"{twice[0]} is in it twice")
    for name in sizes:
        if not NAMES.fullmatch(name) or ".." in name.split("/") or "." in name.split("/"):
            raise ValueError(f"{name!r} in it is no file of a project")
    if DATABASE not in sizes or {*sizes, MANIFEST} != set(names):
        raise ValueError("it does not hold the files that its manifest tells of")
    return copied


def _extract(
    archive: zipfile.ZipFile, to: Path, name: str, expected: dict[str, Any], told: Callable[[int], None]
) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(name) as f, open(to, "wb") as file:
        found = _stream(f, file, told, at_most=expected["size"])
        file.flush()
        os.fsync(file.fileno())
    if found != expected:
        raise ValueError(f"{name} in it is damaged")


def _take_up(path: Path, copied: Copied) -> None:
    """ValueError unless the database is ours and every image it speaks of came along, or was known to be elsewhere.

    What is wrong with the record was so in the project, as every byte is that of the backup: it is told in `wrong`.
    """
    try:
        with Store.open(path) as store:
            copied.wrong = _faults(store, path)
            there = {*copied.files, *copied.by_path, *copied.missing}
            if unknown := {sample.file for sample in store.samples()} - there:
                raise ValueError(f"it lacks {min(unknown)}")
            # Tabs that are open on the project that was lost must not write here: ids given since mean other images.
            store.set_setting("page_key", secrets.token_hex(8))
            if store.accounts():  # nor may a sign-in that ended since the backup begin to hold again
                store.set_setting("sign_in_secret", secrets.token_hex(32))
    except Exception as error:
        if not (found := _torn(error, path)):
            raise
        raise ValueError(f"its database is torn: {found[0]}") from error


@contextmanager
def _moved(folder: Path, database: str | None, name: str) -> Iterator[None]:
    """The record on PostgreSQL where that is asked for, for good when the block ends well."""
    if database is None:
        yield
        return
    try:
        with Store.copied(folder / DATABASE, database, name) as store:
            for file in folder.glob(f"{DATABASE}*"):
                file.unlink()
            remember(folder, store.place)
            yield
    except Exception as error:
        if not (found := _torn(error, folder / DATABASE)):
            raise
        raise ValueError(
            f"Its database is torn and cannot be moved ({found[0]}). Restore it without --database, and take out of it "
            "what can be read: labeler check --salvage."
        ) from error


# ---------- both ----------


class _Told:
    """Adds up what was copied for the progress bar."""

    def __init__(self, total: int, on_progress: Progress | None) -> None:
        self.done, self.total, self.on_progress = 0, total, on_progress

    def __call__(self, more: int) -> None:
        self.done += more
        if self.on_progress:
            self.on_progress(self.done, max(self.total, self.done))


@contextmanager
def _draft(out: Path) -> Iterator[Path]:
    """A folder beside `out` to write in, gone at the end. What killed runs for the same `out` left is removed too."""
    for left in out.parent.glob(f".{_escaped(out.name)}.*.part"):
        pid = left.name.removesuffix(".part").rpartition(".")[2]
        if pid.isdecimal() and not runs(int(pid)):
            shutil.rmtree(left, ignore_errors=True)
    draft = out.with_name(f".{out.name}.{os.getpid()}.part")
    draft.mkdir()
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _escaped(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)


def _must_be_free(out: Path) -> None:
    if out.exists():
        raise ValueError(f"{out} exists already. Choose another name, or delete it first.")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _on_disk(path: Path) -> None:
    with open(path, "rb+") as f:
        os.fsync(f.fileno())
