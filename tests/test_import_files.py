"""Importing folders of images: every kind that Pillow reads comes in, everything else is listed with its reason."""

import hashlib
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import Ended
from PIL import Image

from labeler import Project
from labeler.control import change, control_of
from storage.images import encoded, read_image
from storage.importers import open_source

NOISE = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Project]:
    with Project.create(tmp_path / "project", ["cat", "dog"]) as p:
        yield p


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


def save(path: Path, array: np.ndarray, **how: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **how)  # type: ignore[arg-type]
    return path


def gray(rng_seed: int, height: int = 8, width: int = 8) -> np.ndarray:
    return np.random.default_rng(rng_seed).integers(0, 256, (height, width), dtype=np.uint8)


def huge_png(path: Path, side: int) -> None:
    """A file of some hundred bytes whose header promises side x side pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))


def stored(p: Project) -> dict[str, np.ndarray]:
    return {sample.name: read_image(p.folder, sample) for sample in p.store.samples()}


def test_what_cannot_be_read_is_left_out_with_its_reason(empty: Project, source: Path) -> None:
    good = save(source / "good.png", gray(1)).read_bytes()
    photo = save(source / "photo.jpg", NOISE).read_bytes()
    (source / "truncated.jpg").write_bytes(photo[: len(photo) // 2])
    (source / "truncated.png").write_bytes(good[: len(good) // 2])
    (source / "corrupt.png").write_bytes(good[:40] + bytes(20) + good[60:])
    (source / "empty.png").touch()
    (source / "text.png").write_text("this is no image")
    (source / "notes.txt").write_text("neither is this")
    huge_png(source / "bomb.png", 20_000)
    huge_png(source / "large.png", 7_200)
    os.mkfifo(source / "pipe.png")
    (source / "gone.png").symlink_to(source / "nowhere.png")
    (source / ".hidden.png").write_text("not looked at")
    report = empty.import_(source)
    assert (report.added, report.duplicates, report.labels, report.split) == (2, 0, 0, "pool")
    reasons = dict(report.rejected)
    expected = {
        "truncated.jpg": "damaged",
        "truncated.png": "damaged",
        "corrupt.png": "not an image that Pillow reads",
        "empty.png": "zero bytes",
        "text.png": "not an image that Pillow reads",
        "notes.txt": "not an image that Pillow reads",
        "bomb.png": "more than 50 megapixels (a larger limit can be given)",
        "large.png": "more than 50 megapixels (a larger limit can be given)",
        "pipe.png": "not a regular file",
        "gone.png": "not a regular file",
    }
    assert reasons.keys() == expected.keys()
    assert {name: text in reasons[name] for name, text in expected.items()} == dict.fromkeys(expected, True)
    assert {r.name: r.reason for r in empty.store.rejects()} == reasons
    assert sorted(stored(empty)) == ["good.png", "photo.jpg"]


def test_a_larger_limit_lets_larger_images_in_and_a_smaller_one_keeps_them_out(empty: Project, source: Path) -> None:
    save(source / "image.png", gray(1, 1_000, 1_100))
    assert empty.import_(source, max_megapixels=1).rejected[0][1].startswith("more than 1 megapixels")
    assert empty.import_(source, max_megapixels=1.2).added == 1
    for never in (float("inf"), float("nan"), -1):
        with pytest.raises(ValueError, match="a number from 0 on"):
            empty.import_(source, max_megapixels=never)


def test_an_image_beyond_pillows_own_limit_comes_in_when_asked_for(
    empty: Project, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000)
    image = gray(1, 60, 60)
    save(source / "image.png", image)
    assert empty.import_(source).added == 1
    assert np.array_equal(stored(empty)["image.png"], image)


def test_unreadable_folders_and_files_are_listed_and_the_rest_comes_in(empty: Project, source: Path) -> None:
    script = """
import sys
from labeler import Project
with Project.open(sys.argv[1]) as p:
    report = p.import_(sys.argv[2])
    print(report.added, *sorted(f"{name}: {reason}" for name, reason in report.rejected), sep="|")
