"""Leases under load, a few seconds of `make bench-leases`: nothing is served twice, lost, doubled or refused."""

from pathlib import Path

import pytest
from bench_leases import clocks, measure, moved, twice
from conftest import server_url

CLEAN = {"twice": 0, "errors": 0, "lost": 0, "doubled": 0}


@pytest.mark.parametrize(("kind", "clients"), [("threads", 16), ("processes", 6)])
def test_many_clients_at_once_never_have_the_same_sample(
    kind: str, clients: int, database: Path | str, tmp_path: Path
) -> None:
    samples = 100
    tally = measure(tmp_path, kind, samples, clients, server_url(database))
    assert {name: tally[name] for name in CLEAN} == CLEAN, f"the clock moved by {tally['clock moved, s']} s meanwhile"
    assert tally["served"] >= samples
    assert tally["abandoned"] > 0
    assert tally["offered again"] > 0


def test_a_clock_that_was_set_or_a_machine_that_slept_is_told_apart() -> None:
    before = clocks()
    assert moved(before, clocks()) < 1  # it may be set by a little at any time
    assert moved((100.0, 5.0), (98.5, 5.0)) == 1.5
    assert moved((100.0, 5.0), (100.0, 65.0)) == 60


def test_a_sample_that_two_had_at_once_is_counted() -> None:
    assert twice([(1, "a", 0.0, 2.0), (1, "b", 1.0, 3.0), (1, "c", 3.5, 4.0), (2, "b", 1.0, 3.0)]) == 1
