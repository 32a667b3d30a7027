"""The image on screen drawn as each class: what the process draws, how it starts and ends, and who gets to see it."""

import io
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import wait_for
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pages import LOCAL, publish_version, small_project
from PIL import Image
from postgres import Server

import labeler.sketches
from labeler import Project
from labeler.gentle import SWITCH
from labeler.sketches import Sketches
from labeler.ui.routes import routes
from model.checkpoint import Model
from model.generation import from_prior
from model.ssvae import SSVAE, VAEConfig
from storage.images import read_image


def model_of(project: Project, shape: tuple[int, ...] = (1, 8, 8)) -> Model:
    """Random weights."""
    torch.manual_seed(0)
    class_ids = [c.id for c in project.store.classes()]
    likelihood = "bernoulli" if len(shape) == 3 else "gaussian"
    vae = SSVAE(VAEConfig(shape, len(class_ids), likelihood=likelihood)).requires_grad_(False)
    if likelihood == "gaussian":
        vae.standardise_by(np.random.default_rng(0).random((20, *shape)))
    mixtures = from_prior(vae.prior_mu, vae.prior_logvar)
    return Model(vae, mixtures, {"classes": [str(i) for i in class_ids], "class_ids": class_ids})


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with small_project(tmp_path_factory.mktemp("sketches") / "project", n=20, classes=["a", "b", "c"]) as p:
        publish_version(p, 1, model=model_of(p))
        yield p


@pytest.fixture(scope="module")
def sketches(project: Project) -> Iterator[Sketches]:
    made = Sketches(project.folder)
    yield made
    made.close()


def pixels(png: bytes | None) -> np.ndarray:
    assert png is not None
    return np.asarray(Image.open(io.BytesIO(png)))


def test_each_class_asked_for_is_drawn_from_this_very_image(project: Project, sketches: Sketches) -> None:
    ids = [c.id for c in project.store.classes()]
    drawn = pixels(sketches.ask(1, 5, [ids[2], ids[0]]).result(60))
    image = read_image(project.folder, project.store.sample(5))[None]
    model = model_of(project)
    expected = np.concatenate([model.as_class(image, 2)[0], model.as_class(image, 0)[0]], axis=1)
    np.testing.assert_allclose(drawn.astype(int), expected.astype(int), atol=1)  # threads may round otherwise


def test_what_cannot_be_drawn_is_none_and_the_next_one_is_drawn(project: Project, sketches: Sketches) -> None:
    (project.folder / "models" / "000002").mkdir()
    (project.folder / "models" / "000002" / "model.safetensors").write_bytes(b"weights")
    assert sketches.ask(2, 5, [1]).result(60) is None
    assert sketches.ask(7, 5, [1]).result(60) is None
    assert sketches.ask(1, 999, [1]).result(60) is None
    assert sketches.ask(1, 5, [99]).result(60) is None
    assert pixels(sketches.ask(1, 5, [1, 2]).result(60)).shape == (8, 16)


def test_an_end_of_the_page_waits_for_nothing_that_is_not_begun(project: Project) -> None:
    sketches = Sketches(project.folder)
    asked = [sketches.ask(1, sample_id, [1]) for sample_id in range(1, 9)]  # the process is still importing
    sketches.close()
    assert [one.result(1) for one in asked] == [None] * 8
    assert sketches._process is None


def test_large_pictures_are_forgotten_and_what_waits_to_be_drawn_is_not(
    project: Project, sketches: Sketches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labeler.sketches, "KEPT_BYTES", 1)
    first = sketches.ask(1, 1, [1])
    assert first.result(60)
    others = [sketches.ask(1, sample_id, [1]) for sample_id in (2, 3, 4)]
    assert ("sketch", 1, 1, (1,)) not in sketches._made
    assert all(one.result(60) for one in others)


def test_it_ends_when_nobody_asks_for_a_while(
    project: Project, sketches: Sketches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labeler.sketches, "IDLE", 0.2)
    monkeypatch.setattr(labeler.sketches, "RETRY", 0.0)
    assert sketches.ask(1, 1, [1]).result(60)
    wait_for(lambda: sketches._process is None)
    assert sketches.ask(1, 2, [1]).result(60), "the next one starts it again"


def test_a_process_that_was_killed_is_started_again_and_ends_with_the_page(
    project: Project, sketches: Sketches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labeler.sketches, "RETRY", 0.0)
    monkeypatch.delenv(SWITCH)
    assert sketches.ask(1, 11, [1]).result(60)
    assert sketches._process is not None
    os.kill(sketches._process.pid, signal.SIGKILL)
    wait_for(lambda: sketches._process.poll() is not None)
    assert sketches.ask(1, 12, [1]).result(60) is None
    assert sketches.ask(1, 12, [1]).result(60), "asked again, it is drawn"
    process = sketches._process
    assert os.getpriority(os.PRIO_PROCESS, process.pid) > os.getpriority(os.PRIO_PROCESS, 0) or os.nice(0) > 9
    sketches.close()
    assert process.poll() is not None


def test_a_vector_is_drawn_as_the_plot_that_the_page_shows(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).random((30, 6)).astype(np.float32)
    np.savez(tmp_path / "v.npz", x=vectors)
    with Project.create(tmp_path / "project", ["a", "b"]) as p:
        p.import_(tmp_path / "v.npz", measure_share=0)
        publish_version(p, 1, model=model_of(p, (6,)))
        sketches = Sketches(p.folder)
        plot = read_image(p.folder, p.store.sample(1))
        assert pixels(sketches.ask(1, 1, [1, 2]).result(60)).shape == (plot.shape[0], 2 * plot.shape[1])
        sketches.close()


def test_a_project_whose_record_is_on_postgresql_is_drawn_from_too(tmp_path: Path, postgresql: Server) -> None:
    with small_project(tmp_path / "project", n=5, classes=["a", "b"], database=postgresql.url("drawn")) as p:
        publish_version(p, 1, model=model_of(p))
        sketches = Sketches(p.folder)
        assert pixels(sketches.ask(1, 2, [1, 2]).result(60)).shape == (8, 16)
        sketches.close()


def test_a_question_says_where_its_sketch_is_and_measuring_images_have_none(tmp_path: Path) -> None:
    names = [f"class {i}" for i in range(40)]
    with small_project(tmp_path / "project", n=20, classes=names, measure_share=0.2) as p:
        publish_version(p, 1, model=model_of(p))
        app = FastAPI()
        app.include_router(routes(p))
        with TestClient(app, base_url=LOCAL) as client:
            body = {"project": client.get("/labeler/state").json()["key"], "client": "tab-00000001"}
            client.post("/labeler/name", json={"name": "ann"})
            questions = client.post("/labeler/next", json={**body, "n": 20}).json()["questions"]
            learn = next(q for q in questions if q["purpose"] == "learn")
            measure = next(q for q in questions if q["purpose"] == "measure")
            assert learn["sketch"]["class_ids"] == [3, 5], "the two of forty that the model thinks possible"
            assert measure["sketch"] is None
            answer = wait_for(lambda: (a := client.get(learn["sketch"]["url"])).status_code != 202 and a)
            assert (answer.status_code, pixels(answer.content).shape) == (200, (8, 16))
            assert client.get(f"/labeler/sketch/1/{measure['sample_id']}?of=1").status_code == 204
            unknown = wait_for(lambda: (a := client.get("/labeler/sketch/9/1?of=1")).status_code != 202 and a)
            assert unknown.status_code == 204
            assert client.get("/labeler/sketch/1/999?of=1").status_code == 404
            assert client.get("/labeler/sketch/1/1?of=1,x").status_code == 422
