"""Overlap against a plain model of it: several people, tabs, reviewers and changing rules, in random sequences.

The model keeps the events in a list and derives every state anew from it, in Python and in the words of
docs/decisions/0022. It knows no SQL.
"""

import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from conftest import DEPTH
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from labeler import Project
from storage import Conflict, NewEvent, NewSample
from storage.places import place
from storage.values import STATE_KINDS

N = 6  # samples, of which one measures and one is gold
GOLD = N
HOLDERS = [("ann", "tab"), ("ann", "another"), ("bob", "tab"), ("cat", "tab"), ("dan", "tab")]

holders = st.sampled_from(HOLDERS)
sample_ids = st.integers(1, N)
class_ids = st.integers(1, 3)
some_samples = st.lists(sample_ids, unique=True, min_size=1)

Decision = tuple[str, int | None]  # kind, class as it counts


@dataclass
class Model:
    places: dict[int, float]
    events: list[NewEvent] = field(default_factory=list)  # the n-th has the id n + 1
    said: list[tuple[int, float, int]] = field(default_factory=list)  # after which event, share, times
    merged: bool = False  # class 3 into class 2
    leases: dict[tuple[int, str], tuple[str, int]] = field(default_factory=dict)  # (sample, person) -> tab, until when
    now: int = 0

    def counts_as(self, class_id: int | None) -> int | None:
        return 2 if self.merged and class_id == 3 else class_id

    def standing(self, sample_id: int, at: int) -> list[NewEvent]:
        undone = {e.undoes for e in self.events[:at] if e.kind == "undo"}
        decisions = [e for e in self.events[:at] if e.kind in STATE_KINDS and e.sample_id == sample_id]
        return [e for e in decisions if e.uid not in undone]

    def needed(self, sample_id: int, at: int) -> int | None:
        """How many people are asked; None where the newest answer decides."""
        said = [(share, times) for after, share, times in self.said if after <= at]
        if sample_id == GOLD or not said or self.places[sample_id] >= max(share for share, _ in said):
            return None
        share, times = said[-1]
        return times if self.places[sample_id] < share else 1

    def answers(self, sample_id: int, at: int) -> dict[str, Decision]:
        """Who -> newest answer."""
        given = [e for e in self.standing(sample_id, at) if not e.review]
        return {e.annotator: (e.kind, self.counts_as(e.class_id)) for e in given}

    def state(self, sample_id: int, at: int) -> Decision | None:
        decisions = self.standing(sample_id, at)
        reviews, needed = [e for e in decisions if e.review], self.needed(sample_id, at)
        if reviews or needed is None:
            newest = [*decisions, *reviews][-1:]
            return (newest[0].kind, self.counts_as(newest[0].class_id)) if newest else None
        votes = Counter(self.answers(sample_id, at).values())
        if sum(votes.values()) < needed:
            return None
        [(best, n), *others] = votes.most_common()
        return ("disputed", None) if others and others[0][1] == n else best

    def states(self, at: int | None = None) -> dict[int, Decision]:
        at = len(self.events) if at is None else at
        found = {sample_id: self.state(sample_id, at) for sample_id in range(1, N + 1)}
        return {sample_id: state for sample_id, state in found.items() if state is not None}

    def open_answers(self, sample_id: int) -> set[str]:
        """Who answered a sample that needs more answers."""
        now = len(self.events)
        if self.state(sample_id, now) is not None or self.needed(sample_id, now) is None:
            return set()
        return set(self.answers(sample_id, now))

    def running(self, sample_id: int) -> dict[str, str]:
        """Who has a sample on screen -> in which tab."""
        return {who: tab for (s, who), (tab, until) in self.leases.items() if s == sample_id and until > self.now}

    def may_have(self, sample_id: int, holder: tuple[str, str]) -> bool:
        who, tab = holder
        now, running, answered = len(self.events), self.running(sample_id), self.open_answers(sample_id)
        if self.state(sample_id, now) is not None or who in answered:
            return False
        if running.get(who, tab) != tab:
            return False
        others = len(running.keys() - {who}) + len(answered)
        return others < (self.needed(sample_id, now) or 1)

    def take(self, sample_id: int, holder: tuple[str, str], seconds: int) -> None:
        gone = [key for key, lease in self.leases.items() if key[0] == sample_id and lease[1] <= self.now]
        for key in gone:
            del self.leases[key]
        self.leases[sample_id, holder[0]] = (holder[1], self.now + seconds)


