"""Blind tests: kept as they were answered, on both databases; nothing tells real from drawn before the last answer."""

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import by_hand, wait_for
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pages import LOCAL, publish_version, small_project
from PIL import Image
from sqlalchemy.exc import DatabaseError
from test_sketches import model_of

from labeler import Project
from labeler.blind import score, scores
from labeler.ui.routes import routes
from storage import BlindAnswer, NewSample, Store

SAID = [BlindAnswer(1, None, True, 900), BlindAnswer(None, 2, True, 1200), BlindAnswer(None, 1, False)]


# ---------- the record ----------


@pytest.fixture
def store(database: Path | str) -> Iterator[Store]:
    with Store.create(database, "test", ["cat", "dog"]) as made:
        made.add_samples([NewSample("0" * 64, "image", "images/a.png", None, 8, 8, 1)])
        for version in (1, 2):
            made.add_version(version, 0, 10 * version, 0, f"models/{version:06d}", "random", {"class_ids": [1, 2]})
        yield made


def test_a_test_is_kept_once_as_it_was_answered(store: Store, tmp_path: Path) -> None:
    first = store.record_blind_test("one", "ann", 1, 1.0, 7, SAID)
    again = store.record_blind_test("one", "ann", 1, 1.0, 7, SAID[:1])
    assert again == first
    assert (first.annotator, first.version, first.temperature, first.rng_seed) == ("ann", 1, 1.0, 7)
    assert first.answers == tuple(SAID)
    second = store.record_blind_test("two", "bob", 2, 1.0, 8, SAID[1:])
    assert store.blind_tests() == [first, second]
    assert store.blind_tests(until=first.time - 1) == []
    assert (store.blind_test("two"), store.blind_test("three")) == (second, None)
    for statement in ("UPDATE blind_tests SET answers = '[]'", "DELETE FROM blind_tests"):
        with pytest.raises(DatabaseError, match="stays as it was answered"):
            by_hand(store, statement)
    store.copy_to(tmp_path / "copy.db")
    with Store.open(tmp_path / "copy.db") as copy:
        assert copy.blind_tests() == [first, second]
    assert store.check() == []


def test_scores_are_of_all_tests_of_a_version_with_their_interval(store: Store) -> None:
    for i in range(4):
        store.record_blind_test(f"a{i}", "ann" if i else "bob", 2, 1.0, i, SAID)
    found = scores(store)
    [only] = found
    low, high = only.pop("interval")
    assert only == {
        **{"version": 2, "labels": 20, "tests": 4, "people": 2, "n": 12, "right": 8, "score": 8 / 12},
        **{"drawn": 8, "fooled": 4},
    }
    z, p, n = 1.959964, 8 / 12, 12  # Wilson 1927
    centre, half = p + z * z / (2 * n), z * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    assert (low, high) == (
        pytest.approx((centre - half) / (1 + z * z / n)),
        pytest.approx((centre + half) / (1 + z * z / n)),
    )
    assert score(SAID)["fooled"] == 1


# ---------- a test ----------


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """32 images of 8x8, ten of them to measure with; version 1 draws, of version 2 only drawings are left."""
    folder = tmp_path_factory.mktemp("blind") / "project"
    with small_project(folder, n=32, classes=["a", "b", "c"], measure_share=0.3) as p:
        for version in (1, 2):
            publish_version(p, version, labels=10 * version, model=model_of(p))
        (folder / "models" / "000002" / "model.safetensors").unlink()
        yield p


@pytest.fixture(scope="module")
def client(project: Project) -> Iterator[TestClient]:
    app = FastAPI()
    app.include_router(routes(project))
    with TestClient(app, base_url=LOCAL) as made:
        yield made


@pytest.fixture
def me(client: TestClient) -> dict[str, Any]:
    client.post("/labeler/name", json={"name": "ann"})
    return {"project": client.get("/labeler/state").json()["key"]}


def begun(client: TestClient, me: dict[str, Any], n: int = 20) -> tuple[str, list[bytes]]:
    """The test's id and the image files shown."""
    test = client.post("/labeler/blind", json={**me, "version": 1, "n": n}).json()["test"]
    answer = wait_for(lambda: (a := client.get(f"/labeler/blind/{test}")).status_code != 202 and a)
    assert answer.status_code == 200
    assert set(answer.json()) == {"images"}
    return test, [base64.b64decode(url.removeprefix("data:image/png;base64,")) for url in answer.json()["images"]]


