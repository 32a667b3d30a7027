"""A handful of kills of `make bench-crash`: what was acknowledged is there once, and everything starts again."""

from pathlib import Path

import pytest
from bench_crash import Harness


@pytest.mark.timeout(300)
def test_no_kill_of_server_trainer_or_import_loses_doubles_or_blocks_anything(tmp_path: Path) -> None:
    harness = Harness(tmp_path, rng_seed=1, files=200)
    harness.version_wait = 2
    tally = harness.run(3)
    assert tally["faults"] == []
    assert (tally["lost"], tally["doubled"]) == (0, 0)
    assert tally["acknowledged"] == tally["given"] > 0
    assert sum(tally["kills"].values()) >= 3
    assert tally["versions"] >= 1
