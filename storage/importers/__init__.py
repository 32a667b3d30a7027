"""What can be imported: a folder of images, IDX files, .npz. `open_source` finds out which."""

from pathlib import Path

from storage.importers.arrays import ArraySource
from storage.importers.folder import FolderSource, printable
from storage.importers.idx import find, open_idx
from storage.importers.npz import open_npz
from storage.importers.source import Item, Source

__all__ = ["ArraySource", "Item", "Source", "open_source", "printable"]


def open_source(path: Path) -> Source:
    """ValueError or FileNotFoundError in one line when it is none of these."""
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"There is nothing at {path}.")
    if path.is_file():
        if path.suffix.lower() == ".npz":
            return open_npz(path)
        if find(path):
            return open_idx(path)
        raise ValueError(f"{path} is neither an .npz nor an IDX file of images. To import images give their folder.")
    source = FolderSource(path) if not _readable_idx(path) else open_idx(path)
    if not any(source.parts.values()):
        raise ValueError(f"There are no images in {path}.")
    return source


def _readable_idx(path: Path) -> bool:
    try:
        return bool(find(path))
    except PermissionError:
        return False
