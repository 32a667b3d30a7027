"""`labeler check` and what `--repair` does: each damage is made by hand, found, mended, and not found again."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Ended
from pages import publish_version
from PIL import Image
from safetensors.numpy import save_file

from labeler import Project
from labeler.check import check, repair
from labeler.working import STALE_SECONDS

Command = Callable[..., Ended]


@pytest.fixture
def trained(project: Project) -> Project:
    """The twelve images with a cache, two labels and versions 1 to 3."""
    project.images()
    project.store.add_classes(["cow", "pig", "hen"])
    for sample_id, name in ((3, "cat"), (4, "dog")):
        project.loop("ann").answer(sample_id, name)
    for version in (1, 2, 3):
        publish_a_version(project, version)
    return project


def publish_a_version(project: Project, version: int) -> None:
    publish_version(project, version)
    save_file({"weight": np.zeros(3, np.float32)}, project.folder / "models" / f"{version:06d}" / "model.safetensors")


def texts(project: Project) -> list[str]:
    return [finding.text for finding in check(project.folder, project.store)]


def old(path: Path) -> Path:
    then = time.time() - STALE_SECONDS - 1
    os.utime(path, (then, then))
    return path


def sql(project: Project, *statements: str) -> None:
    other = sqlite3.connect(project.folder / "labels.db")
    for statement in statements:
        other.execute(statement)
    other.commit()
    other.close()


def damage_states(project: Project) -> str:
    sql(
        project,
        "UPDATE sample_states SET class_id = 3 - class_id",
        "DROP TRIGGER events_keep_delete",
        f"INSERT INTO leases VALUES (12, 1, 'tab', {time.time() + 1e6})",
        f"INSERT INTO leases VALUES (99, 1, 'tab', {time.time() + 60})",
    )
    return "derived again: 2"


def damage_classes(project: Project) -> str:
    sql(
        project,
        "UPDATE classes SET merged_into = 1, key = 'x' WHERE id = 2",
        "UPDATE classes SET name = 'x' WHERE id = 3",
        "UPDATE classes SET name = 'cow' WHERE id = 4",
        "UPDATE classes SET name = 'pig' WHERE id = 3",
        "DELETE FROM classes WHERE id = 5",
        "DROP TRIGGER class_events_keep_update",
        "DROP TRIGGER class_events_keep_delete",
    )
    return "Classes that did not follow from their events were derived again: 4."


def tear_the_newest_version(project: Project) -> str:
    (project.folder / "models" / "000003" / "probs.npy").write_bytes(b"")
    return "model version 3: taken out, as it was damaged; version 2 is the newest now"


def lose_weights(project: Project) -> str:
    (project.folder / "models" / "000001" / "model.safetensors").unlink()
    return "model version 1: taken out, as it was damaged; version 3 is the newest now"


def die_before_the_row(project: Project) -> str:
    shutil.copytree(project.folder / "models" / "000003", project.folder / "models" / "000004")
    return "models/000004: removed"


def die_while_publishing(project: Project) -> str:
    (project.folder / "models" / ".draft-1").mkdir()
    (project.folder / "models" / ".draft-1" / "probs.npy").write_bytes(b"half")
    return "models/.draft-1: removed"


def die_while_ranking(project: Project) -> str:
    (project.folder / "models" / "000003" / ".ranking-1").write_bytes(b"half")
    return "models/000003/.ranking-1: removed"


def die_while_pruning(project: Project) -> str:
    project.store.drop_version(1)
    return "models/000001: removed"


def cache_of(project: Project) -> Path:
    return next((project.folder / "cache").glob("images-*.npy"))


def tear_the_cache(project: Project) -> str:
    cache_of(project).write_bytes(b"half")
    return f"cache/{cache_of(project).name}: removed"


def blacken_a_cached_image(project: Project) -> str:
    array = np.load(cache_of(project), mmap_mode="r+")
    array[5] = 0
    array.flush()
    return f"cache/{cache_of(project).name}: removed"


def die_while_caching(project: Project) -> str:
    (project.folder / "cache" / ".building-1.npy").write_bytes(b"half")
    return "cache/.building-1.npy: removed"


def die_while_importing(project: Project) -> str:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (project.folder / "images" / ".incoming" / f"{gone.pid}-1").write_bytes(b"half")
    return f"images/.incoming/{gone.pid}-1: removed"


def leave_a_tab(project: Project) -> str:
    project.store.lease([11], 1, "ann", "a closed tab", seconds=-1)
    return "Leases that had run out, or never would, were taken away: 1."


def lose_an_image(project: Project) -> str:
    sample = project.store.samples()[0]
    (project.folder / sample.file).unlink()
    return f"{sample.file} ({sample.name}): copied again from "


def change_an_image(project: Project) -> str:
    sample = project.store.samples()[1]
    Image.new("L", (8, 8), 3).save(project.folder / sample.file)
    return f"{sample.file} ({sample.name}): copied again from "


DAMAGES = [
    (damage_states, True),
    (damage_classes, True),
    (tear_the_newest_version, True),
    (lose_weights, True),
    (blacken_a_cached_image, True),
    (lose_an_image, True),
    (change_an_image, True),
    (die_before_the_row, False),
    (die_while_publishing, False),
    (die_while_ranking, False),
    (die_while_pruning, False),
    (tear_the_cache, False),
    (die_while_caching, False),
    (die_while_importing, False),
    (leave_a_tab, False),
]


@pytest.mark.parametrize(("damage", "wrong"), DAMAGES, ids=[damage.__name__ for damage, _ in DAMAGES])
def test_a_damage_is_found_mended_and_gone(
    damage: Callable[[Project], str], wrong: bool, trained: Project, labeler: Command
) -> None:
    assert texts(trained) == []
    events, classes = trained.store.events(), (trained.store.classes(), trained.store.class_events())
    says = damage(trained)

    found = labeler("check", trained.folder, "--json")
    assert found.code == int(wrong)
    report = json.loads(found.out)
    assert len(report["wrong"] if wrong else report["leftovers"]) >= 1
    assert report["leftovers" if wrong else "wrong"] == []

    ended = labeler("check", trained.folder, "--repair")
    assert (ended.code, ended.err) == (0, "")
    mended = [line for line in ended.out.splitlines() if line.startswith("mended: ")]
    assert any(says in line for line in mended), ended.out
    assert texts(trained) == []
    assert trained.store.events() == events
    assert (trained.store.classes(), trained.store.class_events()) == classes
    published = trained.published()
    assert published is not None
    assert trained.store.process("trainer") is None


def test_all_damages_at_once_are_mended_in_one_go(trained: Project) -> None:
    for damage, _ in DAMAGES:
        if damage is not blacken_a_cached_image and damage is not die_while_pruning:
            damage(trained)
    _, left = repair(trained.folder, trained.store)
    assert left == []
    assert texts(trained) == []


def test_a_changed_image_is_moved_aside_not_deleted(trained: Project) -> None:
    change_an_image(trained)
    sample = trained.store.samples()[1]
    bad = (trained.folder / sample.file).read_bytes()
    repair(trained.folder, trained.store)
    assert [path.read_bytes() for path in (trained.folder / "images" / ".damaged").iterdir()] == [bad]


def test_an_image_that_is_nowhere_any_more_stays_found_and_says_what_to_do(
    trained: Project, image_folder: Path, labeler: Command
) -> None:
    change_an_image(trained)
    shutil.rmtree(image_folder)
    before = sorted(trained.folder.glob("[ic]*/**/*"))  # the cache has the image as it was
    assert any(path.parent.name == "cache" for path in before)
    ended = labeler("check", trained.folder, "--repair")
    assert ended.code == 1
    assert "restore it from a backup" in ended.out
    assert sorted(trained.folder.glob("[ic]*/**/*")) == before


def test_an_image_that_was_not_copied_is_to_be_put_back_by_hand(tmp_path: Path, image_folder: Path) -> None:
    with Project.create(tmp_path / "linked", ["cat", "dog"]) as p:
        p.import_(image_folder, copy=False)
        (image_folder / "cat" / "0.png").unlink()
        _, left = repair(p.folder, p.store)
        assert [f.text.endswith("imported without a copy: put it back in its place.") for f in left] == [True]


def test_an_array_of_images_is_copied_again_from_its_source(tmp_path: Path) -> None:
    np.savez(tmp_path / "many.npz", x=np.random.default_rng(0).integers(0, 256, (20, 8, 8), dtype=np.uint8))
    with Project.create(tmp_path / "project", ["a", "b"]) as p:
        p.import_(tmp_path / "many.npz")
        pack = p.folder / p.store.samples()[0].file
        whole = pack.read_bytes()
        pack.write_bytes(whole[:-1] + b"\0")
        done, left = repair(p.folder, p.store)
        assert (len(done), left, pack.read_bytes() == whole) == (1, [], True)

        pack.unlink()
        np.savez(tmp_path / "many.npz", x=np.zeros((20, 8, 8), np.uint8))  # not the same any more
        done, left = repair(p.folder, p.store)
        assert (done, len(left)) == ([], 1)
        assert [path for path in (p.folder / "images").iterdir() if path.suffix == ".npy"] == []


def test_what_a_running_trainer_is_about_is_neither_found_nor_taken(trained: Project) -> None:
    trained.store.hold("trainer", "another", {})
    die_before_the_row(trained)
    die_while_publishing(trained)
    assert texts(trained) == []
    tear_the_newest_version(trained)
    done, left = repair(trained.folder, trained.store)
    assert done == []
    assert ["stop it first" in finding.text for finding in left] == [True]
    assert (trained.folder / "models" / "000004").exists()


def test_originals_that_no_sample_speaks_of_are_told_and_kept(trained: Project) -> None:
    young = trained.folder / "images" / "ab" / f"{'ab' * 32}.png"
    young.parent.mkdir(exist_ok=True)
    young.write_bytes(b"an import may be about to name it")
    unknown = old(Path(shutil.copy(young, young.with_name(f"{'cd' * 32}.png"))))
    _, left = repair(trained.folder, trained.store)
    assert [finding.text.startswith("1 in images/") for finding in left] == [True]
    assert unknown.exists()


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.1])
def test_a_repair_that_is_killed_at_any_moment_is_finished_by_the_next(delay: float, trained: Project) -> None:
    events = trained.store.events()
    for damage, _ in DAMAGES:
        if damage is not blacken_a_cached_image and damage is not die_while_pruning:
            damage(trained)
    script = (
        "import sys; from labeler import Project; from labeler.check import repair; p = Project.open(sys.argv[1]); "
        "print('now', flush=True); repair(p.folder, p.store); print('done')"
    )
    process = subprocess.Popen([sys.executable, "-c", script, trained.folder], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "now\n"
    time.sleep(delay)
    process.kill()
    process.communicate()
    _, left = repair(trained.folder, trained.store)
    assert left == []
    assert texts(trained) == []
    assert trained.store.events() == events


def test_a_version_after_a_damaged_one_takes_a_number_of_its_own(trained: Project) -> None:
    tear_the_newest_version(trained)
    repair(trained.folder, trained.store)
    assert trained.store.next_version() == 4


def test_the_page_goes_on_with_the_version_before_a_torn_one(trained: Project) -> None:
    tear_the_newest_version(trained)
    published = trained.published()
    assert published is not None
    assert published.version == 2


def test_what_somebody_put_into_our_folders_is_told_and_left(project: Project) -> None:
    project.images()
    for name in ("images/notes.txt", "images/ab/mine.png", "models/old/weights.bin", "cache/todo.md"):
        (project.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (project.folder / name).write_text("mine")
    (project.folder / "images" / ".hidden").write_text("of a file manager")
    told = [finding for finding in check(project.folder, project.store) if "not of Labeler" in finding.text]
    assert [finding.text.partition(":")[0] for finding in told] == [
        "images/ab/mine.png and 1 more", "models/old/weights.bin", "cache/todo.md",
    ]  # fmt: skip
    assert not any(finding.wrong or finding.mend for finding in told)
    _, left = repair(project.folder, project.store)
    assert [finding.text for finding in left] == [finding.text for finding in told]
    assert (project.folder / "models" / "old" / "weights.bin").is_file()


def test_a_published_version_and_a_cache_hold_nothing_strange(trained: Project) -> None:
    assert check(trained.folder, trained.store) == []
    assert any((trained.folder / "models").rglob("*.npy"))
