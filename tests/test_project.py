"""A project is one folder: made whole, opened anywhere, its cache rebuilt whenever it is missing."""

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labeler import Project
from storage.images import read_image

X = np.random.default_rng(0).integers(0, 256, (40, 28, 28), dtype=np.uint8)


def save_npz(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def test_importing_labeler_imports_nothing_heavy() -> None:
    code = "import labeler, sys; print(sorted({'torch', 'sqlalchemy', 'numpy', 'PIL', 'gradio'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_opening_a_project_needs_no_torch() -> None:
    code = "from labeler import Project; import sys; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_the_pages_process_starts_without_what_only_a_trainer_needs() -> None:
    """Each takes seconds to import, and memory for good."""
    code = "import labeler.ui.app, sys; print(sorted({'torch', 'scipy', 'sklearn', 'openTSNE'} & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


def test_a_new_project_opens_with_its_name_and_classes(tmp_path: Path) -> None:
    Project.create(tmp_path / "flowers", ["rose", "tulip"]).close()
    with Project.open(tmp_path / "flowers") as p:
        assert p.name == "flowers"
        assert [one.name for one in p.store.classes()] == ["rose", "tulip"]
        assert p.published() is None
        assert p.loop().ask() is None


@pytest.mark.parametrize("classes", [["a", "a"], [""]])
def test_a_project_that_cannot_be_made_leaves_no_folder(tmp_path: Path, classes: list[str]) -> None:
    with pytest.raises(ValueError, match="class"):
        Project.create(tmp_path / "flowers", classes)
    assert list(tmp_path.iterdir()) == []


def test_a_project_is_not_made_over_anything(tmp_path: Path) -> None:
    Project.create(tmp_path / "flowers", ["rose"]).close()
    with pytest.raises(ValueError, match="holds a project already"):
        Project.create(tmp_path / "flowers", ["tulip"])
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").touch()
    with pytest.raises(ValueError, match="not an empty folder"):
        Project.create(tmp_path / "pictures", ["tulip"])
    with pytest.raises(ValueError, match="not an empty folder"):
        Project.create(tmp_path / "pictures" / "a.png", ["tulip"])


def test_an_empty_folder_may_become_a_project(tmp_path: Path) -> None:
    (tmp_path / ".DS_Store").touch()
    Project.create(tmp_path, ["rose"]).close()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".DS_Store", "labels.db"]


def test_a_folder_without_a_project_says_how_to_make_one(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(FileNotFoundError, match="labeler new"):
            Project.open(folder)
    assert list(tmp_path.iterdir()) == []


def test_a_project_can_be_moved_and_copied_with_its_images(tmp_path: Path, image_folder: Path) -> None:
    with Project.create(tmp_path / "here", ["cat", "dog"]) as p:
        p.import_(image_folder, labels=True)
        p.import_(save_npz(tmp_path / "x.npz", x=X))
        before = p.images().array.copy()
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    shutil.rmtree(tmp_path / "here")
    shutil.rmtree(tmp_path / "there" / "cache")
    with Project.open(tmp_path / "there") as p:
        assert np.array_equal(p.images().array, before)
        assert len(p.store.labels()) == 12
        assert p.store.check() == []


def test_working_images_are_the_images_when_they_have_the_size(tmp_path: Path) -> None:
    with Project.create(tmp_path / "p", ["a"]) as p:
        p.import_(save_npz(tmp_path / "x.npz", x=X))
        images = p.images()
        assert (images.size, images.channels) == (28, 1)
        assert isinstance(images.array, np.memmap)
        assert np.array_equal(images.array, X)
        assert images.sample_ids.dtype == np.int64
        assert (p.store.setting("working_size"), p.store.setting("channels")) == (28, 1)


def test_a_second_look_reads_the_cache_and_a_second_import_adds_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image_folder: Path
) -> None:
    with Project.create(tmp_path / "p", ["a"]) as p:
        p.import_(save_npz(tmp_path / "x.npz", x=X))
        p.images()
        first = {path: path.stat().st_mtime_ns for path in (p.folder / "cache").iterdir()}
        p.images()
        assert {path: path.stat().st_mtime_ns for path in (p.folder / "cache").iterdir()} == first
        p.import_(image_folder)
        read: list[str] = []
        monkeypatch.setattr(
            "labeler.working.read_image",
            lambda folder, sample: (read.append(sample.name), read_image(folder, sample))[1],
        )
        images = p.images()
        assert len(read) == 12
        assert np.array_equal(images.array[:40], X)
        assert images.array.shape == (52, 28, 28)
        assert len(list((p.folder / "cache").iterdir())) == 1


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY garbage", None])
def test_a_damaged_or_deleted_cache_is_built_again(tmp_path: Path, damage: bytes | None) -> None:
    with Project.create(tmp_path / "p", ["a"]) as p:
        p.import_(save_npz(tmp_path / "x.npz", x=X))
        p.images()
        (path,) = (p.folder / "cache").iterdir()
        if damage is None:
            shutil.rmtree(p.folder / "cache")
        else:
            path.write_bytes(damage)
        assert np.array_equal(p.images().array, X)


