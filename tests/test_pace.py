"""How fast people label: from the events, pauses and actions on many images apart."""

from pathlib import Path
from typing import Any

import pytest
from test_loop import array_project

from labeler import Project
from labeler.pace import _sitting, pace
from storage import Given, NewEvent


def given(seconds: float, name: str = "ann", kind: str = "label") -> Given:
    return Given(name, kind, 1_000_000 + seconds, 900, False, False)


def test_seconds_are_of_single_answers_without_pauses_and_undone_ones(tmp_path: Path) -> None:
    with array_project(tmp_path, 60, measure_share=0) as p:
        ann = p.loop("ann", "tab")
        for i, ms in enumerate((1000, 2000, 3000, 90_000)):
            ann.answer(i + 1, "cat", ms=ms)
        ann.answer_many(dict.fromkeys(range(10, 30), "dog"), ms=400)
        ann.skip(40, ms=5000)
        ann.answer(41, "dog", ms=50_000)
        ann.undo()
        p.loop("bob", "tab").answer(50, "owl")
        p.store.record([NewEvent("imported", "label", 55, 1, "import", acquisition="import")])
        found = pace(p.store)
    assert [one["annotator"] for one in found["people"]] == ["ann", "bob"]
    ann_, bob = found["people"]
    assert (ann_["labels"], ann_["answers"], ann_["pauses"]) == (24, 25, 1)
    assert (ann_["seconds_per_answer"], ann_["seconds_n"]) == (2.5, 4)  # of 1, 2, 3 and 5
    assert (bob["seconds_per_answer"], bob["labels"]) == (None, 1)
    assert found["answers"] == 26
    assert found["sitting"]["labels"] == 25


def test_a_sitting_ends_with_half_an_hour_without_a_label_and_its_bars_are_rates() -> None:
    early = [given(60 * i) for i in range(50)]
    late = [given(20_000 + 10 * i) for i in range(120)]  # 20 minutes at 360 an hour
    found = _sitting([*early, given(19_999, kind="skip"), *late])
    assert found is not None
    assert (found["labels"], found["minutes"], found["begun"]) == (120, 1, 1_020_000)
    assert [bar["labels"] for bar in found["bars"]] == [6] * 20
    assert {bar["per_hour"] for bar in found["bars"][:-1]} == {360}
    assert 360 <= found["bars"][-1]["per_hour"] <= 440  # of the part of the minute that has been
    whole_day = _sitting([given(900 * i) for i in range(97)])
    assert whole_day is not None
    assert len(whole_day["bars"]) <= 30
    assert _sitting([given(1, kind="skip")]) is None
    assert [bar["labels"] for bar in (_sitting([given(5)]) or {})["bars"]] == [1]


def test_time_at_work_leaves_out_what_lies_between_sittings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def told(_: Any, __: int) -> list[Given]:
        return [given(30 * i) for i in range(121)] + [given(90_000 + 30 * i) for i in range(121)]

    monkeypatch.setattr("storage.Store.given", told)
    with Project.create(tmp_path / "project", ["cat"]) as p:
        (one,) = pace(p.store)["people"]
    assert (one["hours"], one["labels_per_hour"]) == (2.0, 121)


def test_a_clock_that_was_set_back_took_no_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def told(_: Any, __: int) -> list[Given]:
        return [given(seconds) for seconds in (0, 40, 80, -7200, -7160, -7120)]

    monkeypatch.setattr("storage.Store.given", told)
    with Project.create(tmp_path / "project", ["cat"]) as p:
        found = pace(p.store)
    assert [(one["hours"], one["labels_per_hour"]) for one in found["people"]] == [(round(160 / 3600, 3), 135)]
    sitting = found["sitting"]
    assert (sitting["begun"], sitting["ended"]) == (1_000_000 - 7120 - 160, 1_000_000 - 7120)
    assert [bar["labels"] for bar in sitting["bars"]] == [2, 2, 2]
