"""The map: images laid out in the plane by a process of its own, published beside versions, told without hints where
these would flatter."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import wait_for
from fastapi.testclient import TestClient
from pages import CLASSES, IGNORE_UNCLOSED, collect_unclosed, small_project
from test_grid import publish_beliefs
from test_lookout import at_work, rests

from labeler import Project, maps
from labeler.atlas import KINDS
from labeler.course import train
from labeler.maps import Map, Mapmaker, first_map
from labeler.projection import PCA, PCA_FOR_NOW, TSNE, project
from labeler.published import MAP, home, prune
from labeler.ui.app import build
from model.device import best_device
from model.features import Features

pytestmark = IGNORE_UNCLOSED


def three_groups(n: int = 90) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (np.eye(8)[np.arange(n) % 3] * 10 + rng.normal(size=(n, 8))).astype(np.float32)


# ---------- the projection ----------


def test_groups_stay_together_and_apart() -> None:
    places, method = project(three_groups())
    assert (places.shape, places.dtype, method) == ((90, 2), np.float32, TSNE)
    middles = np.stack([places[k::3].mean(0) for k in range(3)])
    within = max(np.linalg.norm(places[k::3] - middles[k], axis=1).mean() for k in range(3))
    between = min(np.linalg.norm(middles[i] - middles[j]) for i, j in ((0, 1), (0, 2), (1, 2)))
    assert between > 2 * within


def test_units_that_are_always_0_and_images_alike_have_components_all_the_same() -> None:
    """In single precision one in sixty of these matrices gave NaN or no convergence, and its trainer no map."""
    rng = np.random.default_rng(0)
    features = Features(np.zeros((60, 8, 8), np.uint8), 256, best_device())
    for i in range(200):
        h = np.maximum(rng.normal(size=(60, 2 + i % 50)) @ rng.normal(size=(2 + i % 50, 256)), 0)
        features.h = torch.from_numpy(h * (rng.random(256) < 0.5)).bfloat16()
        components = features.components()
        assert components.shape == (60, 50)
        assert np.isfinite(components).all()
        assert np.linalg.norm(components.astype(np.float32), axis=1).max() < 1.01


def test_a_map_that_goes_on_leaves_points_where_they_were() -> None:
    features = three_groups()
    before, _ = project(features)
    moved = features + np.random.default_rng(1).normal(0, 0.2, features.shape)
    after, _ = project(moved, before)
    size = np.linalg.norm(before - before.mean(0), axis=1).mean()
    assert np.median(np.linalg.norm(after - before, axis=1)) < 0.25 * size
    before[::9] = np.nan  # images that came since
    after, _ = project(moved, before)
    assert np.isfinite(after).all()
    middles = np.stack([after[k::3].mean(0) for k in range(3)])
    nearest = np.linalg.norm(after[:, None] - middles, axis=2).argmin(1)
    assert (nearest == np.arange(90) % 3).mean() > 0.95


def test_a_large_map_whose_drawn_part_was_nowhere_before_is_laid_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labeler.projection.MOST", 60)
    before = np.full((300, 2), np.nan)
    drawn = np.random.default_rng(0).choice(300, 60, replace=False)
    before[np.setdiff1d(np.arange(300), drawn)[:3]] = [[0, 0], [1, 0], [0, 1]]
    places, method = project(three_groups(300), before)
    assert (method, np.isfinite(places).all()) == (TSNE, True)


@pytest.mark.parametrize("n", [1, 2, 5, 11, 13, 50])
def test_a_few_points_a_constant_and_copies_are_laid_out(n: int) -> None:
    rng = np.random.default_rng(n)
    for features in (rng.normal(size=(n, 4)), np.ones((n, 4)), np.repeat(rng.normal(size=(n, 1)), 4, 1)):
        places, method = project(features)
        assert places.shape == (n, 2)
        assert np.isfinite(places).all()
        assert method == (TSNE if n >= 12 and features.std() else PCA)
    alike, _ = project(np.ones((n, 4)))
    assert len(np.unique(alike, axis=0)) == n  # one does not hide the others


def test_principal_components_are_turned_to_where_the_points_were() -> None:
    features = np.random.default_rng(0).normal(size=(11, 3)) * [5, 2, 1]
    before, _ = project(features)
    turned = (before - before.mean(0)) @ np.array([[0, 1], [-1, 0]], np.float32)
    after, method = project(features, turned)
    assert method == PCA
    np.testing.assert_allclose(after, turned, atol=1e-3)


# ---------- made and kept ----------


def test_a_map_is_made_by_a_process_of_its_own(tmp_path: Path) -> None:
    told: list[bool] = []
    maker = Mapmaker(tmp_path / "cache", lambda: told.append(True))
    known = first_map(three_groups(), version=2, steps=90)
    assert (known.method, known.places.shape) == (PCA_FOR_NOW, (90, 2))
    maker.begin(three_groups(), known, version=3, steps=100)
    assert not maker.is_due(known, 200, idle=True, quiet=True)  # one at a time
    wait_for(lambda: told)
    made = maker.take()
    assert made is not None
    assert (made.version, made.steps, made.method, made.places.shape) == (3, 100, TSNE, (90, 2))
    np.testing.assert_array_equal(made.places, project(three_groups())[0])  # begun anew, not from where PCA had them
    assert list((tmp_path / "cache").iterdir()) == []
    assert maker.take() is None


def test_a_map_waits_until_nobody_labels(tmp_path: Path) -> None:
    maker = Mapmaker(tmp_path / "cache", lambda: None)

    def due(known: Map, steps: int) -> list[bool]:
        assert maker.is_due(known, steps, idle=True, quiet=False) == maker.is_due(known, steps, False, False)
        return [
            maker.is_due(known, steps, idle, quiet) for idle, quiet in ((False, False), (False, True), (True, True))
        ]

    for_now = first_map(three_groups(), version=1, steps=100)
    made = Map(for_now.places, 1, 100, TSNE)
    more = made.of(np.arange(90), np.arange(91))  # an image lacks a place
    assert due(for_now, 100) == [False, True, True]
    assert due(made, 100) == [False, False, False]
    assert due(made, 149) == [False, False, True]
    assert due(made, 150) == [False, True, True]
    assert due(more, 100) == [False, True, True]
    assert due(made, 399) == [False, True, True]
    assert due(made, 400) == [True, True, True]  # in a long sitting it comes nevertheless


def test_a_map_that_cannot_be_made_or_is_not_wanted_leaves_nothing(tmp_path: Path) -> None:
    maker = Mapmaker(tmp_path / "cache", lambda: None)
    maker.begin(np.full((50, 4), np.nan), None, 1, 10)
    maker.wait()
    assert maker.take() is None
    known = first_map(three_groups(), 1, 10)
    assert not maker.is_due(known, 10, idle=True, quiet=True)  # the same would fail again
    maker.begin(three_groups(), None, 1, 20)
    maker.close()
    assert not maker.busy
    assert maker.is_due(known, 20, idle=False, quiet=True)
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize(("quiet", "method"), [(1000.0, PCA_FOR_NOW), (0.5, TSNE)])
def test_a_trainer_at_rest_waits_until_nobody_has_labeled_for_a_while(
    quiet: float, method: str, digit_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the end of the warm-up there is nothing to learn, and somebody is about to give the first label."""
    monkeypatch.setattr("labeler.course.QUIET", quiet)
    p = digit_project
    p.store.set_setting("map", True)

    def how() -> str | None:
        published = p.published()
        found = published and maps.read(published.folder, len(published.sample_ids))
        return found.method if found else None

    with at_work(p):
        wait_for(lambda: how() and rests(p))
        if method == PCA_FOR_NOW:
            time.sleep(1)  # it would have begun by now
            assert not list((p.folder / "cache").glob(f"{maps.DRAFT}*"))
        wait_for(lambda: how() == method)