"""
    save(source / "good.png", gray(1))
    save(source / "closed" / "a.png", gray(2)).parent.chmod(0)
    save(source / "secret.png", gray(3)).chmod(0)
    unprivileged = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    try:
        told = subprocess.run(
            [*unprivileged, sys.executable, "-c", script, empty.folder, source], capture_output=True, text=True
        )
    finally:
        (source / "closed").chmod(0o700)
    assert told.stderr == ""
    assert told.stdout.strip().split("|") == [
        "1",
        "closed: the folder cannot be read: Permission denied",
        "secret.png: the file cannot be read: Permission denied",
    ]


def test_a_source_that_cannot_be_read_or_holds_nothing_is_one_clear_error(empty: Project, source: Path) -> None:
    with pytest.raises(ValueError, match="no images in"):
        empty.import_(source)
    with pytest.raises(FileNotFoundError, match="nothing at"):
        empty.import_(source / "nowhere")
    (source / "file.txt").write_text("text")
    with pytest.raises(ValueError, match=r"neither an \.npz nor an IDX"):
        empty.import_(source / "file.txt")
    with pytest.raises(ValueError, match="no part 'test'"):
        empty.import_(source, part="test")
    assert empty.store.counts()["samples"] == 0


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_every_mode_becomes_gray_or_colour(empty: Project, source: Path, mode: str) -> None:
    image = Image.fromarray(NOISE).convert(mode)
    image.save(source / "image.tif")
    empty.import_(source)
    sample = empty.store.samples()[0]
    array = read_image(empty.folder, sample)
    assert array.dtype == np.uint8
    assert (sample.height, sample.width, sample.channels) == (40, 30, 1 if mode in ("1", "L", "LA") else 3)
    assert array.shape == ((40, 30) if sample.channels == 1 else (40, 30, 3))
    if mode in ("RGB", "RGBA", "L", "LA"):
        assert np.array_equal(array, NOISE if mode.startswith("R") else np.asarray(Image.fromarray(NOISE).convert("L")))


def test_16_bit_gray_keeps_its_range(empty: Project, source: Path) -> None:
    ramp = np.linspace(0, 65_535, 64).astype(np.uint16).reshape(8, 8)
    save(source / "a.png", ramp)
    save(source / "b.tif", ramp)
    empty.import_(source)
    images = stored(empty)
    assert np.array_equal(images["a.png"], (ramp // 257).astype(np.uint8))
    assert np.array_equal(images["b.tif"], images["a.png"])


def test_real_numbers_are_stretched_to_what_is_there(empty: Project, source: Path) -> None:
    save(source / "a.tif", np.array([[-1.0, 0.0], [0.5, 1.0]], dtype=np.float32))
    empty.import_(source)
    assert stored(empty)["a.tif"].tolist() == [[0, 128], [191, 255]]


def test_transparency_is_laid_over_white(empty: Project, source: Path) -> None:
    red = np.zeros((2, 2, 4), np.uint8)
    red[..., 0] = 255
    red[0, :, 3] = 255
    save(source / "alpha.png", red)
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.save(source / "palette.png", transparency=1)
    empty.import_(source)
    assert stored(empty)["alpha.png"].tolist() == [[[255, 0, 0]] * 2, [[255, 255, 255]] * 2]
    assert stored(empty)["palette.png"].tolist() == [[[255, 0, 0], [255, 255, 255]]]


def test_a_gray_image_saved_as_colour_is_gray(empty: Project, source: Path) -> None:
    save(source / "a.png", np.repeat(gray(1)[..., None], 3, axis=2))
    empty.import_(source)
    assert empty.store.samples()[0].channels == 1
    assert np.array_equal(stored(empty)["a.png"], gray(1))


def test_a_photograph_is_turned_as_its_camera_was_held(empty: Project, source: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    save(source / "a.png", gray(1, 4, 6), exif=exif)
    empty.import_(source)
    sample = empty.store.samples()[0]
    assert (sample.height, sample.width) == (6, 4)
    assert np.array_equal(stored(empty)["a.png"], np.rot90(gray(1, 4, 6), -1))


def test_of_a_moving_image_the_first_frame_counts(empty: Project, source: Path) -> None:
    frames = [Image.fromarray(gray(seed)) for seed in (1, 2)]
    frames[0].save(source / "a.gif", save_all=True, append_images=frames[1:])
    empty.import_(source)
    assert np.array_equal(stored(empty)["a.gif"], gray(1))
    data, media_type = encoded(empty.folder, empty.store.samples()[0])
    assert (media_type, data[:4]) == ("image/png", b"\x89PNG")


@pytest.mark.parametrize(
    ("suffix", "media_type"),
    [(".png", "image/png"), (".jpg", "image/jpeg"), (".webp", "image/webp"), (".gif", "image/gif"), (".tif", None)],
)
def test_a_browser_gets_the_original_bytes_where_it_can_show_them(
    empty: Project, source: Path, suffix: str, media_type: str | None
) -> None:
    original = save(source / f"a{suffix}", gray(1)).read_bytes()
    empty.import_(source)
    data, told = encoded(empty.folder, empty.store.samples()[0])
    assert told == (media_type or "image/png")
    assert (data == original) == (media_type is not None)


def test_an_image_that_a_larger_limit_let_in_is_shown_by_another_process_too(
    empty: Project, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = save(source / "a.png", gray(1, 40, 50)).read_bytes()
    empty.import_(source)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000)  # what Pillow begins with, for images above 89 megapixels
    monkeypatch.setattr("storage.images.DEFAULT_MEGAPIXELS", 0.001)
    assert encoded(empty.folder, empty.store.samples()[0]) == (original, "image/png")


def test_what_an_image_is_follows_from_its_bytes_and_not_from_its_name(empty: Project, source: Path) -> None:
    save(source / "really.jpg", gray(1), format="PNG")
    save(source / "none", gray(2), format="PNG")
    empty.import_(source)
    assert [Path(sample.file).suffix for sample in empty.store.samples()] == [".png", ".png"]
    assert encoded(empty.folder, empty.store.samples()[1])[1] == "image/png"


def test_originals_are_kept_by_content_and_identical_ones_once(empty: Project, source: Path) -> None:
    data = save(source / "a" / "1.png", gray(1)).read_bytes()
    save(source / "b" / "2.png", gray(1))
    save(source / "c.png", gray(2))
    report = empty.import_(source)
    assert (report.added, report.duplicates) == (2, 1)
    sha256 = hashlib.sha256(data).hexdigest()
    sample = next(sample for sample in empty.store.samples() if sample.sha256 == sha256)
    assert sample.file == f"images/{sha256[:2]}/{sha256}.png"
    assert (empty.folder / sample.file).read_bytes() == data
    assert len([path for path in (empty.folder / "images").rglob("*") if path.is_file()]) == 2
    assert empty.import_(source).added == 0


def test_without_a_copy_the_path_is_remembered(empty: Project, source: Path) -> None:
    path = save(source / "a.png", gray(1))
    empty.import_(source, copy=False)
    assert empty.store.samples()[0].file == str(path)
    assert np.array_equal(stored(empty)["a.png"], gray(1))
    assert not list((empty.folder / "images").rglob("*.png"))


def test_names_that_are_no_text_come_in_and_can_only_be_copied(empty: Project, source: Path) -> None:
    save(source / "a.png", gray(1)).rename(os.fsdecode(os.fsencode(source) + b"/\xff.png"))
    assert "not valid UTF-8" in empty.import_(source, copy=False).rejected[0][1]
    assert empty.import_(source).added == 1
    assert empty.store.samples()[0].name == "\ufffd.png"


def test_mixed_sizes_and_colours_come_together_at_working_size(empty: Project, source: Path) -> None:
    for i, (height, width) in enumerate([(10, 30), (30, 31), (28, 28), (64, 64), (1, 1)]):
        save(source / f"{i}.png", gray(i, height, width))
    save(source / "colour.png", NOISE)
    empty.import_(source)
    images = empty.images()
    assert (images.size, images.channels, images.array.shape) == (32, 3, (6, 32, 32, 3))
    assert images.sample_ids.tolist() == empty.store.sample_ids().tolist()


def test_class_folders_become_labels_when_asked(empty: Project, image_folder: Path) -> None:
    save(image_folder / "owl" / "deep" / "down.png", gray(100))
    save(image_folder / "loose.png", gray(101))
    report = empty.import_(image_folder, labels=True, measure_share=0)
    assert (report.added, report.labels) == (14, 13)
    names = {one.id: one.name for one in empty.store.classes()}
    assert list(names.values()) == ["cat", "dog", "owl"]
    labels = {empty.store.sample(i).name: names[c] for i, c in empty.store.labels().items()}
    assert labels == {name: name.split("/")[0] for name in labels}
    assert labels["owl/deep/down.png"] == "owl"
    assert {event.annotator for event in empty.store.events()} == {"import"}
    assert {event.acquisition for event in empty.store.events()} == {"import"}


def test_labels_asked_for_later_are_added_and_overrule_nobody(project: Project, image_folder: Path) -> None:
    by_hand = project.loop("ann")
    ids = {sample.name: sample.id for sample in project.store.samples()}
    by_hand.answer(ids["cat/0.png"], "dog")
    report = project.import_(image_folder, labels=True)
    assert (report.added, report.duplicates, report.labels) == (0, 12, 11)
    assert project.store.labels()[ids["cat/0.png"]] == 2
    imported = project.store.events(sample_id=ids["cat/1.png"])[0]
    project.loop("import", client="").undo()
    assert project.import_(image_folder, labels=True).labels == 0  # undone stays undone
    assert imported.class_id == 1


def test_an_image_in_two_class_folders_keeps_its_first_label_and_is_listed(empty: Project, source: Path) -> None:
    save(source / "cat" / "a.png", gray(1))
    save(source / "dog" / "b.png", gray(1))
    report = empty.import_(source, labels=True)
    assert report.rejected == [("dog/b.png", "the same image is 'cat' in cat/a.png; that label was kept")]
    assert (report.added, report.labels) == (1, 1)


def test_gold_images_are_known_and_never_asked(empty: Project, image_folder: Path) -> None:
    save(image_folder / "loose.png", gray(100))
    report = empty.import_(image_folder, gold=True)
    assert (report.added, report.labels, report.split) == (12, 0, "gold")
    assert report.rejected == [("loose.png", "it has no label, so it cannot be gold")]
    assert sorted(empty.store.gold().values()) == [1] * 6 + [2] * 6
    assert empty.loop().ask() is None


def test_train_and_test_folders_are_parts(empty: Project, source: Path) -> None:
    for part, seed in (("train", 1), ("test", 10)):
        for i in range(3):
            save(source / part / "cat" / f"{i}.png", gray(seed + i))
    opened = open_source(source)
    assert (opened.kind, opened.parts, opened.classes) == ("folder", {"train": 3, "test": 3}, ["cat"])
    images, labels = opened.load_arrays("test")
    assert (len(images), labels) == (3, ["cat"] * 3)
    gold = empty.import_(source, gold=True)
    assert (gold.part, gold.left_parts) == ("test", {"train": 3})
    pool = empty.import_(source)
    assert (pool.part, pool.left_parts) == ("train", {})  # the test part is in already
    stored_splits = {
        (sample.split, np.array(read_image(empty.folder, sample)).tobytes()) for sample in empty.store.samples()
    }
    expected = {("pool", gray(1 + i).tobytes()) for i in range(3)} | {
        ("gold", gray(10 + i).tobytes()) for i in range(3)
    }
    assert stored_splits == expected


def test_a_class_named_train_beside_others_is_a_class(source: Path) -> None:
    for name in ("train", "car"):
        save(source / name / "a.png", gray(len(name)))
    opened = open_source(source)
    assert (opened.parts, opened.classes) == ({"all": 2}, ["car", "train"])


def test_a_tenth_is_drawn_at_random_to_measure_and_labels_are_never_among_it(empty: Project, source: Path) -> None:
    for i in range(60):
        save(source / f"{i}.png", gray(i))
    empty.import_(source)
    measured = empty.store.sample_ids("measure")
    assert len(measured) == 6
    assert control_of(empty.store).measure_share == 0.1
    assert empty.store.counts()["pool"] == 54


def test_an_import_leaves_the_share_of_questions_that_measure_unless_it_is_asked_to_change_it(
    empty: Project, source: Path, tmp_path: Path, labeler: Callable[..., Ended]
) -> None:
    change(empty.store, {"measure_share": 0.3})
    for i in range(60):
        save(source / f"{i}.png", gray(i))
    assert "questions" not in labeler("import", empty.folder, source).out
    assert (len(empty.store.sample_ids("measure")), control_of(empty.store).measure_share) == (6, 0.3)
    for i in range(20):
        save(tmp_path / "more" / f"{i}.png", gray(100 + i))
    ended = labeler("import", empty.folder, tmp_path / "more", "--measure-share", 0.5)
    assert "Of all questions 50% measure accuracy from now on" in ended.out
    assert (len(empty.store.sample_ids("measure")), control_of(empty.store).measure_share) == (16, 0.5)


def test_the_measuring_draw_differs_between_projects_and_is_bounded(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.random.default_rng(0).integers(0, 256, (1_200, 8, 8), dtype=np.uint8))
    draws = []
    for name in ("one", "two"):
        with Project.create(tmp_path / name, ["cat"]) as p:
            p.import_(tmp_path / "a.npz", measure_share=0.9)
            draws.append(p.store.sample_ids("measure").tolist())
    assert [len(draw) for draw in draws] == [500, 500]
    assert draws[0] != draws[1]


def test_with_gold_images_nothing_is_kept_for_measuring(empty: Project, tmp_path: Path, image_folder: Path) -> None:
    empty.import_(image_folder, gold=True)
    np.savez(tmp_path / "a.npz", x=np.random.default_rng(0).integers(0, 256, (50, 8, 8), dtype=np.uint8))
    empty.import_(tmp_path / "a.npz")
    assert empty.store.counts()["measure"] == 0


def test_a_killed_import_is_finished_by_the_same_import(empty: Project, source: Path) -> None:
    for i in range(900):
        save(source / "cat" / f"{i:03d}.png", gray(i))
    script = """
