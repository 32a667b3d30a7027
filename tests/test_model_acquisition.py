"""Scores against enumeration and slower truths; the graph against its closed form; the order of a ranking."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage
from scipy import sparse as sp
from sklearn.datasets import load_digits

from model import ACQUISITIONS, acquisition, graph, scores

WITH_MODEL = [name for name in ACQUISITIONS if name != "random"]


@pytest.fixture
def probs() -> np.ndarray:
    return np.array([[0.98, 0.01, 0.01], [0.5, 0.45, 0.05], [0.4, 0.3, 0.3]], np.float32)


def clusters(n: int = 60) -> tuple[graph.Graph, np.ndarray]:
    """Three tight groups of n nodes; position 1000 + row, so that a row taken for a position shows."""
    rng = np.random.default_rng(0)
    centres = np.eye(3, 8) * 5
    which = np.repeat(np.arange(3), n)
    h = centres[which] + rng.normal(0, 0.3, (3 * n, 8))
    return graph.build(1000 + np.arange(3 * n), torch.from_numpy(h).float()), which


def ranked(name: str, g: graph.Graph, probs: np.ndarray, labeled: list[int], rng_seed: int = 0) -> np.ndarray:
    """All positions of the graph that are not labeled, as `name` would ask them."""
    is_open = np.setdiff1d(g.positions, labeled)
    rng, none = np.random.default_rng(rng_seed), np.empty(0, np.int64)
    return acquisition.rank(name, probs, is_open, g, np.array(labeled, np.int64), none, rng)[1]


# ---------- scores ----------
def test_scores_are_higher_where_a_label_is_wanted_more(probs: np.ndarray) -> None:
    np.testing.assert_allclose(scores.least_confident(probs), [0.02, 0.5, 0.6], atol=1e-6)
    np.testing.assert_allclose(scores.margin(probs), [0.03, 0.95, 0.9], atol=1e-6)
    truth = [-sum(p * np.log(p) for p in row) for row in probs.tolist()]
    np.testing.assert_allclose(scores.entropy(probs), truth, rtol=1e-5)


def test_one_class_alone_leaves_no_doubt() -> None:
    assert scores.margin(np.ones((4, 1), np.float32)).tolist() == [0, 0, 0, 0]


def test_most_wanted_takes_ids_and_gives_ids() -> None:
    ids = np.array([70, 80, 90])
    assert scores.most_wanted(np.array([0.1, 0.9, 0.5]), ids, n=2).tolist() == [80, 90]


def test_bald_is_the_mutual_information_under_the_whole_posterior_of_the_last_layer() -> None:
    """Against the (C D, C D) covariance in full and many heads; labeled images alike in p, where the mean is exact."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(40, 5))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    probs = rng.dirichlet(np.ones(3), 40)
    labeled = np.arange(6)
    probs[labeled] = [0.6, 0.3, 0.1]
    logits = np.log(probs) - np.log(probs).mean(1, keepdims=True)
    prior = logits.var(0).mean()
    curvature = np.diag([0.6, 0.3, 0.1]) - np.outer([0.6, 0.3, 0.1], [0.6, 0.3, 0.1])
    precision = np.eye(15) / prior + np.kron(curvature, features[labeled].T @ features[labeled])
    drawn = rng.multivariate_normal(np.zeros(15), np.linalg.inv(precision), 20_000).reshape(-1, 3, 5)
    of_heads = np.exp(logits[:, None] + np.einsum("kcd,nd->nkc", drawn, features))
    of_heads /= of_heads.sum(2, keepdims=True)
    truth = scores.entropy(of_heads.mean(1)) - scores.entropy(of_heads.reshape(-1, 3)).reshape(40, -1).mean(1)
    unit, p = torch.from_numpy(features).float(), probs.astype(np.float32)
    found = acquisition.bald(p, unit, labeled, np.random.default_rng(1), heads=4000)
    np.testing.assert_allclose(found, truth, atol=0.015)
    before = acquisition.bald(p, unit, labeled[:0], np.random.default_rng(1), heads=4000)
    assert (found[labeled] < before[labeled]).all()  # a label tells something about its own neighbourhood


