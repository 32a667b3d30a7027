"""The search for classes that nobody has named, on graphs made of a few well-separated groups."""

import numpy as np
import pytest
import torch

from model import graph, novel_classes
from model.graph import Graph


@pytest.fixture(autouse=True)
def _fewer_steps(monkeypatch):
    """The groups here lie far apart: a fraction of the steps finds them."""
    monkeypatch.setattr(novel_classes, "STEPS", 120)
    monkeypatch.setattr(novel_classes, "PAIRS", 128)


def groups(sizes: list[int], rng_seed: int = 0, width: int = 16) -> tuple[Graph, np.ndarray]:
    """A graph of `sizes` nodes around one direction each, in random order, and the group of every node."""
    rng = np.random.default_rng(rng_seed)
    of = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    centres = np.linalg.qr(rng.normal(size=(width, width)))[0]
    h = 3 * centres[of] + rng.normal(0, 0.25, (len(of), width))
    return graph.build(np.arange(len(of)), torch.from_numpy(h.astype(np.float32))), of


def labeled(of: np.ndarray, classes: list[int], each: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """(rows, labels) of `each` nodes of the groups named; a group is its own class."""
    rows = np.concatenate([np.flatnonzero(of == k)[:each] for k in classes] or [np.empty(0, np.int64)])
    return rows, of[rows]


def search(nodes: Graph, rows: np.ndarray, labels: np.ndarray, n_known: int, n_spare: int) -> np.ndarray:
    probs = novel_classes.novel_classes(nodes, rows, labels, n_known, n_spare, np.random.default_rng(0))
    assert (probs.shape, probs.dtype) == ((len(nodes.positions), n_known + n_spare), np.float32)
    np.testing.assert_allclose(probs.sum(1), 1, atol=1e-5)
    return probs


def columns_of(probs: np.ndarray, of: np.ndarray) -> list[list[int]]:
    """The columns in which each group lies."""
    return [np.unique(probs[of == k].argmax(1)).tolist() for k in range(of.max() + 1)]


def test_known_classes_keep_their_columns_and_every_other_group_gets_one_of_its_own():
    nodes, of = groups([40] * 5)
    found = columns_of(search(nodes, *labeled(of, [0, 1, 2]), 3, 2), of)
    assert found[:3] == [[0], [1], [2]]
    assert sorted(found[3:]) == [[3], [4]]


def test_without_any_label_every_group_gets_a_column():
    nodes, of = groups([40] * 4)
    assert sorted(columns_of(search(nodes, *labeled(of, []), 0, 4), of)) == [[0], [1], [2], [3]]


def test_one_known_class_is_enough_to_search_beside():
    nodes, of = groups([40] * 4)
    found = columns_of(search(nodes, *labeled(of, [0]), 1, 3), of)
    assert found[0] == [0]
    assert sorted(found[1:]) == [[1], [2], [3]]


def test_a_known_class_without_a_label_is_left_empty():
    nodes, of = groups([40] * 4)
    probs = search(nodes, *labeled(of, [0, 2]), 3, 2)
    assert probs[:, 1].max() == 0
    found = columns_of(probs, of)
    assert (found[0], found[2]) == ([0], [2])
    assert sorted([found[1], found[3]]) == [[3], [4]]


def test_where_everything_is_labeled_nothing_is_taken_for_a_new_class():
    nodes, of = groups([40] * 3)
    probs = search(nodes, np.arange(len(of)), of, 3, 2)
    assert (probs.argmax(1) == of).all()


def test_groups_of_unequal_size_are_found_whole():
    """The known classes tell that sizes differ; a wish for even columns would cut the large groups up."""
    nodes, of = groups([120, 30, 90, 40])
    found = columns_of(search(nodes, *labeled(of, [0, 1], each=8), 2, 2), of)
    assert found[:2] == [[0], [1]]
    assert sorted(found[2:]) == [[2], [3]]


def test_spare_columns_for_which_there_is_no_group_stay_empty_among_classes_of_one_size():
    nodes, of = groups([60] * 5)
    found = columns_of(search(nodes, *labeled(of, [0, 1, 2], each=8), 3, 6), of)
    assert found[:3] == [[0], [1], [2]]
    assert sorted(found[3:]) == [[3], [4]]


def test_no_labels_and_no_spare_columns_but_the_known_ones():
    nodes, of = groups([40, 40])
    assert (search(nodes, *labeled(of, [0, 1]), 2, 0).argmax(1) == of).all()


@pytest.mark.parametrize("n", [2, 3, 5])
def test_fewer_nodes_than_columns_give_finite_probabilities(n):
    nodes, _ = groups([n])
    assert np.isfinite(search(nodes, np.array([0]), np.array([1]), 2, 8)).all()
    assert np.isfinite(search(nodes, np.empty(0, np.int64), np.empty(0, np.int64), 0, 8)).all()


def test_images_that_are_all_the_same_give_finite_probabilities():
    nodes = graph.build(np.arange(30), torch.ones(30, 8))
    assert np.isfinite(search(nodes, np.array([0, 1]), np.array([0, 1]), 2, 3)).all()


def test_the_same_random_numbers_give_the_same_classes():
    nodes, of = groups([30] * 4)
    first, second = (search(nodes, *labeled(of, [0]), 1, 3) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_a_class_keeps_its_place_from_one_search_to_the_next():
    before = np.eye(5, dtype=np.float32)[[0, 1, 2, 2, 3, 3, 4]]
    moved = before[:, [0, 1, 4, 2, 3]]  # the spare columns in another order
    np.testing.assert_array_equal(novel_classes.in_order_of(moved, before, n_known=2), before)


def test_stand_ins_are_a_few_of_every_class_without_a_name_and_of_no_other():
    probs = np.eye(4, dtype=np.float32)[[0] * 10 + [1] * 10 + [2] * 10 + [3] * 2]
    found = novel_classes.stand_ins(probs, n_known=2, each=4, rng=np.random.default_rng(0))
    assert sorted(found.values()) == [2] * 4 + [3] * 2
    assert all(probs[row].argmax() == column for row, column in found.items())
