"""Exports: exactly what is labeled now, in files that are right on every system and that we read back ourselves."""

import csv
import json
import os
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labeler import Project
from storage import images as images_module
from storage.exporters import export
from storage.exporters.names import Names, safe

ODD_NAMES = [
    "Cat",
    "cat",
    "a/b\\c",
    "\"double\" and 'single', with comma",
    "🐈‍⬛ Käse",
    "x" * 300,
    "x" * 299 + "y",
    "é" * 300,
    "CON",
    "..",
    ".hidden",
    "labels.csv",
    "ends with a dot.",
    "=1+1",
]


def images(n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 8, 8), dtype=np.uint8)


@pytest.fixture
def sitting(project: Project) -> Project:
    """Of the twelve images: three labeled (one corrected), one skipped, one unsure, one flagged, one undone."""
    loop = project.loop("ann", "tab")
    loop.answer(1, "cat", ms=1_234)
    loop.answer(2, "cat")
    loop.answer(7, "cat")
    loop.answer(7, "dog")
    loop.skip(3)
    loop.unsure(4)
    loop.flag(5)
    loop.answer(6, "dog")
    loop.undo()
    return project


EXPECTED = [
    (1, "label", "cat"),
    (2, "label", "cat"),
    (3, "skip", ""),
    (4, "unsure", ""),
    (5, "flag", ""),
    (7, "label", "dog"),
]


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_csv_tells_labels_skipped_unsure_and_flagged_apart_and_leaves_out_what_was_undone(
    sitting: Project, tmp_path: Path
) -> None:
    tally = export(sitting.store, sitting.folder, tmp_path / "out.csv", "csv")
    rows = table(tmp_path / "out.csv")
    assert [(int(row["sample_id"]), row["status"], row["class"]) for row in rows] == EXPECTED
    first = rows[0]
    sample, event = sitting.store.sample(1), sitting.store.events(sample_id=1)[0]
    assert datetime.fromisoformat(first.pop("time")).timestamp() == pytest.approx(event.time, abs=0.001)
    assert first == {
        "sample_id": "1",
        "name": sample.name,
        "sha256": sample.sha256,
        "status": "label",
        "class": "cat",
        "class_id": "1",
        "annotator": "ann",
        "event_id": str(event.id),
        "purpose": "learn",
        "acquisition": "",
        "version": "",
        "ms": "1234",
    }
    assert tally == {
        "label": 3,
        "skip": 1,
        "unsure": 1,
        "flag": 1,
        "archived": 0,
        "disputed": 0,
        "open": 6,
        "classes": {"cat": 2, "dog": 1},
        "out": str(tmp_path / "out.csv"),
    }


ODD_FILES = ["a\rb.png", "a\nb.png", "a\r\nb.png", 'a "b", c.png', "\rd.png", ",.png", "=e.png", "\u2028\x85.png"]


@pytest.mark.parametrize("annotations", [False, True])
def test_every_table_reads_back_whatever_files_are_called(tmp_path: Path, annotations: bool) -> None:
    (tmp_path / "source").mkdir()
    for name, image in zip(ODD_FILES, images(len(ODD_FILES)), strict=True):
        Image.fromarray(image).save(tmp_path / "source" / name)
    with Project.create(tmp_path / "p", ["cat"]) as p:
        p.import_(tmp_path / "source", measure_share=0)
        p.loop("ann").answer_many(dict.fromkeys(p.store.sample_ids().tolist(), "cat"))
        names = [sample.name for sample in p.store.samples()]
        assert sorted(names) == sorted(ODD_FILES)
        export(p.store, p.folder, tmp_path / "out.csv", "csv", annotations=annotations)
        export(p.store, p.folder, tmp_path / "out", "folder")
    assert [row["name"] for row in table(tmp_path / "out.csv")] == names
    assert (tmp_path / "out.csv").read_bytes().partition(b"\n")[0].endswith((b"ms", b"review"))
    rows = table(tmp_path / "out" / "labels.csv")
    assert [row["name"] for row in rows] == names
    assert all((tmp_path / "out" / row["file"]).is_file() for row in rows)


def test_jsonl_holds_the_same_rows(sitting: Project, tmp_path: Path) -> None:
    export(sitting.store, sitting.folder, tmp_path / "out.jsonl", "jsonl")
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text("utf-8").splitlines()]
    assert [(row["sample_id"], row["status"], row["class"] or "") for row in rows] == EXPECTED
    assert rows[0]["ms"] == 1_234
    assert rows[2]["class_id"] is None


