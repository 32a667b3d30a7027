"""A name is the same in either of Unicode's forms: é as one sign, or as e and an accent, as some systems write it."""

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Ended, by_hand, noise_image
from pages import publish_version
from PIL import Image
from test_sketches import model_of

from labeler import Project
from storage.importers import open_source

Command = Callable[..., Ended]
ROSE = "Épée"
APART = unicodedata.normalize("NFD", ROSE)
assert ROSE != APART


@pytest.fixture(params=[ROSE, APART])
def kept(request: pytest.FixtureRequest, project: Project) -> Project:
    """The twelve images; the class cat is named so, composed as new names are, or not, as somebody else wrote it."""
    by_hand(project.store, f"UPDATE classes SET name = '{request.param}' WHERE id = 1")
    return project


@pytest.mark.parametrize("given", [ROSE, APART])
def test_a_class_is_found_by_either(kept: Project, given: str, labeler: Command) -> None:
    kept.loop("ann").answer(1, given)
    assert kept.store.labels() == {1: 1}
    assert kept.classes.ids([given, "dog"]) == [1, 2]
    assert labeler("classes", "recolour", kept.folder, given, "#112233").code == 0
    with pytest.raises(ValueError, match="there twice"):
        kept.classes.add([given])
    kept.classes.add(["owl"])


@pytest.mark.parametrize("given", [ROSE, APART])
def test_a_class_is_drawn_by_either(kept: Project, given: str, tmp_path: Path, labeler: Command) -> None:
    model = model_of(kept)
    model.classes = model.header["classes"] = [one.name for one in kept.store.classes()]
    publish_version(kept, 1, model=model)
    for n, words in enumerate((["--class", given], ["--between", given, "dog"])):
        ended = labeler("generate", kept.folder, tmp_path / f"{n}", *words, "-n", 2, "--json")
        assert (ended.code, len(json.loads(ended.out)["files"])) == (0, 2), ended
    np.testing.assert_array_equal(model.generate(ROSE, 1), model.generate(APART, 1))


@pytest.mark.parametrize("given", [ROSE, APART])
def test_labels_of_a_source_go_to_the_class_of_either(kept: Project, given: str, tmp_path: Path) -> None:
    for i in range(12, 14):
        (tmp_path / "source" / given).mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise_image(i)).save(tmp_path / "source" / given / f"{i}.png")
    x = np.stack([noise_image(i) for i in range(14, 16)])
    np.savez(tmp_path / "text.npz", x=x, y=np.array([given, "dog"]))
    np.savez(tmp_path / "numbers.npz", x=255 - x, y=np.array([1, 0]), classes=np.array(["dog", given]))
    np.savez(tmp_path / "mixed.npz", x=x // 2, y=np.array([given, "dog"]), classes=np.array(["dog", ROSE]))
    for source, labels in (("source", {1: 2}), ("text.npz", {1: 1, 2: 1}), ("numbers.npz", {1: 1, 2: 1}),
                           ("mixed.npz", {1: 1, 2: 1})):  # fmt: skip
        before = kept.store.label_counts()
        assert kept.import_(tmp_path / source, labels=True).rejected == []
        after = kept.store.label_counts()
        assert {one: n - before.get(one, 0) for one, n in after.items() if n > before.get(one, 0)} == labels
    assert len(kept.store.classes()) == 2


def test_the_folder_of_an_export_is_found_though_a_system_took_its_name_apart(tmp_path: Path) -> None:
    (tmp_path / "out" / APART).mkdir(parents=True)
    Image.fromarray(noise_image(1)).save(tmp_path / "out" / APART / "1.png")
    listed = {"classes": [{"id": 1, "name": "a rose", "folder": ROSE}]}
    (tmp_path / "out" / "classes.json").write_text(json.dumps(listed))
    assert open_source(tmp_path / "out").classes == ["a rose"]


@pytest.mark.parametrize("who", [ROSE, APART])
def test_the_log_of_a_person_is_found_by_either(project: Project, who: str, labeler: Command) -> None:
    project.loop(who).answer(1, "cat")
    for given in (ROSE, APART):
        assert f"  {who}  label cat" in labeler("log", project.folder, "--annotator", given).out
