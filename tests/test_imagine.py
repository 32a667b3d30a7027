"""The Imagine tab's routes: kept versions, drawings at a temperature, ways, downloads, and what they refuse."""

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from conftest import wait_for
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pages import LOCAL, publish_version, small_project
from PIL import Image
from test_sketches import model_of

from labeler import Project
from labeler.artist import Artist
from labeler.ui.pictures import cut
from labeler.ui.routes import routes
from storage.images import read_image
from storage.synthetic import MARK, is_synthetic


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Four versions: the first draws, the weights of the second are gone, the third is pruned, the fourth draws."""
    folder = tmp_path_factory.mktemp("imagine") / "project"
    with small_project(folder, n=40, classes=["a", "b", "c"], measure_share=0.3) as p:
        for version, labels in ((1, 0), (2, 10), (3, 15), (4, 20)):
            publish_version(p, version, labels=labels, model=model_of(p))
        (folder / "models" / "000002" / "model.safetensors").unlink()
        p.store.drop_version(3)
        (folder / "models" / "000001" / "sample_ids.npy").unlink()  # as of a version that is not among the newest
        yield p


@pytest.fixture(scope="module")
def client(project: Project) -> Iterator[TestClient]:
    app = FastAPI()
    app.include_router(routes(project))
    with TestClient(app, base_url=LOCAL) as made:
        yield made


def drawn(client: TestClient, path: str, **query: Any) -> httpx.Response:
    """The answer of a route once it has drawn."""
    return wait_for(lambda: (a := client.get(f"/labeler/imagine/{path}", params=query)).status_code != 202 and a)


def pixels(answer: httpx.Response) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content))).astype(int)


def detail(answer: httpx.Response) -> str:
    return str(answer.json()["detail"])


def test_versions_whose_drawings_are_kept_are_listed_oldest_first(client: TestClient) -> None:
    told = client.get("/labeler/imagine").json()
    assert [(v["version"], v["labels"], v["weights"]) for v in told["versions"]] == [
        (1, 0, True), (2, 10, False), (4, 20, True),
    ]  # fmt: skip
    assert {(v["n"], v["height"], v["width"], tuple(v["class_ids"])) for v in told["versions"]} == {
        (4, 8, 8, (1, 2, 3))
    }
    assert told["temperature"] == {"least": 0.2, "usual": 1.0, "most": 1.5}
    assert told["blind"]["scores"] == []


def test_a_sheet_is_what_the_command_would_draw_at_that_temperature_and_seed(
    project: Project, client: TestClient
) -> None:
    sheet = pixels(drawn(client, "sheet/1", temperature=0.4, rng_seed=6))
    model = model_of(project)
    expected = np.concatenate([np.concatenate(list(model.generate(k, 4, 6, 0.4)), axis=1) for k in range(3)])
    np.testing.assert_allclose(sheet, expected.astype(int), atol=1)
    assert drawn(client, "sheet/1", temperature=0.4, rng_seed=6).headers["cache-control"] == "no-store"


def test_a_way_begins_at_just_the_drawing_a_class_or_an_image(project: Project, client: TestClient) -> None:
    how = {"temperature": 0.7, "rng_seed": 2}
    cells = cut(drawn(client, "sheet/4", **how).content, 3, 4).astype(int)
    way = pixels(drawn(client, "way/4", a="drawn:2:3", b="drawn:3:0", n=9, **how))
    assert way.shape == (8, 9 * 8)
    np.testing.assert_allclose(way[:, :8], cells[1, 3], atol=1)
    np.testing.assert_allclose(way[:, -8:], cells[2, 0], atol=1)
    model = model_of(project)
    sample = project.store.samples("pool")[0]
    image = read_image(project.folder, sample)
    mixed = pixels(drawn(client, "way/1", a=f"sample:{sample.id}", b="class:1", n=8, **how))
    expected = np.concatenate(list(model.interpolate(image, 0, 8, 2, 0.7)), axis=1)
    np.testing.assert_allclose(mixed, expected.astype(int), atol=1)


def test_the_model_shows_nothing_of_images_that_measure_or_are_asked_of_several(
    project: Project, client: TestClient
) -> None:
    measuring, asked = project.store.samples("measure")[0].id, project.store.samples("pool")[1].id
    assert client.get(f"/labeler/imagine/way/1?a=sample:{measuring}&b=class:1").status_code == 422
    assert drawn(client, "way/1", a=f"sample:{asked}", b="class:1").status_code == 200
    project.set_overlap(1, 2)
    answer = client.get(f"/labeler/imagine/way/1?a=class:1&b=sample:{asked}")
    assert (answer.status_code, "the model shows nothing of it" in detail(answer)) == (422, True)
    project.set_overlap(0)


def test_what_is_not_there_or_out_of_range_is_refused(client: TestClient) -> None:
    def status(path: str) -> int:
        return client.get(f"/labeler/imagine/{path}").status_code

    gone = client.get("/labeler/imagine/sheet/2?temperature=0.5")
    assert (gone.status_code, detail(gone)) == (
        404,
        "The weights of version 2 are gone: only what it drew then is left.",
    )
    assert [status(f"{kind}/{version}") for kind in ("sheet", "png", "zip") for version in (3, 9)] == [404] * 6
    assert [status(f"sheet/1?{wrong}") for wrong in ("temperature=0.1", "temperature=1.6", "rng_seed=-1")] == [422] * 3
    ends = ("sample:999", "class:9", "drawn:1:4", "drawn:9:0")
    assert [status(f"way/1?b=class:1&a={end}") for end in ends] == [404] * 4
    assert [status(f"way/1?b=class:1&a={end}") for end in ("class:x", "drawn:1", "/etc/passwd")] == [422] * 3
    assert status("way/1?a=class:1&b=class:2&n=13") == 422
    assert status("zip/1?n=700") == 422


def test_the_png_has_names_and_says_what_drew_it_also_without_weights(client: TestClient) -> None:
    for path, temperature, version in (("png/2", 1.0, 2), ("png/4", 0.5, 4)):
        answer = drawn(client, path, temperature=temperature)
        assert answer.headers["content-disposition"].startswith(f'attachment; filename="project-v{version}.png"')
        with Image.open(io.BytesIO(answer.content)) as png:
            told = json.loads(png.text[MARK])  # type: ignore[attr-defined]
            sheet = np.asarray(png).astype(int)
        assert (told["synthetic"], told["version"], told["temperature"]) == (True, version, temperature)
        assert told["classes"] == ["a", "b", "c"]
        cells = client.get("/labeler/generated/2") if version == 2 else drawn(client, "sheet/4", temperature=0.5)
        first = cut(cells.content, 3, 4)[0, 0].repeat(8, 0).repeat(8, 1)
        found = [x for x in range(sheet.shape[1] - 64) if np.array_equal(sheet[34:98, x : x + 64, 0], first)]
        assert len(found) == 1, "the first drawing of the first class, enlarged by a whole factor"
        assert (sheet[34:98, : found[0]] < 100).any(), "a name in front of it"


def test_the_data_set_is_what_generate_draws_and_every_file_is_marked(project: Project, client: TestClient) -> None:
    answer = drawn(client, "zip/4", n=5, temperature=0.5, rng_seed=9)
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        manifest = json.loads(archive.read("manifest.json"))
        images = {name: archive.read(name) for name in archive.namelist() if name.endswith(".png")}
    assert sorted(images) == [f"{c}/0000{i}.png" for c in "abc" for i in range(5)]
    assert all(is_synthetic(data) for data in images.values())
    wanted = {"synthetic": True, "version": 4, "labels": 20, "temperature": 0.5, "rng_seed": 9, "project": "project"}
    assert wanted.items() <= manifest.items()
    found = np.stack([np.asarray(Image.open(io.BytesIO(images[f"b/0000{i}.png"]))) for i in range(5)])
    np.testing.assert_allclose(found.astype(int), model_of(project).generate(1, 5, 9, 0.5), atol=1)


def test_vectors_are_drawn_as_plots_and_saved_as_vectors(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).random((30, 6)).astype(np.float32)
    np.savez(tmp_path / "v.npz", x=vectors)
    with Project.create(tmp_path / "project", ["up", "down"]) as p:
        p.import_(tmp_path / "v.npz", measure_share=0)
        publish_version(p, 1, model=model_of(p, (6,)))
        artist = Artist(p.folder, p.store)
        plot = read_image(p.folder, p.store.sample(1))
        height, width = plot.shape
        assert size(artist.sheet(1, 3, 1.0, 0)) == (2 * height, 3 * width)
        assert size(artist.way(1, "sample:1", "class:2", 8, 3, 1.0, 0)) == (height, 8 * width)
        lot = np.load(io.BytesIO(artist.lot(1, [1, 4], [2, 1, 2], 0)))
        assert (lot.shape, lot.dtype) == ((5, height, width), np.uint8)
        with zipfile.ZipFile(io.BytesIO(artist.data_set(1, [(2, "down")], 2, ("p", 1, 0, 1.0, 0)))) as archive:
            first = np.load(io.BytesIO(archive.read("down/00000.npy")))
        np.testing.assert_allclose(first, model_of(p, (6,)).generate(1, 2)[0], atol=1e-4)


def test_what_has_no_class_in_use_is_no_file(project: Project, client: TestClient) -> None:
    project.store.archive_classes([1, 2, 3])
    answers = [client.get(f"/labeler/imagine/{kind}/1") for kind in ("png", "zip")]
    project.store.restore_classes([1, 2, 3])
    assert [(answer.status_code, detail(answer)) for answer in answers] == 2 * [
        (404, "No class that version 1 draws is in use any more.")
    ]


def size(png: bytes) -> tuple[int, ...]:
    return np.asarray(Image.open(io.BytesIO(png))).shape