def test_the_folder_holds_one_subfolder_a_class_and_nothing_that_is_not_labeled(
    sitting: Project, tmp_path: Path
) -> None:
    seen: list[tuple[int, int]] = []
    out = tmp_path / "deep" / "out"
    export(sitting.store, sitting.folder, out, "folder", on_progress=lambda done, total: seen.append((done, total)))
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()) == [
        "cat/0.png",
        "cat/1.png",
        "classes.json",
        "dog/10.png",
        "labels.csv",
    ]
    assert seen == [(1, 3), (2, 3), (3, 3)]
    rows = {int(row["sample_id"]): row for row in table(out / "labels.csv")}
    assert [(i, row["status"], row["class"]) for i, row in rows.items()] == EXPECTED
    assert {i: row["file"] for i, row in rows.items()} == {
        1: "cat/0.png",
        2: "cat/1.png",
        3: "",
        4: "",
        5: "",
        7: "dog/10.png",
    }
    original = sitting.folder / sitting.store.sample(7).file
    assert (out / "dog/10.png").read_bytes() == original.read_bytes()
    assert [entry.name for entry in out.parent.iterdir()] == ["out"]


def test_measuring_and_imported_labels_are_exported_and_gold_ones_are_not(tmp_path: Path) -> None:
    x = images(30)
    np.savez(tmp_path / "pool.npz", x=x[:20])
    np.savez(tmp_path / "gold.npz", x=x[20:], y=np.zeros(10, int))
    with Project.create(tmp_path / "p", ["cat"]) as p:
        p.import_(tmp_path / "pool.npz", measure_share=0.5)
        p.import_(tmp_path / "gold.npz", gold=True)
        loop = p.loop()
        while (question := loop.ask()) is not None:
            loop.answer(question.sample_id, "cat")
        export(p.store, p.folder, tmp_path / "out.csv", "csv")
    purposes = [row["purpose"] for row in table(tmp_path / "out.csv")]
    assert (purposes.count("learn"), purposes.count("measure"), len(purposes)) == (10, 10, 20)


def test_odd_class_names_survive_the_way_out_and_back(tmp_path: Path) -> None:
    x = images(2 * len(ODD_NAMES))
    np.savez(tmp_path / "x.npz", x=x)
    out = tmp_path / "out"
    with Project.create(tmp_path / "p", ODD_NAMES) as p:
        p.import_(tmp_path / "x.npz", measure_share=0)
        loop = p.loop()
        for i, sample_id in enumerate(p.store.sample_ids().tolist()):
            loop.answer(sample_id, ODD_NAMES[i % len(ODD_NAMES)])
        tally = export(p.store, p.folder, out, "folder")
    assert tally["classes"] == dict.fromkeys(ODD_NAMES, 2)
    folders = [entry.name for entry in out.iterdir() if entry.is_dir()]
    assert len({name.casefold() for name in folders}) == len(ODD_NAMES)
    assert all(len(name.encode()) < 200 and not set(name) & set('<>:"/\\|?*') for name in folders)
    assert {row["class"] for row in table(out / "labels.csv")} == set(ODD_NAMES)
    with Project.create(tmp_path / "back", ODD_NAMES[::-1]) as p:
        report = p.import_(out, labels=True, measure_share=0)
        assert (report.added, report.labels, report.rejected) == (2 * len(ODD_NAMES), 2 * len(ODD_NAMES), [])
        names = {one.id: one.name for one in p.store.classes()}
        assert list(names.values()) == ODD_NAMES[::-1]
        working = p.images()
        read = {
            working.array[list(working.sample_ids).index(i)].tobytes(): names[c] for i, c in p.store.labels().items()
        }
    assert read == {image.tobytes(): ODD_NAMES[i % len(ODD_NAMES)] for i, image in enumerate(x)}


def test_classes_named_as_parts_survive_the_way_out_and_back_too(project: Project, tmp_path: Path) -> None:
    project.classes.rename("cat", "train")
    project.classes.rename("dog", "test")
    given = {sample_id: sample_id % 2 + 1 for sample_id in range(1, 13)}
    for sample_id, class_id in given.items():
        project.loop().answer(sample_id, class_id - 1)
    export(project.store, project.folder, tmp_path / "out", "folder")
    with Project.create(tmp_path / "back", ["train", "test"]) as p:
        report = p.import_(tmp_path / "out", labels=True)
        assert (report.added, report.labels, report.part, report.left_parts) == (12, 12, "all", {})
        hashes = {sample.sha256: given[sample.id] for sample in project.store.samples()}
        assert {p.store.sample(i).sha256: class_id for i, class_id in p.store.labels().items()} == hashes


