"""The process that draws for the page (see sketches.py): started by it, told by lines of JSON, gone with it.

A version is asked for by its number, a class by its id. Pictures are PNG; vectors are drawn as plots, on the scale of
the project's own.
"""

import base64
import io
import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image

from labeler.gentle import give_way
from labeler.project import place_of
from labeler.published import MODEL, home
from labeler.working import as_pictures, cached_image, working_images
from model.images import fit
from storage import Sample, Store
from storage.exporters.drawn import write_drawn
from storage.images import pack, read_image
from storage.synthetic import Origin

METHODS = ("sketch", "sheet", "way", "lot", "data_set")  # what may be asked for


def main(folder: Path, requests: IO[bytes], answers: IO[bytes]) -> None:
    """One line for each that is asked, until the asking side closes: {"made": base64} or {"problem": why}."""
    give_way(10)
    store = Store.open(place_of(folder))
    artist = Artist(folder, store)
    try:
        for line in requests:
            method, *given = json.loads(line)
            try:
                if method not in METHODS:
                    raise ValueError(f"nothing is called {method}")
                made: bytes = getattr(artist, method)(*given)
                answer = {"made": base64.b64encode(made).decode()}
            except (OSError, ValueError, KeyError) as problem:  # pruned, a wrapped model, an image that is gone
                answer = {"problem": str(problem)}
            answers.write(json.dumps(answer).encode() + b"\n")
            answers.flush()
    finally:
        store.close()


class Artist:
    """Holds the model of the newest version that was asked for."""

    def __init__(self, folder: Path, store: Store) -> None:
        from model import load  # torch comes with it, which takes seconds

        self._folder, self._store, self._load = folder, store, load
        self._version: int | None = None
        self._model: Any = None
        self._sample_ids = np.empty(0, np.int64)

    # ---------- what may be asked for ----------

    def sketch(self, version: int, sample_id: int, class_ids: Sequence[int]) -> bytes:
        """An image as each class, its z kept and y exchanged: PNG, (S, len(class_ids) * S) pixels."""
        model = self._of(version)
        known = model.header["class_ids"]
        real, image = self._original(self._store.sample(sample_id))
        made = model.as_classes(image, [known.index(class_id) for class_id in class_ids])
        return _beside(as_pictures(made[0], real))

    def sheet(self, version: int, n: int, temperature: float, rng_seed: int) -> bytes:
        """n drawings of each class of the version: PNG, (C * S, n * S) pixels."""
        model = self._of(version)
        rows = [model.generate(label, n, rng_seed, temperature) for label in range(len(model.classes))]
        return _beside(*(self._pictures(row) for row in rows))

    def way(self, version: int, a: str, b: str, n: int, of: int, temperature: float, rng_seed: int) -> bytes:
        """n images from one end to the other: PNG, (S, n * S) pixels. `of`: the columns of the sheet, see `_end`."""
        model = self._of(version)
        ends = self._end(a, of), self._end(b, of)
        return _beside(self._pictures(model.interpolate(*ends, n, rng_seed, temperature)))

    def lot(self, version: int, sample_ids: list[int], class_ids: list[int], rng_seed: int) -> bytes:
        """Pictures of these samples and then of a drawing for each of these classes, all in one array (.npy)."""
        model = self._of(version)
        config, known = model.vae.config, model.header["class_ids"]
        drawn = {}
        for class_id in set(class_ids):
            label = known.index(class_id)
            drawn[class_id] = iter(model.generate(label, class_ids.count(class_id), rng_seed + label))
        drawings = np.stack([next(drawn[class_id]) for class_id in class_ids])
        real = [self._original(self._store.sample(sample_id))[1][0] for sample_id in sample_ids]
        if config.is_image:
            real = [fit(image, config.image_size, config.channels) for image in real]
        out = io.BytesIO()
        np.save(out, np.concatenate([self._pictures(np.stack(real)), self._pictures(drawings)]), allow_pickle=False)
        return out.getvalue()

    def data_set(self, version: int, classes: Sequence[tuple[int, str]], n: int, about: Sequence[Any]) -> bytes:
        """A zip of n drawings of each of these classes (id, name). `about`: the fields of Origin, in their order."""
        model, origin = self._of(version), Origin(*about)
        known = model.header["class_ids"]
        drawn = (
            (class_id, name, model.generate(known.index(class_id), n, origin.rng_seed, origin.temperature))
            for class_id, name in classes
        )
        out = io.BytesIO()
        write_drawn(out, origin, drawn)
        return out.getvalue()

    # ---------- what they are made with ----------

    def _of(self, version: int) -> Any:
        """The model of a version."""
        if version != self._version:
            files = home(self._folder, version)
            self._model, self._version = self._load(files / MODEL), version
            try:
                self._sample_ids = np.load(files / "sample_ids.npy", mmap_mode="r", allow_pickle=False)
            except FileNotFoundError:  # only the newest versions keep theirs
                self._sample_ids = self._store.sample_ids()
        return self._model

    def _end(self, end: str, of: int) -> Any:
        """What `interpolate` takes: of 'class:3', of 'sample:17', or of 'drawn:3:5', which is column 5 of class 3."""
        from model.generation import Drawing

        kind, first, *rest = end.split(":")
        if kind == "sample":
            return np.asarray(self._original(self._store.sample(int(first)))[1][0])
        label = self._model.header["class_ids"].index(int(first))
        return label if kind == "class" else Drawing(label, int(rest[0]), of)

    def _pictures(self, made: np.ndarray) -> np.ndarray:
        """uint8 (n, H, W) or (n, H, W, 3)."""
        return made if made.dtype == np.uint8 else as_pictures(made, working_images(self._folder, self._store).array)

    def _original(self, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
        """What the scale of a plotted vector is taken from, and the image (1, H, W[, 3]) or vector (1, D)."""
        config = self._model.vae.config
        if sample.row is not None and not config.is_image:
            rows = pack(str(self._folder / sample.file))
            return rows, np.asarray(rows[sample.row : sample.row + 1])
        image = None
        if sample.row is None:  # a photograph takes half a second to decode
            image = cached_image(self._folder, self._sample_ids, sample.id, config.image_size, config.channels)
        image = (read_image(self._folder, sample) if image is None else image)[None]
        return image, image


def _beside(*rows: np.ndarray) -> bytes:
    """PNG of rows of pictures, each (n, H, W) or (n, H, W, 3)."""
    out = io.BytesIO()
    Image.fromarray(np.concatenate([np.concatenate(list(row), axis=1) for row in rows])).save(out, "PNG")
    return out.getvalue()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt, BrokenPipeError):
        main(Path(sys.argv[1]), sys.stdin.buffer, sys.stdout.buffer)