def test_the_working_size_stays_what_it_was_chosen(tmp_path: Path) -> None:
    with Project.create(tmp_path / "p", ["a"]) as p:
        p.import_(save_npz(tmp_path / "x.npz", x=X[:, :8, :8]))
        assert p.images().size == 8
        p.import_(save_npz(tmp_path / "y.npz", x=np.repeat(X[..., None], 3, axis=3) // np.array([1, 2, 3], np.uint8)))
        images = p.images()
        assert (images.size, images.channels, images.array.shape) == (8, 1, (80, 8, 8))


def test_a_cache_is_built_while_the_draft_of_another_process_goes_away(tmp_path: Path) -> None:
    with Project.create(tmp_path / "p", ["a"]) as p:
        p.import_(save_npz(tmp_path / "x.npz", x=X))
        (p.folder / "cache").mkdir(exist_ok=True)
        (p.folder / "cache" / ".building-theirs.npy").symlink_to(tmp_path / "gone")  # listed, but not there
        assert len(p.images().array) == len(X)


def test_processes_and_threads_may_build_the_cache_at_once(tmp_path: Path) -> None:
    with Project.create(tmp_path / "p", ["a"]) as p:
        p.import_(save_npz(tmp_path / "x.npz", x=X))
        with ThreadPoolExecutor(4) as pool:
            built = list(pool.map(lambda _: Project.open(p.folder).images().array, range(4)))
        assert all(np.array_equal(array, X) for array in built)
        assert len(list((p.folder / "cache").iterdir())) == 1


def test_an_original_that_is_gone_is_left_black_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    for i in range(3):
        Image.fromarray(X[i]).save(folder / f"{i}.png")
    with Project.create(tmp_path / "p", ["a"]) as p:
        p.import_(folder, copy=False)
        (folder / "1.png").unlink()
        array = p.images().array
        assert [int(image.max()) > 0 for image in array] == [True, False, True]
    assert "1.png cannot be read" in caplog.text


def test_without_images_there_is_one_clear_error(tmp_path: Path) -> None:
    with Project.create(tmp_path / "p", ["a"]) as p, pytest.raises(ValueError, match="no images yet"):
        p.images()


def test_progress_is_told_for_what_takes_long(tmp_path: Path, image_folder: Path) -> None:
    imported: list[tuple[int, int]] = []
    prepared: list[tuple[int, int]] = []
    with Project.create(tmp_path / "p", ["a"]) as p:
        p.import_(image_folder, on_progress=lambda done, total: imported.append((done, total)))
        p.images(on_progress=lambda done, total: prepared.append((done, total)))
    assert imported[-1] == prepared[-1] == (12, 12)


@pytest.mark.parametrize("url", ["postgresql://nobody@/none?host=/nowhere", "postgresql://h/x?nonsense=1"])
def test_a_database_that_cannot_be_had_leaves_no_folder_behind(url: str, tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"cannot be reached|nonsense"):
        Project.create(tmp_path / "made" / "for" / "it", ["cat"], url)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "here").mkdir()
    with pytest.raises(Exception, match=r"cannot be reached|nonsense"):
        Project.create(tmp_path / "here", ["cat"], url)
    assert (tmp_path / "here").is_dir(), "one that was there stays"


def test_a_class_name_is_at_most_so_long(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has 501 characters; at most 500 are kept"):
        Project.create(tmp_path / "project", ["x" * 501])
    assert not (tmp_path / "project").exists()