def test_bald_has_scores_whatever_few_labeled_features_are_like() -> None:
    """Single-precision eigenvectors of matrices of low rank are NaN now and then, or do not converge."""
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(10), 80).astype(np.float32)
    for i in range(150):
        h = np.maximum(rng.normal(size=(80, 2 + i % 40)) @ rng.normal(size=(2 + i % 40, 256)), 0)
        unit = F.normalize(torch.from_numpy((h * (rng.random(256) < 0.5)).astype(np.float32)), dim=1)
        assert np.isfinite(acquisition.bald(p, unit, np.arange(40), rng, heads=1)).all()


def test_badge_picks_what_kmeans_plus_plus_picks_on_the_gradients_written_out() -> None:
    rng = np.random.default_rng(0)
    features, p = rng.normal(size=(50, 6)).astype(np.float32), rng.dirichlet(np.ones(4), 50).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    is_open = rng.random(50) < 0.7
    gradients = ((p - np.eye(4)[p.argmax(1)])[:, :, None] * features[:, None]).reshape(50, -1)
    size, picked, twins = acquisition.badge(p, torch.from_numpy(features), is_open, 0, 12, np.random.default_rng(3))
    np.testing.assert_allclose(size, np.linalg.norm(gradients, axis=1), rtol=1e-5)
    draws, distance, truth = np.random.default_rng(3), np.where(is_open, (gradients**2).sum(1), 0), []
    while len(truth) < 12:
        up_to = np.cumsum(distance)
        truth.append(int(np.searchsorted(up_to, draws.random() * up_to[-1]) if truth else distance.argmax()))
        distance = np.minimum(distance, ((gradients - gradients[truth[-1]]) ** 2).sum(1))
    assert picked == truth
    assert is_open[picked].all()
    assert twins == []


def test_typicality_asks_in_every_group_before_it_asks_in_one_that_has_a_label() -> None:
    g, which = clusters()
    three = acquisition.Clusters(g, which, 3)
    picked = acquisition.typical(g, three, np.array([3]), np.ones(180, bool), 5)
    assert sorted(which[picked]) == [1, 2]
    for row in picked:
        assert g.typicality[row] == g.typicality[which == which[row]].max()


def test_clusters_are_kept_until_there_are_more_questions_than_clusters() -> None:
    g, _ = clusters(100)
    rng = np.random.default_rng(0)
    first = acquisition.clusters(g, 0, rng)
    assert len(np.unique(first.of)) > acquisition.GREEDY
    assert acquisition.clusters(g, acquisition.GREEDY, rng, first) is first
    assert acquisition.clusters(g, acquisition.GREEDY + 1, rng, first).n > first.n
    assert acquisition.clusters(clusters()[0], 0, rng, first) is not first


# ---------- the neighbour graph ----------
def test_one_label_a_group_names_the_whole_group() -> None:
    g, which = clusters()
    found = graph.propagate(g, np.array([3, 70, 150]), np.array([0, 1, 2]), 3)
    assert (found.argmax(1) == which).all()
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)


def test_a_label_walks_further_where_there_are_more_images() -> None:
    lengths = [graph.walk_length(n) for n in (2, 400, 1200, 4000, 20_000, 10**6)]
    assert lengths == [4, 4, 7, 13, 30, 30]
    chain = sp.diags([0.5, 0.5], [-1, 1], shape=(400, 400)).tocsr()
    g = replace(clusters()[0], positions=np.arange(400), affinity=chain)
    probs = graph.propagate(g, np.array([200, 0]), np.array([0, 1]), 2)
    reached = np.flatnonzero(probs[:, 0] > 0.5)
    assert (reached.min(), reached.max()) == (196, 204)


def test_propagation_converges_to_its_closed_form() -> None:
    g, _ = clusters(12)
    y = np.zeros((36, 3))
    y[[1, 2, 13, 30], [0, 0, 1, 2]] = 0.5, 0.5, 1, 1
    truth = 0.01 * np.linalg.solve(np.eye(36) - 0.99 * g.affinity.toarray(), y)
    truth /= truth.sum(1, keepdims=True)
    found = graph.propagate(g, np.array([1, 2, 13, 30]), np.array([0, 0, 1, 2]), 3, steps=2000)
    np.testing.assert_allclose(found, truth, atol=1e-3)


