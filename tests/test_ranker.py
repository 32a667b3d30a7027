"""A label changes the ranking at once: spread over the graph, last layer refitted, published beside the version."""

import itertools
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from labeler import Project, published, ranker
from labeler.learning import SOON, Learning
from labeler.lookout import Lookout
from labeler.ranker import Ranker, rank_now
from model import features, graph
from model.checkpoint import Model
from model.head import Head, Ridge, agreed
from model.instant import Instant

QUICK = {
    "warm_up_steps": 30, "batch": 48, "labeled_batch": 16, "partial_batch": 8, "graph_size": 200,
}  # fmt: skip


@pytest.fixture
def learning(tmp_path: Path, digits: tuple[np.ndarray, np.ndarray]) -> Iterator[Learning]:
    """250 digits after a short warm-up and its version, which knows no label yet."""
    images, labels = digits
    np.savez(tmp_path / "pool.npz", x=images[:250], y=labels[:250])
    with Project.create(tmp_path / "project", [str(k) for k in range(10)]) as p:
        p.import_(tmp_path / "pool.npz", measure_share=0)
        p.store.set_setting("learner", QUICK)
        found = Learning(p)
        found.improve(30)
        found.publish("coverage")
        yield found


@pytest.fixture
def groups() -> tuple[graph.Graph, torch.Tensor, np.ndarray]:
    """Three groups of 60 points in 8 dimensions, the features of all, the group of each."""
    rng = np.random.default_rng(0)
    centres = 4 * np.eye(3, 8)
    group = np.repeat(np.arange(3), 60)
    h = torch.from_numpy(centres[group] + rng.normal(size=(180, 8))).float()
    return graph.build(np.arange(180), h), h, group


def test_a_label_more_changes_one_column_and_gives_what_spreading_all_of_them_gives(
    groups: tuple[graph.Graph, torch.Tensor, np.ndarray],
) -> None:
    nodes, _, _ = groups
    rows, labels = np.array([0, 70, 130, 5]), np.array([0, 1, 2, 0])
    before, kept = graph.propagate(nodes, rows[:3], labels[:3], 3), dict(nodes.walked)
    after = graph.propagate(nodes, rows, labels, 3)
    np.testing.assert_allclose(after, graph.propagate(replace(nodes), rows, labels, 3), atol=1e-6)
    assert not np.allclose(after, before)
    assert [nodes.walked[k] is kept[k] for k in range(3)] == [False, True, True]


def test_labels_one_by_one_give_what_all_at_once_give_in_whatever_order(
    groups: tuple[graph.Graph, torch.Tensor, np.ndarray],
) -> None:
    """The first of a class, two on one node, and more of them than walks are kept."""
    nodes, _, group = groups
    rows = np.append(np.random.default_rng(1).permutation(180)[: graph.KEPT + 20], [70, 70])
    for n in range(1, len(rows) + 1):
        probs = graph.propagate(nodes, rows[:n], group[rows[:n]], 3)
    np.testing.assert_allclose(probs, graph.propagate(replace(nodes), rows, group[rows], 3), atol=1e-6)
    assert len(nodes.begun) == graph.KEPT