def test_a_class_without_labels_makes_no_folder_because_training_code_fails_on_empty_ones(
    project: Project, tmp_path: Path
) -> None:
    project.loop().answer(1, "cat")
    export(project.store, project.folder, tmp_path / "out", "folder")
    assert [entry.name for entry in (tmp_path / "out").iterdir() if entry.is_dir()] == ["cat"]
    listed = json.loads((tmp_path / "out" / "classes.json").read_text())["classes"]
    assert listed == [{"id": 1, "name": "cat", "folder": "cat"}, {"id": 2, "name": "dog", "folder": None}]


def test_formats_that_training_code_does_not_read_are_written_as_png(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for suffix, image in zip((".gif", ".jpg", ".tif"), images(3), strict=True):
        Image.fromarray(image).save(source / f"a{suffix}")
    with Project.create(tmp_path / "p", ["cat"]) as p:
        p.import_(source, measure_share=0)
        loop = p.loop()
        for sample_id in p.store.sample_ids().tolist():
            loop.answer(sample_id, 0)
        export(p.store, p.folder, tmp_path / "out", "folder")
    written = sorted((tmp_path / "out" / "cat").iterdir())
    assert [path.name for path in written] == ["a.jpg", "a.png", "a.tif"]
    assert np.array_equal(np.asarray(Image.open(written[1])), images(1)[0])


@pytest.mark.parametrize("copy", [True, False])
def test_a_file_leaves_under_a_suffix_that_fits_its_bytes(tmp_path: Path, copy: bool) -> None:
    formats = {"a.jpg": "GIF", "b.jpg": "PNG", "c.png": "JPEG", "d.jpeg": "JPEG", "e.pgm": "PPM", "f.jpg": "PPM",
               "g": "PNG", "h.tiff": "TIFF", "i.JPG": "JPEG", "j.mpo": "MPO"}  # fmt: skip
    (tmp_path / "source").mkdir()
    for (name, format_), image in zip(formats.items(), images(len(formats)), strict=True):
        Image.fromarray(image).save(tmp_path / "source" / name, format=format_)
    with Project.create(tmp_path / "p", ["cat"]) as p:
        assert p.import_(tmp_path / "source", measure_share=0, copy=copy).rejected == []
        p.loop("ann").answer_many(dict.fromkeys(p.store.sample_ids().tolist(), "cat"))
        export(p.store, p.folder, tmp_path / "out", "folder")
    written = sorted(path.name for path in (tmp_path / "out" / "cat").iterdir())
    names = ["a.png", "b.png", "c.jpg", "d.jpg" if copy else "d.jpeg", "e.pgm", "f.png", "g.png",
             "h.tif" if copy else "h.tiff", "i.jpg", "j.jpg"]  # fmt: skip
    assert written == names
    for name in names:
        with Image.open(tmp_path / "out" / "cat" / name) as image:
            told = Image.registered_extensions()[Path(name).suffix]
            assert image.format in (told, "MPO" if name == "j.jpg" else told)


def test_images_of_one_name_get_names_of_their_own(tmp_path: Path) -> None:
    for folder, image in zip(("a", "b", "c"), images(3), strict=True):
        (tmp_path / "source" / folder).mkdir(parents=True)
        Image.fromarray(image).save(tmp_path / "source" / folder / ("IMG.png" if folder == "b" else "img.png"))
    with Project.create(tmp_path / "p", ["cat"]) as p:
        p.import_(tmp_path / "source", measure_share=0)
        loop = p.loop()
        for sample_id in (1, 2, 3):
            loop.answer(sample_id, 0)
        export(p.store, p.folder, tmp_path / "out", "folder")
    assert sorted(path.name for path in (tmp_path / "out" / "cat").iterdir()) == ["IMG-2.png", "img-3.png", "img.png"]


def test_an_original_that_is_gone_or_changed_costs_its_file_and_not_its_label(sitting: Project, tmp_path: Path) -> None:
    gone, changed = sitting.store.sample(7), sitting.store.sample(1)
    (sitting.folder / gone.file).unlink()
    Image.fromarray(images(2)[1]).save(sitting.folder / changed.file)
    tally = export(sitting.store, sitting.folder, tmp_path / "out", "folder")
    assert (tally["label"], tally["missing"], tally["changed"]) == (3, 1, 1)
    assert tally["left_out"] == [
        {"sample_id": 1, "name": changed.name, "file": changed.file, "reason": "the file is not what was imported"},
        {"sample_id": 7, "name": gone.name, "file": gone.file, "reason": "the file is gone"},
    ]
    rows = {int(row["sample_id"]): row for row in table(tmp_path / "out" / "labels.csv")}
    assert {i: (rows[i]["class"], rows[i]["file"]) for i in (1, 2, 7)} == {
        1: ("cat", ""),
        2: ("cat", "cat/1.png"),
        7: ("dog", ""),
    }
    assert not (tmp_path / "out" / "dog").exists()
    assert [path.name for path in (tmp_path / "out" / "cat").iterdir()] == ["1.png"]


def test_a_row_of_a_pack_that_changed_is_left_out_and_the_others_are_exported(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=images(4))
    with Project.create(tmp_path / "p", ["cat"]) as p:
        p.import_(tmp_path / "x.npz", measure_share=0)
        loop = p.loop()
        for sample_id in p.store.sample_ids().tolist():
            loop.answer(sample_id, 0)
        pack = p.folder / p.store.sample(1).file
        data = bytearray(pack.read_bytes())
        data[-1] ^= 255
        pack.write_bytes(data)
        tally = export(p.store, p.folder, tmp_path / "out", "folder")
        assert (tally["changed"], [one["sample_id"] for one in tally["left_out"]]) == (1, [4])
        images_module.pack.cache_clear()
        pack.write_bytes(b"no array")
        tally = export(p.store, p.folder, tmp_path / "none", "folder")
        assert (tally["changed"], len(tally["left_out"])) == (4, 4)
        images_module.pack.cache_clear()
        pack.unlink()
        assert export(p.store, p.folder, tmp_path / "gone", "folder")["missing"] == 4
    assert sorted(path.name for path in (tmp_path / "out" / "cat").iterdir()) == [f"x-0000{i}.png" for i in range(3)]


@pytest.mark.parametrize("format", ["csv", "jsonl", "folder"])
def test_nothing_is_overwritten(sitting: Project, tmp_path: Path, format: str) -> None:
    out = tmp_path / "out"
    export(sitting.store, sitting.folder, out, format)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match="Choose a"):
        export(sitting.store, sitting.folder, out, format)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("format", ["csv", "jsonl", "folder"])
