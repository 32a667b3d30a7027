"""The most typical images of a class: those that show it best to somebody who has not seen it."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from labeler.project import Project

LOOKED_AT = 600  # newest labels of a class


def typical(project: "Project", class_id: int, n: int) -> list[int]:
    """Up to n samples labeled as the class, the most typical first; the newest first while no model knows them."""
    found = project.store.labeled_as(class_id, LOOKED_AT)
    published = project.published()
    if published is None:
        return found[:n]
    known = [(sample_id, row) for sample_id in found if (row := published.position(sample_id)) is not None]
    if not known:
        return found[:n]
    sample_ids, rows = zip(*known, strict=True)
    return [sample_ids[i] for i in medoids(published.embeddings[list(rows)].astype(np.float32), n)]


def medoids(points: np.ndarray, n: int) -> list[int]:
    """Rows of points (N, Z), chosen one by one: each brings all points nearest to a chosen one.

    The first is the medoid; the others stand for what it is far from. BUILD of PAM (Kaufman and Rousseeuw 1990).
    """
    squares = (points**2).sum(1)
    apart = np.sqrt(np.maximum(squares[:, None] + squares[None] - 2 * points @ points.T, 0))  # (N, N)
    nearest = np.full(len(points), np.inf, np.float32)
    chosen: list[int] = []
    for _ in range(min(n, len(points))):
        cost = np.minimum(nearest, apart).sum(1) if chosen else apart.sum(1)
        cost[chosen] = np.inf
        chosen.append(int(cost.argmin()))
        nearest = np.minimum(nearest, apart[chosen[-1]])
    return chosen
