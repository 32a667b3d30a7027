"""Pictures for the browser: originals, thumbnails, and the sheet of what the model draws."""

import importlib.util
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from storage import Sample
from storage.classes import short
from storage.images import encoded, read_image
from storage.synthetic import Origin, as_marked_png

THUMBNAIL = 128  # pixels of the longer side, enough for a sharp tile on a dense screen
SPACE, TITLE, LEAST_SIDE, LONGEST_NAME = 4, 34, 64, 220  # pixels of a sheet with names


def original(folder: Path, sample: Sample) -> tuple[bytes, str]:
    """(bytes, media type) of the image as it was imported."""
    return encoded(folder, sample)


def is_large(sample: Sample) -> bool:
    """Worth a thumbnail of its own."""
    return max(sample.width, sample.height) > THUMBNAIL


def thumbnail(folder: Path, sample: Sample) -> tuple[bytes, str]:
    """A small picture; an image that is small already stays as it is."""
    if not is_large(sample):
        return encoded(folder, sample)
    image = Image.fromarray(read_image(folder, sample))
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=82)
    return out.getvalue(), "image/jpeg"


def sheet(path: Path) -> bytes | None:
    """The file's images (C, n, H, W[, 3]) side by side in one PNG: a row for each class. None when it is gone."""
    try:
        images = np.load(path, mmap_mode="r", allow_pickle=False)  # (C, n, H, W) or (C, n, H, W, 3)
    except (OSError, ValueError):
        return None
    rows = [np.concatenate(list(row), axis=1) for row in images]  # each (H, n * W[, 3])
    out = io.BytesIO()
    Image.fromarray(np.concatenate(rows, axis=0)).save(out, "PNG")
    return out.getvalue()


def cut(sheet: bytes, rows: int, columns: int) -> np.ndarray:
    """The pictures of a sheet: uint8 (rows, columns, H, W[, 3])."""
    with Image.open(io.BytesIO(sheet)) as image:
        whole = np.asarray(image)
    height, width = whole.shape[0] // rows, whole.shape[1] // columns
    return whole.reshape(rows, height, columns, width, *whole.shape[2:]).swapaxes(1, 2)


def named_sheet(rows: Sequence[tuple[np.ndarray, str]], origin: Origin) -> bytes:
    """PNG for elsewhere: pictures (n, H, W[, 3]) and the name of each class; the first line says what drew them."""
    n, height, width = rows[0][0].shape[:3]
    scale = max(1, LEAST_SIDE // height)
    tile_w, tile_h = width * scale + SPACE, height * scale + SPACE
    font, small = ImageFont.truetype(_font_file(), 15), ImageFont.truetype(_font_file(), 12)
    names = [_cut(short(name), font) for _, name in rows]
    left = SPACE * 4 + round(max(font.getlength(name) for name in names))
    title = f"{short(origin.project)}, version {origin.version}, {origin.labels:,} labels, "
    title += f"temperature {origin.temperature:g}: drawn by a model"
    wide = max(left + n * tile_w, round(small.getlength(title)) + 4 * SPACE) + SPACE
    sheet = Image.new("RGB", (wide, TITLE + len(rows) * tile_h + SPACE), "white")
    pen = ImageDraw.Draw(sheet)
    pen.text((2 * SPACE, TITLE / 2), title, "#4d5562", small, anchor="lm")
    for i, ((images, _), name) in enumerate(zip(rows, names, strict=True)):
        top = TITLE + i * tile_h
        pen.text((2 * SPACE, top + height * scale / 2), name, "#14171c", font, anchor="lm")
        for j, image in enumerate(images):
            size = (width * scale, height * scale)
            enlarged = Image.fromarray(image).resize(size, Image.Resampling.NEAREST)
            sheet.paste(enlarged.convert("RGB"), (left + j * tile_w, top))
    return as_marked_png(np.asarray(sheet), origin, classes=[name for _, name in rows])


def _cut(name: str, font: ImageFont.FreeTypeFont) -> str:
    while font.getlength(name) > LONGEST_NAME:
        name = f"{name.rstrip('…')[:-1]}…"
    return name


def _font_file() -> Path:
    """DejaVu Sans, which has most alphabets; matplotlib brings it along (and is not imported for it)."""
    found = importlib.util.find_spec("matplotlib")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
