"""What `labeler check --repair` does: each may be killed half-way and done again, and deletes no original, no label."""

import hashlib
import shutil
from pathlib import Path

from storage import Sample, Store, Version
from storage import images as originals
from storage.importers import ArraySource, open_source


def remove(folder: Path, path: Path) -> str:
    """A file or a folder that is made again when it is needed, or was never whole."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
    return f"{path.relative_to(folder)}: removed"


def drop_version(folder: Path, store: Store, version: Version) -> str:
    """The row first: a version without files must never be the newest. It stays in the learning curve."""
    store.drop_version(version.version)
    shutil.rmtree(folder / version.folder, ignore_errors=True)
    newest = store.newest_version()
    now = f"version {newest.version} is the newest now" if newest else "training makes a new one"
    return f"model version {version.version}: taken out, as it was damaged; {now}"


def put_back(folder: Path, sample: Sample, source: str, part: str) -> str | None:
    """The original from where it was imported, if it is there still, and the same."""
    if sample.row is not None:
        return _pack_put_back(folder, sample.file, Path(source), part)
    for path in (Path(source) / sample.name, Path(source) / part / sample.name):
        try:
            data = path.read_bytes()
        except (OSError, ValueError):
            continue
        if hashlib.sha256(data).hexdigest() == sample.sha256:
            originals.put_back(folder, sample.file, data)
            return f"{sample.file} ({sample.name}): copied again from {path}"
    return None


def _pack_put_back(folder: Path, file: str, source: Path, part: str) -> str | None:
    """An array is kept under the hash of its own file, so the same array comes to lie in the same place."""
    try:
        found = open_source(source)
        if not isinstance(found, ArraySource) or part not in found.parts:
            return None
        images = found.images(part)
    except (OSError, ValueError):
        return None
    if originals.sha256_of_pack(images) != Path(file).stem:
        return None
    originals.move_aside(folder, file)
    originals.keep_pack(folder, images)
    originals.pack.cache_clear()  # this process may have the damaged one open
    return f"{file}: copied again from {source}"