def test_a_label_that_was_expected_takes_no_walk(
    groups: tuple[graph.Graph, torch.Tensor, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes, h, _ = groups
    layer = Head(torch.zeros(3, 8), torch.zeros(3))
    instant, other = (Instant(replace(nodes), h, layer) for _ in range(2))
    for one in (instant, other):
        one.learn({0: 0, 70: 1, 130: 2})
    other.learn({0: 0, 70: 1, 130: 2, 5: 0})
    instant.expect(5)
    instant.expect(1000)  # not in the graph
    monkeypatch.setattr(graph, "_spread", lambda graph, y, steps: y if not y.size else pytest.fail("a walk was taken"))
    instant.learn({0: 0, 70: 1, 130: 2, 5: 0})
    assert np.array_equal(instant.probs(), other.probs())


def test_a_class_more_and_a_label_taken_back_leave_nothing_behind(
    groups: tuple[graph.Graph, torch.Tensor, np.ndarray],
) -> None:
    nodes, _, _ = groups
    graph.propagate(nodes, np.array([0, 70]), np.array([0, 1]), 2)
    three = graph.propagate(nodes, np.array([0, 130]), np.array([0, 2]), 3)
    np.testing.assert_allclose(
        three, graph.propagate(replace(nodes), np.array([0, 130]), np.array([0, 2]), 3), atol=1e-6
    )
    assert not nodes.walked[1].reaches.any()


def test_a_label_outside_the_graph_stays_with_the_node_that_was_most_like_it_at_first(
    groups: tuple[graph.Graph, torch.Tensor, np.ndarray],
) -> None:
    _, h, group = groups
    inside = np.arange(0, 180, 2)
    nodes = graph.build(inside, h[inside])
    rows, classes, known = graph.placed(nodes, {61: 0, 120: 2}, h)
    assert group[inside[rows]].tolist() == [1, 2]
    assert (classes.tolist(), known.tolist()) == ([0, 2], [False, True])
    later, _, _ = graph.placed(nodes, {3: 0, 61: 1, 120: 2}, h.flip(0))  # features move while the graph lasts
    assert later.tolist() == [later[0], *rows]
    assert group[inside[later[0]]] == 2


def test_the_refitted_layer_classifies_images_outside_the_graph(
    groups: tuple[graph.Graph, torch.Tensor, np.ndarray],
) -> None:
    _, h, group = groups
    inside = np.arange(0, 180, 2)
    nodes = graph.build(inside, h[inside])
    instant = Instant(nodes, h, Head(torch.zeros(3, 8), torch.zeros(3)))
    instant.learn({0: 0, 60: 1, 120: 2})
    assert (instant.probs().argmax(1) == group)[1::2].mean() > 0.9
    assert np.allclose(instant.probs().sum(1), 1, atol=1e-5)
    instant.learn({0: 2, 60: 1, 120: 0})  # two corrections
    assert (instant.probs().argmax(1) == 2 - group).mean() > 0.9
    instant.learn({61: 0})  # no node of the graph
    assert (instant.probs()[60:120].argmax(1) == 0).all()
    instant.learn({})
    assert instant.head is None


def test_the_refitted_layer_is_as_sure_as_it_is_to_be_and_decides_the_same(
    groups: tuple[graph.Graph, torch.Tensor, np.ndarray],
) -> None:
    _, h, group = groups
    ridge = Ridge(h)
    head = ridge.fit(torch.from_numpy(group), 3)
    sure = np.eye(3, dtype=np.float32)[group] * 0.97 + 0.01
    doubtful = np.full_like(sure, 1 / 3)
    both = ridge.calibrated(head, torch.from_numpy(agreed(sure, sure))).probs(h)
    one = ridge.calibrated(head, torch.from_numpy(agreed(sure, doubtful))).probs(h)
    assert both.max(1).mean() > one.max(1).mean() + 0.05
    assert np.array_equal(both.argmax(1), one.argmax(1))


FEW = {0: 0, 70: 1, 130: 2}


def test_with_many_labels_the_layer_is_as_sure_as_the_network_that_learned_them(
    groups: tuple[graph.Graph, torch.Tensor, np.ndarray],
) -> None:
    """With few it is as sure as the graph, whatever the network says: an unsure one does not make it unsure."""
    nodes, h, group = groups
    centres = torch.stack([h[group == k].mean(0) for k in range(3)])
    surenesses = []
    for scale in (0.02, 1.0):  # of the network's logits: it is hardly sure of anything, or quite
        network = Head(scale * centres, -scale * (centres**2).sum(1) / 2)
        for n in (3, 180):
            instant = Instant(nodes, h, network)
            instant.learn(
                {int(i): int(group[i]) for i in np.random.default_rng(0).permutation(180)[:n]} if n > 3 else FEW
            )
            surenesses.append(instant.probs().max(1).mean())
    few_unsure, many_unsure, few_sure, many_sure = surenesses
    assert abs(few_sure - few_unsure) < 0.1
    assert many_sure > many_unsure + 0.3


def test_the_ranking_after_a_label_knows_it_before_any_step(
    learning: Learning, digits: tuple[np.ndarray, np.ndarray]
) -> None:
    project, truth = learning.project, digits[1]
    version = project.published()
    assert version is not None
    assert version.as_written is None
    loop, right = project.loop(), []
    for _ in range(40):
        question = loop.ask()
        assert question is not None
        loop.answer(question.sample_id, str(truth[question.sample_id - 1]))
        right.append(question.sample_id)
        assert rank_now(learning, np.random.default_rng(0), "coverage")
    found = project.published()
    assert found is not None
    assert (found.version, learning.learner.step) == (version.version, 30)
    assert found.last_event_id == project.store.last_event_id()
    assert not set(right) & set(found.ranking.tolist())
    assert len(found.ranking) == 210
    accuracy = (found.probs.argmax(1) == truth[:250]).mean()
    assert accuracy > 0.6, accuracy  # the version itself knows no label
    assert (version.probs.argmax(1) == truth[:250]).mean() < 0.4


def test_a_ranking_on_a_version_that_is_gone_is_none(learning: Learning) -> None:
    learning.project.loop().answer(1, "3")
    assert learning.look is not None
    for file in learning.look[0].iterdir():
        file.unlink()
    learning.look[0].rmdir()
    assert not rank_now(learning, np.random.default_rng(0), "coverage")


def test_a_torn_ranking_is_as_none(learning: Learning) -> None:
    project = learning.project
    project.loop().answer(1, "3")
    rank_now(learning, np.random.default_rng(0), "coverage")
    assert learning.look is not None
    file = learning.look[0] / "ranking.npz"
    file.write_bytes(file.read_bytes()[:1000])
    with Project.open(project.folder) as again:
        found = again.published()
        assert found is not None
        assert found.as_written is None
        assert len(found.ranking) == 250


def test_the_thread_ranks_after_each_label_and_ends_with_its_trainer(learning: Learning) -> None:
    project, ended = learning.project, threading.Event()
    lookout = Lookout(project.store, ended)
    thread = Ranker(project.store, lambda: learning, lookout, ended)
    lookout.start()
    thread.start()
    loop = project.loop()
    for i in range(3):
        loop.answer(i + 1, i)
        event, end = project.store.last_event_id(), time.monotonic() + 30
        while (found := project.published()) is None or found.last_event_id < event:
            assert time.monotonic() < end, "no ranking"
            time.sleep(0.01)
        assert i + 1 not in found.ranking
    ended.set()
    thread.join(10)
    assert not thread.is_alive()


def test_labels_of_what_is_asked_next_are_prepared_for_until_something_comes(learning: Learning) -> None:
    lookout = Lookout(learning.store, threading.Event())
    thread = Ranker(learning.store, lambda: learning, lookout, threading.Event())
    learning.project.loop().answer(1, 0)
    assert rank_now(learning, np.random.default_rng(0), "coverage")
    assert learning.look is not None
    nodes = learning.look[1].graph
    thread._expect(lookout.news + 1)
    assert not nodes.begun
    thread._expect(lookout.news)
    found = learning.project.published()
    assert found is not None
    rows = nodes.rows_of(np.searchsorted(learning.sample_ids, found.ranking[:SOON]))
    assert rows.min() >= 0
    assert sorted(row for row, _ in nodes.begun) == sorted(rows.tolist())


def test_training_waits_while_a_ranking_is_made(learning: Learning, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, enough, ended = threading.Event(), threading.Event(), threading.Event()

    def slow(learning: Learning, rng: np.random.Generator, acquisition: str) -> bool:
        begun.set()
        return enough.wait(30)

    monkeypatch.setattr(ranker, "rank_now", slow)
    monkeypatch.setattr(ranker, "LONGEST", 30.0)
    lookout = Lookout(learning.store, ended)
    thread = Ranker(learning.store, lambda: learning, lookout, ended)
    learning.pause = thread.let_pass
    learning.improve(1)  # nothing is being ranked
    assert learning.learner.step == 31
    lookout.start()
    thread.start()
    learning.project.loop().answer(1, 0)
    assert begun.wait(30)
    steps = threading.Thread(target=learning.improve, args=(1,))
    steps.start()
    steps.join(0.3)
    assert learning.learner.step == 31
    enough.set()
    steps.join(30)
    assert learning.learner.step == 32
    ended.set()
    thread.join(10)


def test_what_is_urgent_may_go_first_between_the_parts_of_a_version(
    learning: Learning, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    again = Learning(learning.project, pause=lambda: done.append("pause"))
    again.resume()

    def noted(owner: object, name: str) -> None:
        of = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *args, **kwargs: (done.append(name), of(*args, **kwargs))[1])

    for owner, name in ((Learning, "rank"), (Learning, "metrics"), (Model, "strip"), (published, "publish")):
        noted(owner, name)
    monkeypatch.setattr(features, "CHUNK", 50)
    again.publish("coverage")
    assert done[:5] == 5 * ["pause"], "250 images are seen in five parts"
    assert [name for name in done if name != "pause"] == ["rank", "strip", "metrics", "publish"]
    assert all(before == "pause" for before, name in itertools.pairwise(done) if name in ("rank", "strip", "metrics"))


@pytest.mark.parametrize(("n", "n_classes"), [(0, 3), (7, 1), (2500, 2), (1000, 100)])
def test_probabilities_of_a_layer_are_its_softmax(n: int, n_classes: int) -> None:
    generator = torch.Generator().manual_seed(0)
    h = torch.randn(n, 6, generator=generator).bfloat16()
    head = Head(torch.randn(n_classes, 6, generator=generator), torch.randn(n_classes, generator=generator))
    found = head.probs(h)
    assert (found.dtype, found.shape) == (np.float32, (n, n_classes))
    assert np.allclose(found, (h.double() @ head.weight.double().T + head.bias.double()).softmax(1).numpy(), atol=1e-6)