def test_half_are_images_of_the_pool_and_only_the_pixels_tell(
    project: Project, client: TestClient, me: dict[str, Any]
) -> None:
    pool = {np.asarray(i).tobytes(): s for s, i in of_split(project, "pool")}
    measuring = {np.asarray(i).tobytes() for _, i in of_split(project, "measure")}
    assert measuring
    orders = []
    for _ in range(3):
        test, files = begun(client, me)
        assert len({len(file) for file in files}) == 1, "a length would tell"
        assert len({file[: file.index(b"IDAT")] for file in files}) == 1
        shown = [np.asarray(Image.open(io.BytesIO(file))) for file in files]
        assert {image.shape for image in shown} == {(8, 8)}
        real = [image.tobytes() in pool for image in shown]
        assert sum(real) == 10
        assert not {image.tobytes() for image in shown} & measuring
        assert client.get(f"/labeler/blind/{test}").json()["images"], "asked for again, it shows no more"
        answers = [{"real": True, "ms": 100}] * 20
        result = client.post(f"/labeler/blind/{test}", json={**me, "answers": answers}).json()
        assert [one["real"] for one in result["truth"]] == real
        assert (result["n"], result["right"], result["score"], result["fooled"]) == (20, 10, 0.5, 10)
        kept = project.store.blind_test(test)
        assert kept is not None
        assert [a.sample_id for a in kept.answers] == [pool.get(image.tobytes()) for image in shown]
        assert {a.class_id for a in kept.answers if not a.real} <= {1, 2, 3}
        orders.append(tuple(real))
    assert len(set(orders)) > 1, "the order is another one each time"


def of_split(project: Project, split: str) -> list[tuple[int, np.ndarray]]:
    from storage.images import read_image

    return [(sample.id, read_image(project.folder, sample)) for sample in project.store.samples(split)]


def test_the_drawings_are_those_of_the_seed_that_is_kept(
    project: Project, client: TestClient, me: dict[str, Any]
) -> None:
    test, files = begun(client, me, 10)
    client.post(f"/labeler/blind/{test}", json={**me, "answers": [{"real": False}] * 10})
    kept = project.store.blind_test(test)
    assert kept is not None
    model = model_of(project)
    drawn_as = [a.class_id for a in kept.answers if a.class_id]
    made = {c: model.generate(c - 1, drawn_as.count(c), kept.rng_seed + c - 1).astype(int) for c in set(drawn_as)}
    found = [
        np.asarray(Image.open(io.BytesIO(f))).astype(int)
        for f, a in zip(files, kept.answers, strict=True)
        if not a.real
    ]
    assert len(found) == 5
    for class_id, image in zip(drawn_as, found, strict=True):
        assert min(np.abs(one - image).max() for one in made[class_id]) <= 1


def test_a_test_is_answered_once_by_who_began_it(client: TestClient, me: dict[str, Any]) -> None:
    test, files = begun(client, me, 10)
    short = client.post(f"/labeler/blind/{test}", json={**me, "answers": [{"real": True}] * 9})
    assert (short.status_code, "10 images; 9 answers" in short.json()["detail"]) == (422, True)
    client.post("/labeler/name", json={"name": "eve"})
    assert client.get(f"/labeler/blind/{test}").status_code == 404
    answers = {**me, "answers": [{"real": True}] * 10}
    assert client.post(f"/labeler/blind/{test}", json=answers).status_code == 404
    client.post("/labeler/name", json={"name": "ann"})
    first = client.post(f"/labeler/blind/{test}", json=answers).json()
    again = client.post(f"/labeler/blind/{test}", json={**me, "answers": [{"real": False}] * 10}).json()
    assert again["truth"] == first["truth"]
    assert client.get(f"/labeler/blind/{test}").status_code == 404, "over"
    assert len(files) == 10


def test_what_cannot_be_tested_says_why(client: TestClient, me: dict[str, Any]) -> None:
    def refused(**wrong: Any) -> tuple[int, str]:
        answer = client.post("/labeler/blind", json={**me, "version": 1, "n": 20, **wrong})
        return answer.status_code, str(answer.json()["detail"])

    assert refused(version=2) == (404, "The weights of version 2 are gone: only what it drew then is left.")
    assert refused(version=9)[0] == 404
    assert refused(n=60)[0] == refused(n=8)[0] == 422
    assert refused(project="another")[0] == 409
    assert refused(n=50) == (422, "A test of 50 needs 25 images in the pool; there are 22. Choose fewer.")


def test_the_status_reports_each_versions_score(tmp_path: Path, labeler) -> None:
    with small_project(tmp_path / "project", n=12, classes=["a", "b"]) as p:
        publish_version(p, 1, labels=30)
        p.store.record_blind_test("one", "ann", 1, 1.0, 7, SAID)
    [told] = json.loads(labeler("status", tmp_path / "project", "--json").out)["blind_tests"]
    assert (told["version"], told["labels"], told["n"], told["right"]) == (1, 30, 3, 2)
    assert (
        "blind test of version 1: 67% of 3 images told right (95% interval 21% to 94%)"
        in labeler("status", tmp_path / "project").out
    )
    early = json.loads(labeler("status", tmp_path / "project", "--json", "--at", "2020-01-01").out)
    assert early["blind_tests"] == []