def test_a_device_a_pipe_and_the_projects_own_folders_are_no_place_for_an_export(
    sitting: Project, tmp_path: Path, format: str
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "linked").symlink_to("/dev/null")
    for out in (tmp_path / "pipe", tmp_path / "linked", tmp_path / "-"):
        with pytest.raises(ValueError, match="no ordinary file"):
            export(sitting.store, sitting.folder, out, format)
    assert (tmp_path / "pipe").is_fifo()
    assert (tmp_path / "linked").readlink() == Path("/dev/null")
    with pytest.raises(ValueError, match="keeps its own files in"):
        export(sitting.store, sitting.folder, sitting.folder / "images" / "out", format)


def test_a_link_to_a_file_stays_a_link(sitting: Project, tmp_path: Path) -> None:
    (tmp_path / "empty.csv").touch()
    (tmp_path / "linked.csv").symlink_to(tmp_path / "empty.csv")
    export(sitting.store, sitting.folder, tmp_path / "linked.csv", "csv")
    assert (tmp_path / "linked.csv").is_symlink()
    assert (tmp_path / "empty.csv").stat().st_size > 0


def test_an_existing_folder_takes_tables_and_an_empty_one_takes_the_tree(sitting: Project, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    assert export(sitting.store, sitting.folder, out, "csv")["out"] == str(out / "labels.csv")
    tree = tmp_path / "tree"
    tree.mkdir()
    export(sitting.store, sitting.folder, tree, "folder")
    assert sorted(entry.name for entry in tree.iterdir()) == ["cat", "classes.json", "dog", "labels.csv"]


def test_an_unknown_format_names_the_known_ones(project: Project, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="csv, jsonl, folder"):
        export(project.store, project.folder, tmp_path / "out", "coco")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plain name", "plain name"),
        ("a/b\\c:d", "a_b_c_d"),
        ("CON", "_CON"),
        ("con.txt", "_con.txt"),
        ("com1", "_com1"),
        ("..", "_"),
        (".git", "_.git"),
        ("dot. ", "dot"),
        ("x" * 300, "x" * 120),
        ("🐈" * 100, "🐈" * 30),
        ("tab\tand\nline", "tab_and_line"),
        ("e\u0301", "é"),
    ],
)
def test_safe_names(name: str, expected: str) -> None:
    assert safe(name) == expected


def test_names_that_a_system_may_confuse_are_told_apart() -> None:
    names = Names()
    given = [names.unique(name) for name in ("Straße", "STRASSE", "strasse", "a", "A", "a-2")]
    assert given == ["Straße", "STRASSE-2", "strasse-3", "a", "A-2", "a-2-2"]