def test_training_makes_a_map_and_every_version_after_it_has_it(digit_project: Project) -> None:
    p = digit_project
    p.store.set_setting("map", True)
    train(p.folder, until_settled=True)
    published = p.published()
    assert published is not None
    made = maps.read(published.folder, len(published.sample_ids))
    assert made is not None
    assert np.isfinite(made.places).all()
    assert made.method == TSNE
    p.loop("ann").answer(int(p.store.sample_ids("pool")[0]), 1)
    train(p.folder, until_settled=True)
    now = p.published()
    assert now is not None
    assert now.version > published.version
    again = maps.read(now.folder, len(now.sample_ids))
    assert again is not None
    assert again.version > made.version
    size = np.linalg.norm(made.places - made.places.mean(0), axis=1).mean()
    assert np.median(np.linalg.norm(again.places - made.places, axis=1)) < size


def test_maps_are_pruned_with_the_arrays_and_a_torn_one_is_none(tmp_path: Path) -> None:
    with small_project(tmp_path / "project", n=4, classes=CLASSES[:3]) as p:
        for version in (1, 2, 3, 4):
            publish_beliefs(p, version=version)
            maps.write(home(p.folder, version), Map(np.zeros((4, 2), np.float32), version, 10, PCA))
        prune(p.folder, p.store)
        there = [version for version in (1, 2, 3, 4) if (home(p.folder, version) / MAP).exists()]
        assert there == [3, 4]
        assert maps.read(home(p.folder, 4), 4) is not None
        assert maps.read(home(p.folder, 4), 5) is None
        (home(p.folder, 4) / MAP).write_bytes(b"torn")
        assert maps.read(home(p.folder, 4), 4) is None
        with pytest.raises(FileNotFoundError):
            maps.write(tmp_path / "gone", Map(np.zeros((4, 2), np.float32), 1, 10, PCA))


# ---------- told ----------


@pytest.fixture
def project_with_map(tmp_path: Path) -> Iterator[Project]:
    """Forty images, some of which measure; taken for class 1 or 2 in turn; on a line."""
    with small_project(tmp_path / "project", n=40, classes=CLASSES[:3], measure_share=0.25) as p:
        publish_beliefs(p)
        places = np.stack([np.arange(40), np.zeros(40)], 1).astype(np.float32)
        maps.write(home(p.folder, 1), Map(places, 1, 10, TSNE))
        yield p


