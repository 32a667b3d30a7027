"""Drawn images say so, in each file and in the manifest, and never come back as real ones."""

import csv
import io
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import noise_image
from PIL import Image

from labeler import Project
from storage.exporters.drawn import write_drawn
from storage.importers import open_source
from storage.synthetic import MARK, Origin, as_marked_png, is_synthetic

ORIGIN = Origin("flowers", 7, 100, 0.8, 3)
TOLD = {
    **{"application": "labeler", "synthetic": True, "project": "flowers", "version": 7, "labels": 100},
    **{"temperature": 0.8, "rng_seed": 3},
}


def drawn_folder(folder: Path) -> Path:
    """The zip of two classes, unpacked."""
    images = np.stack([noise_image(i) for i in range(100, 106)])
    buffer = io.BytesIO()
    write_drawn(buffer, ORIGIN, [(2, "rose", images[:3]), (5, "a/b", images[3:])])
    with zipfile.ZipFile(buffer) as archive:
        archive.extractall(folder)
    return folder


def test_each_file_tells_what_drew_it_and_the_pixels_stay() -> None:
    image = noise_image(1)
    data = as_marked_png(image, ORIGIN, **{"class": "rosé", "number": 4})
    with Image.open(io.BytesIO(data)) as png:
        text = dict(png.text)  # type: ignore[attr-defined]
        np.testing.assert_array_equal(np.asarray(png), image)
    assert json.loads(text[MARK]) == {**TOLD, "class": "rosé", "number": 4}
    assert "digitalsourcetype/trainedAlgorithmicMedia" in text["XML:com.adobe.xmp"]
    assert is_synthetic(data)
    plain = io.BytesIO()
    Image.fromarray(image).save(plain, "PNG")
    assert not is_synthetic(plain.getvalue())


def test_the_mark_goes_along_into_another_format_that_takes_the_xmp() -> None:
    with Image.open(io.BytesIO(as_marked_png(noise_image(1), ORIGIN))) as png:
        xmp = png.text["XML:com.adobe.xmp"].encode()  # type: ignore[attr-defined]
        jpeg = io.BytesIO()
        png.save(jpeg, "JPEG", xmp=xmp)
    assert is_synthetic(jpeg.getvalue())


def test_the_table_of_drawings_reads_back_whatever_a_class_is_called() -> None:
    buffer = io.BytesIO()
    write_drawn(buffer, ORIGIN, [(1, "a\rb", np.stack([noise_image(1)]))])
    with zipfile.ZipFile(buffer) as archive:
        text = archive.read("labels.csv").decode()
    [row] = csv.DictReader(io.StringIO(text, newline=""))
    assert (row["class"], row["version"]) == ("a\rb", "7")


def test_the_zip_is_laid_out_as_the_folder_export_and_its_manifest_says_synthetic(tmp_path: Path) -> None:
    folder = drawn_folder(tmp_path / "drawn")
    files = sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
    images = [f"{name}/0000{i}.png" for name in ("a_b", "rose") for i in range(3)]
    assert files == sorted([*images, "classes.json", "labels.csv", "manifest.json"])
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    assert TOLD.items() <= manifest.items()
    assert manifest["images"] == 6
    classes = json.loads((folder / "classes.json").read_text("utf-8"))["classes"]
    assert [(one["id"], one["name"], one["folder"]) for one in classes] == [(2, "rose", "rose"), (5, "a/b", "a_b")]
    with open(folder / "labels.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {(row["status"], row["class"], row["version"]) for row in rows} == {
        ("synthetic", "rose", "7"), ("synthetic", "a/b", "7"),
    }  # fmt: skip
    assert sorted(row["file"] for row in rows) == images
    np.testing.assert_array_equal(np.asarray(Image.open(folder / "rose" / "00001.png")), noise_image(101))


def test_vectors_are_npy_and_the_same_drawings_make_the_same_zip() -> None:
    made = []
    for _ in range(2):
        buffer = io.BytesIO()
        write_drawn(buffer, ORIGIN, [(1, "up", np.arange(6, dtype=np.float32).reshape(2, 3))])
        made.append(buffer.getvalue())
    assert made[0] == made[1]
    with zipfile.ZipFile(io.BytesIO(made[0])) as archive:
        np.testing.assert_array_equal(np.load(io.BytesIO(archive.read("up/00001.npy"))), [3, 4, 5])


@pytest.mark.parametrize("how", [[], ["--labels"], ["--gold"]])
def test_a_drawn_data_set_is_not_imported(how: list[str], tmp_path: Path, project: Project, labeler) -> None:
    before = project.store.counts()
    whole = labeler("import", project.folder, drawn_folder(tmp_path / "drawn"), *how)
    assert (whole.code, len(whole.err.splitlines())) == (1, 1)
    assert "A model drew the images in" in whole.err
    part = labeler("import", project.folder, tmp_path / "drawn" / "rose", *how)
    assert part.code == 1
    assert "a model drew it" in part.err
    assert project.store.counts() == before


def test_drawn_images_among_real_ones_are_left_out_and_listed(tmp_path: Path, project: Project, labeler) -> None:
    source = tmp_path / "source"
    shutil.copytree(drawn_folder(tmp_path / "drawn") / "rose", source / "cat")
    Image.fromarray(noise_image(999)).save(source / "cat" / "real.png")
    ended = labeler("import", project.folder, source, "--json")
    assert ended.code == 0
    report = json.loads(ended.out)
    assert report["added"] == 1
    assert [(one["name"], "a model drew it" in one["reason"]) for one in report["rejected"]] == [
        (f"cat/0000{i}.png", True) for i in range(3)
    ]
    with pytest.raises(ValueError, match="a model drew it"):
        open_source(source).load_arrays("all")


@pytest.mark.parametrize("said", ["[]", '{"synthetic": false}', "no json", '{"files": 3}'])
def test_a_manifest_of_something_else_is_in_nobodys_way(said: str, image_folder: Path) -> None:
    (image_folder / "manifest.json").write_text(said)
    assert open_source(image_folder).parts == {"all": 12}
