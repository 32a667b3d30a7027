"""Simulate on 8x8 digits with few steps: its files, its columns, and that it goes through the people's loop."""

import csv
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from labeler import simulate as simulation
from labeler.curve import COLUMNS, markdown, summary
from labeler.loop import Loop
from labeler.simulate import Clock, Pace, milestones, scratch, simulate
from model import load

QUICK = Pace(warm_up_steps=40, steps_per_label=3, settle_steps=20)


def test_later_labels_get_steps_in_proportion_and_none_goes_without() -> None:
    steps = [Pace().steps_for(label) for label in range(1, 5001)]
    assert steps[:60] == [15] * 60
    assert abs(sum(steps[:1000]) / sum(900 / max(label, 60) for label in range(1, 1001)) - 1) < 0.02
    assert steps[999:] == [1] * 4001
    assert Pace(steps_per_label=0).steps_for(500) == 0


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the judge is kept, so that it is trained once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def source(tmp_path: Path, cache: Path, digits: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> Path:
    """120 training and 60 test digits."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    images, labels = digits
    path = tmp_path / "digits.npz"
    np.savez(path, xtr=images[:120], ytr=labels[:120], xte=images[120:180], yte=labels[120:180])
    return path


def run(source: Path, out: Path, budget: int = 12, rng_seeds: tuple[int, ...] = (3,)) -> dict[str, Any]:
    return simulate(source, budget, "coverage", rng_seeds, out, pace=QUICK)


def test_the_curve_has_a_row_for_each_milestone_and_seed_and_a_model_that_gives_its_figures(source, tmp_path, digits):
    out = tmp_path / "out"
    report = run(source, out, rng_seeds=(3, 4))
    with open(out / "curve.csv", newline="") as f:
        rows = list(csv.DictReader(f))
    assert tuple(rows[0]) == COLUMNS
    assert [(r["rng_seed"], r["labels"]) for r in rows] == [(s, n) for s in "34" for n in ("0", "10", "12")]
    assert sorted(p.name for p in (out / "models").iterdir()) == [
        f"seed{s}-labels000{n}.safetensors" for s in (3, 4) for n in ("00", "10", "12")
    ]
    model = load(out / "models" / "seed3-labels00012.safetensors")
    images, labels = digits
    accuracy = (model.predict_proba(images[120:180]).argmax(1) == labels[120:180]).mean()
    assert float(rows[2]["test_accuracy"]) == pytest.approx(accuracy, abs=1e-4)
    assert float(rows[2]["test_elbo"]) == pytest.approx(model.elbo(images[120:180]).mean(), abs=0.01)
    assert model.header["labels"] == 12
    assert all(np.isfinite(float(r[c])) for r in rows for c in COLUMNS[2:])
    assert report["curve"][-1]["labels"] == 12
    text = (out / "report.md").read_text()
    assert "Lookahead 2" in text
    assert f"{report['judge_test_accuracy']:.1%}" in text
    assert (out / "curve.png").stat().st_size > 10_000
    assert [p.name for p in out.iterdir() if p.name.startswith("simulate-")] == []
    with open(out / "generation.csv", newline="") as f:
        drawn = list(csv.DictReader(f))
    assert [(r["rng_seed"], r["labels"]) for r in drawn if r["class"] == ""] == [("3", "12"), ("4", "12")]
    assert len(drawn) == 2 * (1 + 10)
    assert "## Drawings" in text
    assert (out / "as_class.png").stat().st_size > 1_000


def test_the_same_seed_asks_the_same_and_learns_the_same(source, tmp_path):
    first, second = (run(source, tmp_path / name)["curve"] for name in "ab")
    assert [{**row, "seconds": 0} for row in first] == [{**row, "seconds": 0} for row in second]


@pytest.mark.parametrize("broken", [lambda self, sample_id, cls, **how: None, "another class"])
def test_a_broken_answer_breaks_simulate(source, tmp_path, monkeypatch, broken):
    """Simulate has no way of its own to a label: what `Loop.answer` loses or mixes up, it notices."""
    if broken == "another class":
        real = Loop.answer

        def broken(self: Loop, sample_id: int, cls: str, **how: Any) -> None:
            real(self, sample_id, str((int(cls) + 1) % 10), **how)

    monkeypatch.setattr(Loop, "answer", broken)
    with pytest.raises(RuntimeError, match="the record says"):
        run(source, tmp_path / "out")


def test_a_broken_ask_breaks_simulate(source, tmp_path, monkeypatch):
    monkeypatch.setattr(Loop, "ask_many", lambda self, n, have=(), replace=False: [])
    with pytest.raises(RuntimeError, match="nothing to ask after 0 of 12"):
        run(source, tmp_path / "out")


def test_a_figure_that_no_seed_has_is_a_dash_in_the_curve():
    rows = [
        dict.fromkeys(COLUMNS, 0.5) | {"rng_seed": s, "labels": 10, "generated_frechet": None, "test_elbo": elbo}
        for s, elbo in [(0, None), (1, -3.0)]
    ]
    points = summary(rows)
    assert (points[0]["generated_frechet"], points[0]["test_elbo"]) == (None, [-3, -3, -3])
    report = {
        "source": "a", "acquisition": "random", "budget": 10, "rng_seeds": [0, 1], "flip": None, "lookahead": 2,
        "seconds_per_label": None, "steps_per_label": 9, "full_pace": 60, "settle_steps": 9,
        "test_images": 1, "wall_seconds": {},
        "judge_test_accuracy": 1.0, "floor": {"generated_accuracy": 1.0, "generated_frechet": None}, "curve": points,
    }  # fmt: skip
    text = markdown(report)
    assert "| 0.5 [0.5, 0.5] | – |" in text
    assert "accuracy 1, Frechet –." in text


def test_what_a_killed_run_left_is_removed_and_nothing_else(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left = f"simulate-{gone.pid}-ab12_xyz"
    others = [
        f"simulate-{os.getpid()}-ab12_xyz",  # of a run that lives
        f"simulate-{gone.pid}-mine",
        f"regimes-{gone.pid}-ab12_xyz",
        "simulate-results",
    ]
    for name in [left, *others]:
        (tmp_path / name / "project").mkdir(parents=True)
    with scratch(tmp_path, "simulate") as folder:
        assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*others, folder.name])
        (folder / "project").mkdir()
        with scratch(tmp_path, "simulate"):
            assert folder.is_dir()
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(others)


def test_the_seconds_of_a_sitting_are_without_those_of_the_judge(monkeypatch):
    clock = Clock(time.time() - 700, measuring=600)  # what came before the sitting
    versions = [SimpleNamespace(version=1, labels=0, time=time.time() + 50, folder=".")]
    project = SimpleNamespace(folder=Path(), store=SimpleNamespace(versions=lambda: versions))
    monkeypatch.setattr(simulation.live, "sitting", lambda *_: 0)
    sitting = simulation.Run(project, SimpleNamespace(truth={}), None, 0, "margin", 0, Path(), clock, lambda *_: None)
    monkeypatch.setattr(sitting, "_measured", lambda file, labels, seconds: {"seconds": round(seconds)})
    assert list(sitting.in_real_time(2.0)) == [{"seconds": 150}]


def test_the_milestones_are_the_contract():
    assert milestones(30) == [0, 10, 20, 30]
    assert milestones(1000) == [0, 10, 20, 50, 100, 200, 300, 500, 1000]


def test_a_source_without_a_test_part_and_a_budget_too_large_are_refused(source, tmp_path, digits):
    np.savez(tmp_path / "unlabeled.npz", x=digits[0][:20])
    with pytest.raises(ValueError, match="no labeled source with a test part"):
        run(tmp_path / "unlabeled.npz", tmp_path / "out")
    with pytest.raises(ValueError, match="120 training images"):
        run(source, tmp_path / "out", budget=121)
    assert not (tmp_path / "out").exists()


def test_training_images_without_a_label_are_named_before_anything_is_trained(tmp_path, image_folder):
    for part in ("train", "test"):
        shutil.copytree(image_folder, tmp_path / "set" / part)
    shutil.copyfile(next((image_folder / "cat").iterdir()), tmp_path / "set" / "train" / "stray.png")
    with pytest.raises(ValueError, match=r"1 of 13 training images of .* have no label, such as .*stray\.png"):
        run(tmp_path / "set", tmp_path / "out")


def test_a_budget_of_more_than_the_distinct_images_is_refused_before_anything_is_trained(tmp_path, digits, monkeypatch):
    monkeypatch.setattr("labeler.simulate.bench_of", lambda *what: pytest.fail("a judge was trained"))
    images, labels = (np.tile(a[:10], (3, *[1] * (a.ndim - 1))) for a in digits)
    np.savez(tmp_path / "twice.npz", xtr=images, ytr=labels, xte=images, yte=labels)
    with pytest.raises(ValueError, match="10 distinct training images; --budget 12"):
        run(tmp_path / "twice.npz", tmp_path / "out")
    assert list((tmp_path / "out").glob("simulate-*")) == []
