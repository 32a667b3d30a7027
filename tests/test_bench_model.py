"""A cut benchmark goes on from its tables, and does not mix figures of two recipes."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import bench_model
import numpy as np
import pytest
import torch
from bench_model import Plan
from tables import Table, difference, spread

from labeler.simulate import Pace
from model.learner import Learner
from model.ssvae import SSVAE, VAEConfig


@pytest.fixture
def plan(tmp_path: Path, digits: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> Plan:
    """80 training and 30 test digits."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    images, labels = digits
    source = tmp_path / "digits.npz"
    np.savez(source, xtr=images[:80], ytr=labels[:80], xte=images[80:110], yte=labels[80:110])
    return Plan(source, tmp_path / "tables", tmp_path / "runs", Pace(2, 1, 1), rng_seeds=(0,))


def no_run(*_: object, **__: object) -> None:
    raise AssertionError("done again")


def test_what_its_table_holds_is_not_done_again_and_the_rest_is(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    table = plan.table("fashion-frozen")
    said = bench_model.frozen(plan, table, pairs=[(10, 12)], n_images=80)
    assert [(r["budget"], r["labels"], r["rng_seed"]) for r in table.rows()] == [
        ("10", "0", "0"), ("10", "10", "0"), ("12", "0", "0"), ("12", "10", "0"), ("12", "12", "0"),
    ]  # fmt: skip
    assert {r["recipe"] for r in table.rows()} == {table.recipe}
    with monkeypatch.context() as patched:
        patched.setattr(bench_model, "simulate", no_run)
        elsewhere = replace(plan, runs=plan.runs / "none")
        assert bench_model.frozen(elsewhere, table, pairs=[(10, 12)], n_images=80) == said
        with pytest.raises(AssertionError, match="done again"):
            bench_model.frozen(replace(plan, rng_seeds=(0, 1)), table, pairs=[(10, 12)], n_images=80)


def test_each_term_is_switched_off_once(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    table = plan.table("ablation")
    asked: list[tuple[int, str]] = []

    def measured(_: Path, wanted: list[tuple[int, str]], *__: int) -> list[dict[str, object]]:
        asked.extend(wanted)
        names = (*bench_model.FIGURES, *bench_model.SWAPPED)
        return [{"without": term, "rng_seed": s, **dict.fromkeys(names, 0.5)} for s, term in wanted]

    monkeypatch.setattr(bench_model, "_ablated", measured)
    bench_model.ablation(plan, table)
    first = list(asked)
    assert {s for s, _ in first} == {0}
    assert {"none", "contrast", "cycle"} <= {term for _, term in first}
    said = bench_model.ablation(replace(plan, rng_seeds=(0, 1)), table)
    assert asked == [*first, *((1, term) for _, term in first)]
    assert "| contrast | test_accuracy | 0.5 [0.5, 0.5] | 0.5 [0.5, 0.5] | +0.0000 | +0.0000 to +0.0000 | 2 |" in said


def test_an_ablation_is_measured_from_one_warm_up(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[bool] = []
    warm_up = bench_model._warmed
    small = bench_model.LearnerConfig(warm_up_steps=2, graph_size=60)
    monkeypatch.setattr(bench_model, "LearnerConfig", partial(replace, small))
    monkeypatch.setattr(bench_model, "_warmed", lambda *given: begun.append(True) or warm_up(*given))
    heeded: list[bool] = []  # whether what is measured draws another class otherwise
    measured = bench_model._measured

    def measured_and_asked(learner: Learner, classes: Sequence[str], bench: bench_model.Bench) -> dict[str, object]:
        vae, z = learner.as_model(classes).vae, torch.zeros(1, learner.vae.config.z_dim)
        heeded.append(not torch.equal(*(vae.decode(z, torch.eye(len(classes))[[k]]) for k in (0, 1))))
        return measured(learner, classes, bench)

    monkeypatch.setattr(bench_model, "_measured", measured_and_asked)
    wanted = ["none", "contrast", bench_model.MIRRORED, bench_model.UNHEARD]
    rows = list(bench_model._ablated(plan.source, [(0, without) for without in wanted], 10, 2))
    assert [r["without"] for r in rows] == wanted
    assert len(begun) == 2
    assert set(bench_model.SWAPPED) <= rows[0].keys()
    assert heeded == [True, True, True, False]


def test_without_y_nothing_that_is_decoded_depends_on_the_class() -> None:
    vae = SSVAE(VAEConfig(shape=(1, 8, 8), n_classes=3, z_dim=4, h_dim=16)).eval()
    z = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    first, second = (torch.eye(3)[[k] * 3] for k in (0, 1))
    unheard = bench_model._Unheard.of(vae).eval()
    assert not torch.equal(vae.decode(z, first), vae.decode(z, second))
    assert torch.equal(unheard.decode(z, first), unheard.decode(z, second))
    assert torch.allclose(unheard.decode(z, first), vae.decode(z, torch.full((3, 3), 1 / 3)))


def test_rows_of_another_recipe_end_the_benchmark_before_it_begins(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_model, "simulate", no_run)
    plan.table("sets").add([{"set": "glyphs", "rng_seed": 0}])
    slower = replace(plan, pace=Pace(2, 2, 1))
    assert slower.table("sets").recipe != plan.table("sets").recipe
    with pytest.raises(SystemExit, match=r"sets\.csv holds rows of recipe .* delete it"):
        bench_model.main(slower, ["curve", "sets"])


def test_a_column_more_leaves_earlier_rows_as_they_are(tmp_path: Path) -> None:
    table = Table(tmp_path / "a.csv", "abc")
    table.add([{"rng_seed": 0}])
    table.add([{"rng_seed": 1, "variety": 0.5}])
    assert table.path.read_text() == "rng_seed,recipe,variety\n0,abc,\n1,abc,0.5\n"


def test_differences_are_paired_and_come_with_their_interval() -> None:
    before, after = {"0": 0.5, "1": 0.7, "2": 0.6}, {"2": 0.7, "1": 0.9, "0": 0.8}
    assert difference(before, after) == ["+0.2000", "-0.0484 to +0.4484", "3"]  # 0.1 x t(2) / sqrt(3)
    assert difference(before, {"1": 0.8}) == ["+0.1000", "", "1"]
    assert spread(before) == "0.6 [0.5, 0.7]"