class Machine(RuleBasedStateMachine):
    template: Path

    @initialize()
    def open(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        shutil.copy(self.template / "labels.db", self.folder)
        self.project = Project.open(self.folder)
        self.store = self.project.store
        seed = self.store.set_overlap(0.6, 2).rng_seed
        self.model = Model({i + 1: place(seed, f"{i:064x}") for i in range(N)}, said=[(0, 0.6, 2)])

    def teardown(self) -> None:
        if not hasattr(self, "folder"):
            return
        try:
            assert self.store.check() == []
            for at in range(len(self.model.events) + 1):
                self.compare_past(at)
            self.compare_first_labels()
        finally:
            self.project.close()
            shutil.rmtree(self.folder)

    def record(self, *events: NewEvent) -> None:
        self.store.record(events)
        self.model.events += events
        for event in events:
            if event.kind in STATE_KINDS:
                settled = self.model.state(event.sample_id, len(self.model.events)) is not None
                shared = bool(self.model.said)
                for key in [key for key in self.model.leases if key[0] == event.sample_id]:
                    if settled or not shared or key[1] == event.annotator:
                        del self.model.leases[key]

    def uid(self) -> str:
        return f"u{len(self.model.events)}"

    # ---------- what people do ----------

    @rule(holder=holders, wanted=some_samples, n=st.integers(1, 3), seconds=st.sampled_from((60, 300)))
    def ask(self, holder: tuple[str, str], wanted: list[int], n: int, seconds: int) -> None:
        expected = [s for s in wanted if s != GOLD and self.model.may_have(s, holder)][:n]
        assert self.store.lease(wanted, n, *holder, seconds=seconds) == expected
        for sample_id in expected:
            self.model.take(sample_id, holder, seconds)

    @rule(holder=holders, sample_id=sample_ids, class_id=class_ids)
    def label(self, holder: tuple[str, str], sample_id: int, class_id: int) -> None:
        self.record(NewEvent(self.uid(), "label", sample_id, class_id, *holder))

    @rule(holder=holders, sample_id=sample_ids, kind=st.sampled_from(("skip", "unsure", "flag")))
    def decide_otherwise(self, holder: tuple[str, str], sample_id: int, kind: str) -> None:
        self.record(NewEvent(self.uid(), kind, sample_id, None, *holder))

    @rule(holder=holders, sample_id=sample_ids, class_id=class_ids)
    def review(self, holder: tuple[str, str], sample_id: int, class_id: int) -> None:
        self.record(NewEvent(self.uid(), "label", sample_id, class_id, *holder, review=True))

    @precondition(lambda self: any(e.kind in STATE_KINDS for e in self.model.events))
    @rule(data=st.data(), holder=holders)
    def undo(self, data: st.DataObject, holder: tuple[str, str]) -> None:
        target = data.draw(st.sampled_from([e for e in self.model.events if e.kind in STATE_KINDS]))
        undo = NewEvent(self.uid(), "undo", target.sample_id, None, *holder, undoes=target.uid, review=target.review)
        if any(e.undoes == target.uid for e in self.model.events):
            with pytest.raises(Conflict):
                self.store.record([undo])
            return
        self.record(undo)
        who, tab = holder
        lease = self.model.leases.get((target.sample_id, who), (tab, 0))
        if not target.review and lease[1] <= self.model.now and self.model.may_have(target.sample_id, holder):
            self.model.leases[target.sample_id, who] = (tab, self.model.now + 120)

    # ---------- what changes around them ----------

    @rule(share=st.sampled_from((0.0, 0.3, 0.6, 1.0)), times=st.integers(2, 3))
    def ask_other_shares(self, share: float, times: int) -> None:
        self.store.set_overlap(share, times)
        self.model.said.append((len(self.model.events), share, times if share else 1))

    @rule()
    def merge_or_unmerge(self) -> None:
        (self.store.unmerge_classes if self.model.merged else self._merge)([3])
        self.model.merged = not self.model.merged

    def _merge(self, class_ids: list[int]) -> None:
        self.store.merge_classes(class_ids, into=2)

    @rule(seconds=st.sampled_from([30, 100, 400]))
    def time_passes(self, seconds: int) -> None:
        with self.store._writing() as db:
            db.exec_driver_sql("UPDATE leases SET expires = expires - ?", (seconds,))
        self.model.now += seconds

    @rule(holder=holders, kept=some_samples)
    def release(self, holder: tuple[str, str], kept: list[int]) -> None:
        self.store.release(*holder, keep=kept)
        leases = self.model.leases.items()
        self.model.leases = {(s, who): lease for (s, who), lease in leases if (who, lease[0]) != holder or s in kept}

    @rule()
    def close_and_reopen(self) -> None:
        self.project.close()
        self.project = Project.open(self.folder)
        self.store = self.project.store

    # ---------- what must hold ----------

    @invariant()
    def the_record_is_as_the_model(self) -> None:
        if not hasattr(self, "folder"):
            return
        self.compare_past(None)
        states = self.model.states()
        assert self.store.counts()["open"] == len(set(range(1, GOLD)) - states.keys())
        for who, tab in HOLDERS:
            held = sorted(s for s in range(1, N + 1) if self.model.running(s).get(who) == tab)
            assert self.store.held(who, tab) == held
            waiting = {s for s in range(1, N + 1) if (given := self.model.open_answers(s)) and who not in given}
            found = [s for split in ("pool", "measure") for s in self.store.waiting_ids(split, who)]
            assert sorted(found) == sorted(waiting)

    def compare_past(self, at: int | None) -> None:
        states = self.model.states(at)
        assert {s: (state.kind, state.class_id) for s, state in self.store.states(at).items()} == states
        labels = {s: class_id for s, (kind, class_id) in states.items() if kind == "label"}
        assert self.store.labels(None, at=at) == labels
        now = len(self.model.events) if at is None else at
        asked = [s for s in range(1, N + 1) if self.model.needed(s, now) is not None]
        said = {(s, who): says for s in asked for who, says in self.model.answers(s, now).items()}
        assert {(a.sample_id, a.annotator): (a.kind, a.class_id) for a in self.store.answers(at)} == said

    def compare_first_labels(self) -> None:
        """The first event that made so many labels; an answer to a gold sample makes none."""
        labeled = [
            sum(kind == "label" and s != GOLD for s, (kind, _) in self.model.states(at).items())
            for at in range(len(self.model.events) + 1)
        ]
        for n in range(1, max(labeled) + 1):
            events = enumerate(self.model.events, start=1)
            first = [at for at, e in events if labeled[at] == n and (e.kind == "undo" or e.sample_id != GOLD)]
            if first:
                assert self.store.moment_with_labels(n).event_id == first[0]


@pytest.fixture
def template(tmp_path: Path) -> Path:
    with Project.create(tmp_path / "template", ["cat", "dog", "owl"]) as p:
        for i in range(N):
            split = {GOLD - 1: "gold", GOLD - 2: "measure"}.get(i, "pool")
            p.store.add_samples([NewSample(f"{i:064x}", f"image {i}", "images/pack.npy", i, 8, 8, 1, split)])
        for annotator, _ in HOLDERS:
            p.store.annotator(annotator)
    return tmp_path / "template"


@pytest.mark.timeout(400)  # a failure is made as short as it can be, for up to five minutes
def test_several_people_do_to_the_record_what_they_do_to_a_plain_model_of_it(template: Path) -> None:
    machine = type("OverlapAgainstModel", (Machine,), {"template": template})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=9 * DEPTH, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