def test_two_labels_of_one_node_are_two_shares_of_their_class() -> None:
    """Of images outside the graph that are most like the same node."""
    h = torch.randn(200, 8, generator=torch.Generator().manual_seed(0))
    g = graph.build(np.arange(200), h)
    once = graph.propagate(g, np.array([3, 50]), np.array([0, 1]), 2)
    twice = graph.propagate(g, np.array([3, 3, 50]), np.array([0, 0, 1]), 2)
    np.testing.assert_allclose(twice, once, rtol=1e-4)


def test_a_node_that_no_label_reaches_is_undecided() -> None:
    g, _ = clusters()
    cut = replace(g, affinity=g.affinity.multiply(0).tocsr())
    found = graph.propagate(cut, np.array([0]), np.array([1]), 3)
    np.testing.assert_allclose(found[5], 1 / 3)


def test_rows_of_positions_that_the_graph_does_not_hold_are_minus_one() -> None:
    g, _ = clusters()
    assert g.rows_of(np.array([1000, 5, 1179, 9999])).tolist() == [0, -1, 179, -1]


def test_copies_of_one_image_do_not_make_it_typical() -> None:
    rng = np.random.default_rng(0)
    h = rng.normal(size=(300, 6))
    h[:20] = h[0] + rng.normal(0, 1e-3, (20, 6))
    g = graph.build(np.arange(300), torch.from_numpy(h).float())
    assert g.typicality[:20].mean() < 6 * np.median(g.typicality[20:])


# ---------- cold start ----------
def test_prototypes_cover_the_groups_and_leave_out_what_is_decided() -> None:
    g, which = clusters()
    is_open = np.ones(180, bool)
    is_open[which == 1] = False
    rng = np.random.default_rng(0)
    assert set(which[acquisition.prototypes(g, 3, rng, np.ones(180, bool))]) == {0, 1, 2}
    assert set(which[acquisition.prototypes(g, 6, rng, is_open)]) == {0, 2}


def test_prototypes_leave_groups_to_the_labels_that_are_there() -> None:
    g, which = clusters()
    rng, labeled = np.random.default_rng(0), np.flatnonzero(which == 1)[:1]
    found = acquisition.prototypes(g, 2, rng, np.ones(180, bool), labeled)
    assert set(which[found]) == {0, 2}


def test_the_first_prototypes_cover_more_digits_than_as_many_at_random() -> None:
    h, y = load_digits(return_X_y=True)
    g = graph.build(np.arange(len(y)), torch.from_numpy(h).float())
    rng = np.random.default_rng(0)
    found = acquisition.prototypes(g, 10, rng, np.ones(len(y), bool))
    at_random = [len(set(y[rng.choice(len(y), 10)])) for _ in range(20)]
    assert len(set(y[found])) > np.mean(at_random) + 1
    assert len(set(found)) == 10


# ---------- rankings ----------
def test_coverage_goes_to_what_is_far_from_every_label_and_spreads_its_picks() -> None:
    g, which = clusters()
    doubt = np.ones(180, np.float32)
    wanted = acquisition.coverage(g, doubt, acquisition.near(g, np.array([1003])))
    assert wanted[which == 0].max() < wanted[which != 0].min()
    ranking = ranked("coverage", g, np.full((1180, 3), 1 / 3, np.float32), [1003])
    assert set(which[ranking[:2] - 1000]) == {1, 2}


