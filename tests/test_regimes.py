"""The paper's claims measured on few digits in few steps: the rows, going on after a cut, and what the report says."""

import csv
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Ended

from labeler import claims
from labeler.claims import COLUMNS
from labeler.regimes import regimes
from model import baselines, load
from model.learner import Learner, LearnerConfig
from model.objective import PRESETS

Digits = tuple[np.ndarray, np.ndarray]
STEPS = 24


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the judge is kept, so that it is trained once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module", autouse=True)
def judge_in(cache: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache))
        yield


@pytest.fixture
def source(tmp_path: Path, digits: Digits) -> Path:
    return made(tmp_path / "digits.npz", digits)


def made(path: Path, digits: Digits) -> Path:
    """120 training and 60 test digits."""
    images, labels = digits
    np.savez(path, xtr=images[:120], ytr=labels[:120], xte=images[120:180], yte=labels[120:180])
    return path


@pytest.fixture(scope="module")
def whole(digits: Digits, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Folder and report of a run that was not cut. To be read alone."""
    folder = tmp_path_factory.mktemp("whole")
    return folder / "out", run(made(folder / "digits.npz", digits), folder / "out")


@pytest.fixture(scope="module")
def thirty(digits: Digits, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run with 30 labels, to be copied."""
    folder = tmp_path_factory.mktemp("thirty")
    run(made(folder / "digits.npz", digits), folder / "out", (30,))
    return folder / "out"


def run(source: Path, out: Path, labels: tuple[int | None, ...] = (0, 30, None), **how: Any) -> dict[str, Any]:
    return regimes(source, out, labels, **{"steps": STEPS, **how})


def stored(out: Path) -> list[dict[str, str]]:
    with open(out / "regimes.csv", newline="") as f:
        return list(csv.DictReader(f))


def without(rows: list[dict[str, str]], *names: str) -> list[dict[str, str]]:
    return [{name: value for name, value in row.items() if name not in names} for row in rows]


def test_every_number_of_labels_has_a_row_for_each_method_and_models_that_give_its_figures(
    whole: tuple[Path, dict[str, Any]], digits: Digits
) -> None:
    out, report = whole
    rows = stored(out)
    assert tuple(rows[0]) == COLUMNS
    assert [(r["labels"], r["method"]) for r in rows] == [
        ("0", "paper"), ("0", "recipe"),
        *((n, method) for n in ("30", "120") for method in ("supervised", "paper", "recipe")),
    ]  # fmt: skip
    assert {r["steps"] for r in rows if r["method"] != "supervised"} == {str(STEPS)}
    images, labels = digits[0][120:180], digits[1][120:180]
    for r in rows:
        model = load(out / "models" / f"seed0-{r['method']}-labels{int(r['labels']):05d}.safetensors")
        if r["labels"] != "0":
            accuracy = (model.predict_proba(images).argmax(1) == labels).mean()
            assert float(r["test_accuracy"]) == pytest.approx(accuracy, abs=1e-4)
        if r["method"] == "supervised":
            assert {r[name] for name in ("test_elbo", "test_weighted_elbo", *claims.DRAWN)} == {""}
        else:
            assert float(r["test_elbo"]) == pytest.approx(model.elbo(images).mean(), abs=0.01)
            assert float(r["test_weighted_elbo"]) == pytest.approx(model.elbo(images, 50).mean(), abs=0.01)
            assert (r["generated_accuracy"] == "") == (r["labels"] == "0")
            assert np.isfinite([float(r[name]) for name in claims.NAMELESS]).all()
    text = (out / "regimes.md").read_text()
    assert "| 120 (all) | recipe | " in text
    assert f"{report['judge_test_accuracy']:.1%}" in text
    assert (out / "regimes.png").stat().st_size > 10_000
    assert (out / "as_class.png").stat().st_size > 1_000
    assert [p.name for p in out.iterdir() if p.name.startswith("regimes-")] == []


def test_the_labels_are_drawn_at_random_the_few_among_the_many(source: Path, tmp_path: Path, digits: Digits) -> None:
    """The supervised trunk, trained here on the draw that is meant, is the one in the file."""
    images, labels = digits
    out = tmp_path / "out"
    run(source, out, (30,), rng_seeds=(5,))
    order = np.random.default_rng(5).permutation(120)
    config = LearnerConfig(warm_up_steps=STEPS // 2)
    learner = Learner(images[:120], 10, config=config, rng_seed=5)
    drawn = {int(i): int(labels[i]) for i in order[:30]}
    expected = baselines.labels_alone(learner, drawn, list("0123456789"), 5, STEPS // 2, lambda done, of: None)
    found = load(out / "models" / "seed5-supervised-labels00030.safetensors")
    np.testing.assert_allclose(found.predict_proba(images), expected.predict_proba(images), atol=1e-5)


def test_a_cut_run_goes_on_where_it_stopped_and_ends_as_one_that_was_not_cut(
    whole: tuple[Path, dict[str, Any]], source: Path, tmp_path: Path
) -> None:
    cut = tmp_path / "cut"

    def stop(done: int, total: int) -> None:
        if done > 0.55 * total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(source, cut, on_progress=stop)
    before = stored(cut)
    assert 0 < len(before) < 8
    assert [p.name for p in cut.iterdir() if p.name.startswith("regimes-")] == []

    report = run(source, cut)

    assert report["kept"] == len(before)
    after = stored(cut)
    assert [row for row in after if row in before] == before
    assert without(after, "seconds") == without(stored(whole[0]), "seconds")


def test_more_labels_and_seeds_join_the_rows_that_are_there(source: Path, thirty: Path, tmp_path: Path) -> None:
    out = shutil.copytree(thirty, tmp_path / "out")
    report = run(source, out, (20, 500), rng_seeds=(1,))
    assert [(r["rng_seed"], r["labels"]) for r in stored(out)] == [*[("0", "30")] * 3, *[("1", "20")] * 3]
    assert (report["kept"], report["too_many"]) == (3, [500])


def test_runs_of_other_settings_are_neither_mixed_in_nor_overwritten(
    source: Path, thirty: Path, tmp_path: Path, digits: Digits
) -> None:
    out = shutil.copytree(thirty, tmp_path / "out")
    before = (out / "regimes.csv").read_text()
    for other in ({"steps": STEPS + 2}, {"flip": True}):
        with pytest.raises(ValueError, match=r"with other settings.*choose another --out"):
            run(source, out, (30,), **other)
    np.savez(source, xtr=digits[0][:120], ytr=digits[1][1:121], xte=digits[0][120:180], yte=digits[1][120:180])
    with pytest.raises(ValueError, match="other data"):
        run(source, out, (30,))
    assert (out / "regimes.csv").read_text() == before

    (out / "regimes.csv").write_text("some,table\n1,2\n")
    with pytest.raises(ValueError, match="other columns"):
        run(source, out, (30,))


def test_a_change_of_our_recipe_asks_for_its_runs_alone(
    source: Path, thirty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = shutil.copytree(thirty, tmp_path / "out")
    monkeypatch.setitem(PRESETS, "recipe", replace(PRESETS["recipe"], cycle=7))
    with pytest.raises(ValueError, match=r"holds 1 of 3 runs with other settings.*\(recipe; steps 24\)"):
        run(source, out, (30,))
    lines = (out / "regimes.csv").read_text().splitlines(keepends=True)
    (out / "regimes.csv").write_text("".join(line for line in lines if ",recipe," not in line))
    assert run(source, out, (30,))["kept"] == 2


def test_a_torn_last_line_is_no_run(tmp_path: Path) -> None:
    path = tmp_path / "regimes.csv"
    rows = [row(0, n, "recipe", 0.5) | {"settings": f"{n:012x}"} for n in (10, 20)]
    claims.write_rows(path, rows)
    assert claims.read_rows(path) == rows
    whole = path.read_bytes().removesuffix(b"\r\n")
    begin = whole.rindex(b"\n") + 1
    for end in range(begin + 1, len(whole)):
        path.write_bytes(whole[:end])
        assert claims.read_rows(path) == rows[:1]
    path.write_bytes(b"")
    assert claims.read_rows(path) == []


def test_the_command_says_what_it_kept_and_what_it_left_out(
    source: Path, tmp_path: Path, labeler: Callable[..., Ended]
) -> None:
    words = ["regimes", source, "--out", tmp_path / "out", "--steps", STEPS, "--labels", "0,500"]
    first = labeler(*words)
    assert (first.code, first.err) == (0, "")
    assert first.out.splitlines()[1] == f"{tmp_path / 'out'}: regimes.csv, regimes.png, regimes.md and models/"
    assert first.out.splitlines()[0] == f"Left out 500 labels: {source} has 120 training images."
    again = labeler(*words)
    assert again.out.splitlines()[0] == "2 runs of before kept."
    report = json.loads(labeler(*words, "--json").out)
    assert report["kept"] == 2
    assert {"rows", "claims", "floor"} <= set(report)


# ---------- the claims ----------
def row(rng_seed: int, labels: int, method: str, accuracy: float, **more: float) -> dict[str, Any]:
    return {"rng_seed": rng_seed, "labels": labels, "method": method, "test_accuracy": accuracy, "steps": 9} | more


ROWS = [
    row(0, 0, "recipe", 0.3, test_elbo=-100, generated_frechet=50),
    row(0, 10, "supervised", 0.5),
    row(0, 10, "paper", 0.45),
    row(0, 10, "recipe", 0.7, test_elbo=-98, generated_frechet=40),
    row(0, 90, "supervised", 0.9),
    row(0, 90, "recipe", 0.91, test_elbo=-99, generated_frechet=45),
    row(1, 0, "recipe", 0.3, test_elbo=-100, generated_frechet=50),
    row(1, 10, "supervised", 0.5),
    row(1, 10, "recipe", 0.6, test_elbo=-97, generated_frechet=44),
]


def only(difference: float) -> dict[str, float]:
    """Of one seed."""
    return {"mean": difference, "least": difference, "greatest": difference}


def test_each_claim_is_a_difference_between_runs_of_one_seed_turned_so_that_above_zero_it_holds() -> None:
    found = claims.claims(ROWS, n_all=90, n_test=400)
    assert found["unlabeled_images_raise_accuracy"] == [
        {"labels": 10, "method": "paper", "over_supervised": only(-0.05), "noise": 0.0705},
        {
            "labels": 10,
            "method": "recipe",
            "over_supervised": {"mean": 0.15, "least": 0.1, "greatest": 0.2},
            "noise": 0.0691,
        },
        {"labels": 90, "method": "recipe", "over_supervised": only(0.01), "noise": 0.0415},
    ]
    assert found["every_label_equals_supervised"] == found["unlabeled_images_raise_accuracy"][2:]
    frozen = {
        (e["method"], e["labels"], e["frozen_at"]): (e["test_elbo"]["mean"], e["generated_frechet"]["mean"])
        for e in found["labels_raise_unsupervised_measures"]
    }
    assert frozen == {
        ("recipe", 10, 0): (2.5, 8.0),
        ("recipe", 90, 0): (1.0, 5.0),
        ("recipe", 90, 10): (-1.0, -5.0),
    }


def test_the_report_says_where_a_claim_does_not_hold() -> None:
    report = {
        "source": "digits.npz", "rows": ROWS, "training_images": 90, "test_images": 10, "flip": False, "steps": 9,
        "warm_up_steps": 3, "importance_samples": 50, "weighted_on": 10, "judge_test_accuracy": 0.97,
        "floor": {"generated_accuracy": 0.99, "generated_frechet": 1.5}, "claims": claims.claims(ROWS, 90, 400),
    }  # fmt: skip
    text = claims.markdown(report)
    assert "`paper`: within the noise at 10 labels." in text
    assert "`recipe`: holds at 10 labels; within the noise at 90 (all) labels." in text
    assert "the ELBO is raised by `recipe` at 10 and 90 (all) labels." in text
    assert "| 10 | -5.0 points | +15.0 points [+10.0 points, +20.0 points] |" in text
    assert "| recipe | 90 (all) | 10 | -1.00 | – | -5.0 | – | – |" in text
    assert "directly supervised trunk is: recipe +1.0 points." in text
    assert "| 10 | recipe | 65.0% [60.0%, 70.0%] | – | -97.50 [-98.00, -97.00] |" in text
    worse = [*ROWS[:2], row(0, 10, "paper", 0.2), row(0, 10, "recipe", 0.7, test_elbo=-101)]
    text = claims.markdown(report | {"rows": worse, "claims": claims.claims(worse, 90, 400)})
    assert "`paper`: does not hold at 10 labels." in text
    assert "the ELBO is raised by `recipe` at no number of labels." in text