@pytest.fixture
def client(project_with_map: Project) -> Iterator[TestClient]:
    with TestClient(build(project_with_map), base_url="http://127.0.0.1") as c:
        c.post("/labeler/name", json={"name": "ann"})
        yield c
    collect_unclosed()


def block(client: TestClient, name: str) -> dict[str, Any]:
    answer = client.get(f"/labeler/map/{name}")
    assert answer.status_code == 200
    size = int.from_bytes(answer.content[:4], "little")
    head = json.loads(answer.content[4 : 4 + size])
    found, at = dict(head), 4 + size
    for array, kind, length in head["arrays"]:
        found[array] = np.frombuffer(answer.content, f"<{kind}", length, at)
        at += found[array].nbytes
    assert at == len(answer.content)
    return found


def test_places_and_facts_come_as_bytes_and_only_when_they_are_new(
    project_with_map: Project, client: TestClient
) -> None:
    p = project_with_map
    places = block(client, "places")
    assert (places["version"], places["method"], places["n"]) == (1, TSNE, 40)
    assert places["ids"].tolist() == list(range(1, 41))
    np.testing.assert_array_equal(places["places"].reshape(40, 2)[:, 0], np.arange(40))
    for name in ("places", "facts"):
        tag = client.get(f"/labeler/map/{name}").headers["etag"]
        assert client.get(f"/labeler/map/{name}", headers={"if-none-match": tag}).status_code == 304
    pool = p.store.sample_ids("pool").tolist()
    p.loop("ben", "tab").answer(pool[0], CLASSES[2])
    p.loop("eve", "tab").skip(pool[1])
    assert client.get("/labeler/map/facts", headers={"if-none-match": tag}).status_code == 200
    facts = block(client, "facts")
    assert facts["people"] == ["ben", "eve"]
    row = [i - 1 for i in pool[:3]]
    assert facts["label"][row].tolist() == [3, 0, 0]
    assert facts["who"][row].tolist() == [1, 2, 0]
    assert [facts["kinds"][k] for k in facts["kind"][row]] == ["label", "skip", "open"]
    assert facts["guess"][row].tolist() == [1 + i % 2 for i in row]
    sure = np.linspace(0.9, 0.5, 40)[row]
    np.testing.assert_allclose(facts["sure"][row] / 255, sure, atol=0.003)
    np.testing.assert_allclose(facts["doubt"][row] / 255, 1 - (sure - np.maximum(0.98 - sure, 0.02)), atol=0.003)
    assert len(client.get("/labeler/map/facts").content) < 40 * 12 + 400


def test_of_images_that_measure_or_are_asked_of_several_nothing_is_told_that_the_model_believes(
    project_with_map: Project, client: TestClient
) -> None:
    p = project_with_map
    measured = p.store.sample_ids("measure").tolist()
    assert measured
    p.loop("ann", "tab").answer(measured[0], CLASSES[0])
    p.store.set_overlap(0.4, 2)
    several = p.store.asked_of_several()
    facts = block(client, "facts")
    blind = {i for i in range(1, 41) if facts["blind"][i - 1]}
    assert blind == set(measured) | several
    rows = [i - 1 for i in blind]
    assert not any(facts[name][rows].any() for name in ("guess", "sure", "doubt"))
    assert facts["guess"][[i for i in range(40) if i not in rows]].all()
    for sample_id in (measured[0], next(iter(several))):
        told = client.get(f"/labeler/map/image/{sample_id}").json()
        assert (told["guess"], told["prob"], told["blind"]) == (None, None, True)
    other = next(i for i in range(1, 41) if i not in blind)
    told = client.get(f"/labeler/map/image/{other}").json()
    assert (told["sample_id"], told["guess"], told["kind"]) == (other, 2 - other % 2, "open")
    assert client.get("/labeler/map/image/999").status_code == 404


def test_before_the_first_map_there_is_none(tmp_path: Path) -> None:
    with (
        small_project(tmp_path / "new", n=4, classes=CLASSES[:3]) as p,
        TestClient(build(p), base_url="http://127.0.0.1") as c,
    ):
        assert [c.get(f"/labeler/map/{name}").status_code for name in ("places", "facts")] == [204, 204]
        publish_beliefs(p, labels=0)
        assert [c.get(f"/labeler/map/{name}").status_code for name in ("places", "facts")] == [204, 200]
        assert block(c, "facts")["blind"].all()  # a model that knows no label guesses nothing
    collect_unclosed()


def test_classes_that_changed_since_count_as_they_are_now(project_with_map: Project, client: TestClient) -> None:
    p = project_with_map
    first = int(p.store.sample_ids("pool")[0])
    p.loop("ann", "tab").answer(first, CLASSES[1])
    before = block(client, "facts")
    p.classes.merge([CLASSES[1]], CLASSES[0])
    facts = block(client, "facts")
    assert (before["label"][first - 1], facts["label"][first - 1]) == (2, 1)
    assert set(facts["guess"][facts["blind"] == 0].tolist()) == {1}
    assert KINDS[facts["kind"][first - 1]] == "label"