@pytest.mark.parametrize("name", ACQUISITIONS)
def test_every_ranking_holds_each_open_position_once_and_the_cold_start_in_front(name: str) -> None:
    g, _ = clusters()
    rng = np.random.default_rng(0)
    all_probs = rng.dirichlet(np.ones(3), 1500).astype(np.float32)  # 1180 and on are outside the graph
    open_positions = np.arange(1000, 1500, 2)
    first = np.array([1100, 1101, 1050])  # 1101 is decided meanwhile
    labeled = np.array([1001, 1003])
    front = first if name != "random" else first[:0]
    found, ranking = acquisition.rank(name, all_probs, open_positions, g, labeled, front, rng)
    assert found.shape == (1500,)
    assert sorted(ranking) == open_positions.tolist()
    if name != "random":
        assert ranking[:2].tolist() == [1100, 1050]
        chosen, rest = ranking[: 2 + acquisition.GREEDY], ranking[2 + acquisition.GREEDY :]
        assert (chosen < 1180).all()
        assert (np.diff(found[rest]) <= 0).all()


@pytest.mark.parametrize("name", WITH_MODEL)
def test_what_one_ranking_leaves_for_the_next_changes_nothing_but_its_time(name: str) -> None:
    g, _ = clusters()
    all_probs = np.random.default_rng(0).dirichlet(np.ones(3), 1180).astype(np.float32)
    memory, none = acquisition.Memory(), np.empty(0, np.int64)
    for labeled in ([1001], [1001, 1090, 1170], [1090], [1090, 1003]):  # a label more, taken back, another
        if name == "typicality":
            memory.clusters = acquisition.Clusters(g, np.arange(180) // 6, 30)
        is_open = np.setdiff1d(g.positions, labeled)
        kept = acquisition.rank(name, all_probs, is_open, g, np.array(labeled), none, np.random.default_rng(1), memory)
        fresh = acquisition.Memory(clusters=memory.clusters)
        anew = acquisition.rank(name, all_probs, is_open, g, np.array(labeled), none, np.random.default_rng(1), fresh)
        np.testing.assert_allclose(kept[0], anew[0], atol=1e-6)
        assert kept[1].tolist() == anew[1].tolist()


@pytest.fixture(scope="module")
def copied_digits() -> tuple[graph.Graph, np.ndarray]:
    """1,200 digits and four near-copies of each of the first 60: (graph, number of the original of each)."""
    images = load_digits().images[:1200]
    some, rng = images[:60], np.random.default_rng(0)
    copies = [
        some,
        some * 1.05,
        some + rng.normal(0, 0.3, some.shape),
        ndimage.shift(some, (0, 0.1, 0.1), order=1, mode="nearest"),
    ]
    h = np.concatenate([images, *copies]).reshape(-1, 64)
    original = np.concatenate([np.arange(1200), np.tile(np.arange(60), 4)])
    return graph.build(np.arange(len(h)), torch.from_numpy(h).float()), original


@pytest.mark.parametrize("name", WITH_MODEL)
def test_near_copies_of_labeled_images_are_asked_last(name: str, copied_digits: tuple[graph.Graph, np.ndarray]) -> None:
    g, original = copied_digits
    probs = np.random.default_rng(0).dirichlet(np.ones(10), len(original)).astype(np.float32)
    probs[1200:] = 0.1  # what every score would ask first
    ranking = ranked(name, g, probs, list(range(60)))
    assert len(ranking) == len(original) - 60
    asked_early = np.isin(np.arange(1200, 1440), ranking[:900])
    assert asked_early.mean() < 0.02
    assert np.isin(np.arange(60, 1200), ranking[:1140]).mean() > 0.97  # hardly any other image is taken for a copy


@pytest.mark.parametrize("name", WITH_MODEL)
def test_the_head_of_a_ranking_holds_no_image_twice(name: str, copied_digits: tuple[graph.Graph, np.ndarray]) -> None:
    g, original = copied_digits
    probs = np.random.default_rng(0).dirichlet(10 * np.ones(10), len(original)).astype(np.float32)
    probs[original < 12] = 0.1  # twelve images with four copies each have the highest scores
    head = ranked(name, g, probs, [700, 800])[: acquisition.GREEDY]
    assert len(set(original[head])) == acquisition.GREEDY
    if name in scores.SCORES:
        assert len(set(range(12)) & set(original[head])) == 12


def test_the_rare_class_is_found_sooner_than_at_random() -> None:
    """Digits, ten of a class against a thousand others, seen through their pixels; five of the ten classes are rare."""
    h, y = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    keep = np.concatenate([rng.permutation(np.flatnonzero(y == k))[: 170 if k % 2 else 4] for k in range(10)])
    h, y = h[keep], y[keep]
    g = graph.build(np.arange(len(y)), torch.from_numpy(h).float())
    asked = acquisition.prototypes(g, 20, np.random.default_rng(0), np.ones(len(y), bool)).tolist()
    while len(set(y[asked])) < 10 and len(asked) < len(y):
        probs = graph.propagate(g, np.array(asked), y[asked], 10)
        asked.append(int(ranked("coverage", g, probs, asked)[0]))
    at_random = []
    for _ in range(50):
        order = rng.permutation(len(y))
        at_random.append(max(int(np.flatnonzero(y[order] == k)[0]) + 1 for k in range(10)))
    assert len(set(y[asked])) == 10
    assert len(asked) < 0.5 * np.mean(at_random)


# ---------- small and strange ----------
@pytest.mark.parametrize("n", [1, 2, 3, 5])
@pytest.mark.parametrize("name", WITH_MODEL)
def test_the_smallest_graphs_are_ranked(name: str, n: int) -> None:
    h = torch.from_numpy(np.random.default_rng(0).normal(size=(n, 4))).float()
    g = graph.build(10 * np.arange(n), h)
    probs = np.full((50, 2), 0.5, np.float32)
    assert sorted(ranked(name, g, probs, [])) == (10 * np.arange(n)).tolist()
    assert acquisition.prototypes(g, 20, np.random.default_rng(0), np.ones(n, bool)).size == n


@pytest.mark.parametrize("name", ACQUISITIONS)
def test_one_class_equal_images_and_nothing_left_to_ask_are_no_trouble(name: str) -> None:
    g, _ = clusters(20)
    assert sorted(ranked(name, g, np.ones((1060, 1), np.float32), [1000])) == list(range(1001, 1060))
    assert ranked(name, g, np.full((1060, 2), 0.5, np.float32), list(range(1000, 1060))).size == 0
    same = graph.build(np.arange(30), torch.ones(30, 4))
    assert sorted(ranked(name, same, np.full((30, 2), 0.5, np.float32), [3])) == [i for i in range(30) if i != 3]
    none = np.empty(0, np.int64)
    without = acquisition.rank(
        name, np.full((4, 2), 0.5, np.float32), np.arange(4), None, none, none, np.random.default_rng(0)
    )
    assert sorted(without[1]) == [0, 1, 2, 3]


def test_no_prototype_is_proposed_where_nothing_is_open() -> None:
    g, _ = clusters()
    assert acquisition.prototypes(g, 5, np.random.default_rng(0), np.zeros(180, bool)).size == 0


def test_an_unknown_acquisition_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="coverage, margin"):
        acquisition.rank("psychic", np.ones((1, 2)), np.array([0]), None, np.array([], int), np.array([], int), None)


def test_diversity_says_how_much_the_head_of_a_ranking_is_spread_out() -> None:
    """Three in a row are a little better than all others, and near each other though not the same."""
    angles = torch.tensor([0.0, 0.3, 0.6, 1.5, 2.5, 3.5])
    features = torch.stack([angles.cos(), angles.sin()], 1)
    weight, room = torch.tensor([1.0, 0.99, 0.98, 0.5, 0.5, 0.5]), torch.full((6,), 2.0)

    def head(diversity: float) -> list[int]:
        return acquisition.spread_out(features, weight, room, 2.0, 1e-3, 3, diversity)[0]

    assert head(0) == [0, 1, 2]
    assert head(1) == acquisition.spread_out(features, weight, room, 2.0, 1e-3, 3)[0]
    distance = [float(torch.cdist(features[head(d)], features[head(d)]).sum()) for d in (0, 1, 2)]
    assert distance[0] < distance[1] <= distance[2]
    assert not {1, 2} & set(head(2))
    copies = torch.cat([features[:1], features])
    assert acquisition.spread_out(copies, torch.ones(7), torch.full((7,), 2.0), 2.0, 1e-3, 3, 0.0) == ([0, 2, 3], [1])