import sys
from labeler import Project
with Project.open(sys.argv[1]) as p:
    p.import_(sys.argv[2], labels=True, on_progress=lambda done, total: print(done, flush=True))
"""
    process = subprocess.Popen([sys.executable, "-c", script, empty.folder, source], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "200\n"
    process.send_signal(signal.SIGKILL)
    process.stdout.close()
    process.wait()
    assert 200 <= empty.store.counts()["samples"] < 900
    assert empty.store.check() == []
    empty.import_(source, labels=True)
    assert empty.store.counts()["labeled"] == 900
    assert len(list((empty.folder / "images" / ".incoming").iterdir())) == 0
    assert [one.finished is None for one in empty.store.imports()] == [True, False]


def test_an_interrupted_import_measures_with_what_one_in_a_single_run_would_have(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.random.default_rng(0).integers(0, 256, (7_000, 8, 8), dtype=np.uint8))

    def stop_after(images: int, done: int) -> None:
        if done >= images:
            raise KeyboardInterrupt

    measured = []
    for name, stops in (("at once", ()), ("in pieces", (3_000, 5_000))):
        with Project.create(tmp_path / name, ["cat"]) as p:
            p.store.set_setting("rng_seed", 7)
            for stop in stops:
                with pytest.raises(KeyboardInterrupt):
                    p.import_(tmp_path / "a.npz", on_progress=lambda done, total, stop=stop: stop_after(stop, done))
                for split in ("pool", "measure"):
                    p.loop().answer(int(p.store.sample_ids(split)[-1]), "cat")
            purposes = {event.sample_id: event.purpose for event in p.store.events()}
            p.import_(tmp_path / "a.npz")
            measured.append({sample.name for sample in p.store.samples("measure")})
            splits = {i: "learn" if p.store.sample(i).split == "pool" else "measure" for i in purposes}
            assert splits == purposes
    assert len(measured[0]) == 500
    assert measured[0] == measured[1]


def test_an_interrupted_import_taken_up_with_a_larger_share_reaches_it_with_what_is_still_to_come(
    empty: Project, tmp_path: Path
) -> None:
    np.savez(tmp_path / "a.npz", x=np.random.default_rng(0).integers(0, 256, (2_000, 8, 8), dtype=np.uint8))

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        empty.import_(tmp_path / "a.npz", measure_share=0.05, on_progress=stop)
    first = set(empty.store.sample_ids("measure").tolist())
    empty.import_(tmp_path / "a.npz", measure_share=0.1)
    measured = set(empty.store.sample_ids("measure").tolist())
    assert first < measured
    assert {i for i in measured if i <= 1_000} == first
    assert 130 <= len(measured) <= 170
    assert empty.import_(tmp_path / "a.npz").added == 0
    assert empty.store.counts()["measure"] == len(measured)


def test_a_label_never_waits_long_for_an_import(empty: Project, source: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.random.default_rng(0).integers(0, 256, (10_000, 8, 8), dtype=np.uint8))
    save(source / "a.png", gray(1))
    empty.import_(source, measure_share=0)
    script = """
import sys
from labeler import Project
with Project.open(sys.argv[1]) as p:
    p.import_(sys.argv[2], on_progress=lambda done, total: print(done, flush=True))
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script, empty.folder, tmp_path / "a.npz"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    loop, waited = empty.loop(), []
    while process.poll() is None:
        start = time.perf_counter()
        loop.answer(1, "cat")
        waited.append(time.perf_counter() - start)
        time.sleep(0.02)
    process.stdout.close()
    assert empty.store.counts()["samples"] == 10_001
    assert len(waited) > 5
    assert np.median(waited) < 0.25
    assert np.quantile(waited, 0.9) < 1
