"""A folder of images, however deep. Its first level of subfolders are the classes, for who wants them as labels."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from storage.classes import composed
from storage.images import decode
from storage.importers.source import Item, must_be_part
from storage.synthetic import MANIFEST, WHY, is_synthetic, must_be_real

PARTS = ("train", "test", "val", "valid", "validation")
NOT_IMAGES = {"thumbs.db", "desktop.ini", "labels.csv", "classes.json", MANIFEST}  # the last three are our own


class FolderSource:
    """Files are found when opened (names only) and read when imported."""

    kind = "folder"

    def __init__(self, path: Path) -> None:
        """ValueError for a folder that says of itself that a model drew what is in it."""
        must_be_real(path)
        self._roots = _parts(path)
        self._names = {part: _class_names(root) or _class_names(path) for part, root in self._roots.items()}
        self._found = {part: list(self._walk(part)) for part in self._roots}
        self.parts = {part: len(found) for part, found in self._found.items()}
        labels = {item.label for found in self._found.values() for item in found if item.label is not None}
        self.classes: list[str] | None = sorted(labels) or None

    def items(self, part: str) -> Iterator[Item]:
        must_be_part(self, part)
        yield from self._found[part]

    def load_arrays(self, part: str) -> tuple[list[np.ndarray], list[str] | None]:
        """Every image at its own size. A part in which some images have no class folder has no labels."""
        images, labels = [], []
        for item in self.items(part):
            if item.path is None:
                raise ValueError(f"{item.name}: {item.reject}")
            data = item.path.read_bytes()
            if is_synthetic(data):
                raise ValueError(f"{item.path} cannot be used: {WHY}.")
            try:
                images.append(decode(data)[0])
            except ValueError as error:
                raise ValueError(f"{item.path} cannot be used: {error}") from error
            labels.append(item.label)
        named = [label for label in labels if label is not None]
        return images, named if len(named) == len(images) else None

    def _walk(self, part: str) -> Iterator[Item]:
        root, visited = self._roots[part], set()
        unreadable: list[OSError] = []
        for place, folders, files in os.walk(root, onerror=unreadable.append, followlinks=True):
            here = os.stat(place)
            if (here.st_dev, here.st_ino) in visited:  # a link back up
                folders.clear()
                continue
            visited.add((here.st_dev, here.st_ino))
            folders[:] = sorted(name for name in folders if not _hidden(name))
            for name in sorted(files):
                path = Path(place) / name
                if not _hidden(name) and not (name.lower() in NOT_IMAGES and path.parent == root):
                    yield Item(printable(path.relative_to(root)), path=path, label=self._label(part, path))
        for error in unreadable:
            unread = Path(error.filename).relative_to(root)
            yield Item(printable(unread), reject=f"the folder cannot be read: {error.strerror}")

    def _label(self, part: str, path: Path) -> str | None:
        inside = path.relative_to(self._roots[part]).parts
        if len(inside) < 2:
            return None
        folder = composed(printable(Path(inside[0])))
        return self._names[part].get(folder, folder)


def _parts(path: Path) -> dict[str, Path]:
    """train/ and test/ where that is all there is, and no export says that they are classes; else the folder itself."""
    try:
        entries = [entry for entry in path.iterdir() if not _hidden(entry.name) and entry.name not in NOT_IMAGES]
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}. Give yourself the right to it.") from error
    names = {entry.name for entry in entries}
    are_classes = names & _class_names(path).keys()  # all of PARTS are ASCII
    if "train" in names and len(names) > 1 and names <= {*PARTS} - are_classes and all(one.is_dir() for one in entries):
        return {name: path / name for name in PARTS if name in names}
    return {"all": path}


def _class_names(root: Path) -> dict[str, str]:
    """Folder -> class name from the classes.json of our own export, whose folder names are safe but not the same."""
    try:
        listed = json.loads((root / "classes.json").read_text("utf-8"))
        named = [(one["folder"], one["name"]) for one in listed["classes"] if one["folder"] is not None]
        return {composed(str(folder)): composed(str(name)) for folder, name in named}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _hidden(name: str) -> bool:
    return name.startswith(".") or name in ("__MACOSX", "Thumbs.db")


def printable(path: Path) -> str:
    """A path as text that can be stored: bytes that are no UTF-8 become the sign for an unknown letter."""
    return os.fsencode(path.as_posix()).decode("utf-8", "replace")
