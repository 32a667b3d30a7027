"""What every importer gives: the parts of a source, and the images in them one by one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np


@dataclass(frozen=True, eq=False)
class Item:
    """One image of a source: a file still to be read (`path`), or a row of an array, or `reject`: why it is neither."""

    name: str
    path: Path | None = None
    row: int | None = None
    image: np.ndarray | None = None
    label: str | None = None
    reject: str | None = None


class Source(Protocol):
    """Something to import. `parts` is what it falls into, by name, with the number of images in each."""

    kind: str
    parts: dict[str, int]
    classes: list[str] | None

    def items(self, part: str) -> Iterator[Item]: ...

    def load_arrays(self, part: str) -> tuple[Sequence[np.ndarray] | np.ndarray, list[str] | None]:
        """All images of a part (uint8) and their labels, None where it has none."""
        ...


def must_be_part(source: Source, part: str) -> None:
    if part not in source.parts:
        raise ValueError(f"There is no part {part!r} in this source; it has {', '.join(source.parts)}.")
