"""Scores against enumeration; the graph against its closed form; diverse picks."""

import numpy as np
import pytest
import torch

from model import ACQUISITIONS, acquisition, graph, scores


@pytest.fixture
def probs() -> np.ndarray:
    return np.array([[0.98, 0.01, 0.01], [0.5, 0.45, 0.05], [0.4, 0.3, 0.3]], np.float32)


def test_scores_are_higher_where_a_label_is_wanted_more(probs):
    np.testing.assert_allclose(scores.least_confident(probs), [0.02, 0.5, 0.6], atol=1e-6)
    np.testing.assert_allclose(scores.margin(probs), [0.03, 0.95, 0.9], atol=1e-6)
    truth = [-sum(p * np.log(p) for p in row) for row in probs.tolist()]
    np.testing.assert_allclose(scores.entropy(probs), truth, rtol=1e-5)


def test_one_class_alone_leaves_no_doubt():
    assert scores.margin(np.ones((4, 1), np.float32)).tolist() == [0, 0, 0, 0]


def test_most_wanted_takes_ids_and_gives_ids():
    ids = np.array([70, 80, 90])
    assert scores.most_wanted(np.array([0.1, 0.9, 0.5]), ids, n=2).tolist() == [80, 90]


def clusters(n: int = 60) -> tuple[graph.Graph, np.ndarray]:
    """Three tight groups of n nodes; position 1000 + row, so that a row taken for a position shows."""
    rng = np.random.default_rng(0)
    centres = np.eye(3, 8) * 5
    which = np.repeat(np.arange(3), n)
    h = centres[which] + rng.normal(0, 0.3, (3 * n, 8))
    return graph.build(1000 + np.arange(3 * n), torch.from_numpy(h).float()), which


def test_one_label_a_group_names_the_whole_group():
    g, which = clusters()
    found = graph.propagate(g, np.array([3, 70, 150]), np.array([0, 1, 2]), 3)
    assert (found.argmax(1) == which).all()
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)


def test_propagation_converges_to_its_closed_form():
    g, _ = clusters(12)
    y = np.zeros((36, 3))
    y[[1, 2, 13, 30], [0, 0, 1, 2]] = 0.5, 0.5, 1, 1
    truth = 0.01 * np.linalg.solve(np.eye(36) - 0.99 * g.affinity.toarray(), y)
    truth /= truth.sum(1, keepdims=True)
    found = graph.propagate(g, np.array([1, 2, 13, 30]), np.array([0, 0, 1, 2]), 3, steps=2000)
    np.testing.assert_allclose(found, truth, atol=1e-3)


def test_a_node_that_no_label_reaches_is_undecided():
    g, _ = clusters()
    cut = graph.Graph(g.positions, g.features, g.affinity.multiply(0).tocsr(), g.typicality, g.mean)
    found = graph.propagate(cut, np.array([0]), np.array([1]), 3)
    np.testing.assert_allclose(found[5], 1 / 3)


def test_rows_of_positions_that_the_graph_does_not_hold_are_minus_one():
    g, _ = clusters()
    assert g.rows_of(np.array([1000, 5, 1179, 9999])).tolist() == [0, -1, 179, -1]


def test_the_graph_of_two_images_can_be_built():
    g = graph.build(np.array([4, 9]), torch.eye(2))
    assert g.affinity.shape == (2, 2)


def test_prototypes_cover_the_groups_and_leave_out_what_is_decided():
    g, which = clusters()
    is_open = np.ones(180, bool)
    is_open[which == 1] = False
    rng = np.random.default_rng(0)
    assert set(which[acquisition.prototypes(g, 3, rng, np.ones(180, bool))]) == {0, 1, 2}
    assert set(which[acquisition.prototypes(g, 3, rng, is_open)]) == {0, 2}


def test_coverage_goes_to_what_is_far_from_every_label_and_spreads_its_picks():
    g, which = clusters()
    doubt = np.ones(180, np.float32)
    wanted, rows = acquisition.coverage(g, doubt, np.array([3]), np.ones(180, bool), 2)
    assert set(which[rows]) == {1, 2}
    assert wanted[which == 0].max() < wanted[which != 0].min()


@pytest.mark.parametrize("name", ACQUISITIONS)
def test_every_ranking_holds_each_open_position_once_and_the_cold_start_in_front(name):
    g, _ = clusters()
    rng = np.random.default_rng(0)
    all_probs = rng.dirichlet(np.ones(3), 1180).astype(np.float32)
    open_positions = np.arange(1000, 1180, 2)
    first = np.array([1100, 1101, 1050])  # 1101 is decided meanwhile
    labeled = np.array([1001, 1003])
    front = first if name != "random" else first[:0]
    found, ranking = acquisition.rank(name, all_probs, open_positions, g, labeled, front, rng)
    assert found.shape == (1180,)
    assert sorted(ranking) == open_positions.tolist()
    if name != "random":
        assert ranking[:2].tolist() == [1100, 1050]
    if name in ("margin", "entropy", "least_confident"):
        assert (np.diff(found[ranking[2:]]) <= 0).all()


def test_an_unknown_acquisition_names_the_known_ones():
    with pytest.raises(ValueError, match="coverage, margin"):
        acquisition.rank("psychic", np.ones((1, 2)), np.array([0]), None, np.array([], int), np.array([], int), None)
