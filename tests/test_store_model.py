"""The record against a plain model of it: random sequences of everything that people and their browsers do to it.

The model keeps, for each sample, the list of decisions that stand, and a copy of the labels after every event. It
knows no SQL, and no rule but that an undo takes a decision off its list.
"""

import secrets
import shutil
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import DATABASES, DEPTH
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
from labeler.project import remember
from storage import Conflict, NewEvent, NewSample, Store

if TYPE_CHECKING:
    from postgres import Server

N = 6  # samples, of which one measures and one is gold
GOLD = N
HOLDERS = [("ann", "tab"), ("ann", "another"), ("bob", "tab")]
LEASES = (60, 300)  # seconds
KINDS = ("skip", "unsure", "flag", "comment")

holders = st.sampled_from(HOLDERS)
sample_ids = st.integers(1, N)
class_ids = st.integers(1, 3)
some_samples = st.lists(sample_ids, unique=True, min_size=1)

Decision = tuple[str, int | None]  # kind, class id


@dataclass
class Model:
    """What the record should be. Decisions of a sample that stand: uid -> decision, the newest one last."""

    events: dict[str, NewEvent] = field(default_factory=dict)  # in order; the n-th has the id n
    standing: dict[int, dict[str, Decision]] = field(default_factory=lambda: defaultdict(dict))
    undone: set[str] = field(default_factory=set)
    past: list[dict[int, Decision]] = field(default_factory=lambda: [{}])  # states after each event
    leases: dict[int, tuple[tuple[str, str], int]] = field(default_factory=dict)  # sample id -> holder, until when
    now: int = 0

    def append(self, event: NewEvent) -> None:
        if event.uid in self.events:
            return
        self.events[event.uid] = event
        if event.kind == "undo":
            assert event.undoes is not None
            self.undone.add(event.undoes)
            for decisions in self.standing.values():
                decisions.pop(event.undoes, None)
        elif event.kind != "comment":
            self.leases.pop(event.sample_id, None)
            if event.uid not in self.undone:
                self.standing[event.sample_id][event.uid] = (event.kind, event.class_id)
        self.past.append(self.states())

    def states(self) -> dict[int, Decision]:
        return {sample_id: list(those.values())[-1] for sample_id, those in self.standing.items() if those}

    def stands(self, uid: str) -> bool:
        return any(uid in decisions for decisions in self.standing.values())

    def free(self, sample_id: int, holder: tuple[str, str]) -> bool:
        """Whether this holder may have the sample: open, and on nobody else's screen."""
        has_it = self.leases.get(sample_id, (holder, 0))[0] == holder
        return sample_id not in self.states() and (has_it or not self.on_screen(sample_id))

    def on_screen(self, sample_id: int) -> bool:
        return sample_id in self.leases and self.leases[sample_id][1] > self.now

    def held(self, holder: tuple[str, str]) -> list[int]:
        return sorted(s for s, lease in self.leases.items() if lease[0] == holder and self.on_screen(s))

    def reopen(self, sample_id: int, holder: tuple[str, str]) -> None:
        """An undone sample goes to who undid it, unless it is decided still or somebody has it."""
        if sample_id not in self.states() and not self.on_screen(sample_id):
            self.leases[sample_id] = (holder, self.now + 120)

    def newest_of(self, holder: tuple[str, str]) -> NewEvent | None:
        mine = [e for e in self.events.values() if (e.annotator, e.client) == holder and self.stands(e.uid)]
        return mine[-1] if mine else None


def answer(event: NewEvent) -> tuple[object, ...]:
    return event.annotator, event.kind, event.sample_id, event.class_id, event.undoes


class Machine(RuleBasedStateMachine):
    template: Path
    server: "Server | None"

    @initialize()
    def open(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.place_a_record()
        self.project = Project.open(self.folder)
        self.store = self.project.store
        self.model = Model()
        self.uids = 0

    def place_a_record(self) -> None:
        if self.server is None:
            shutil.copy(self.template / "labels.db", self.folder)
            return
        with Store.copied(self.template / "labels.db", self.server.url(f"m{secrets.token_hex(8)}"), "m") as store:
            remember(self.folder, store.place)

    def teardown(self) -> None:
        if not hasattr(self, "folder"):
            return
        try:
            assert self.store.check() == []
            for at, states in enumerate(self.model.past):
                self.compare_past(at, states)
        finally:
            self.project.close()
            shutil.rmtree(self.folder)

    def uid(self) -> str:
        self.uids += 1
        return f"u{self.uids}"

    def record(self, *events: NewEvent) -> None:
        """Sent and, unless it is an undo's own doing, modelled: one transaction."""
        assert self.store.record(events) == [event.uid for event in events]
        fresh = [event for event in events if event.uid not in self.model.events]
        for event in fresh:
            self.model.append(event)
        undos = {event.group_id or event.uid: event for event in fresh if event.kind == "undo"}
        for event in undos.values():
            self.model.reopen(event.sample_id, (event.annotator, event.client))

    def refuse(self, *events: NewEvent) -> None:
        """None of them is stored: the invariant looks."""
        with pytest.raises(Conflict):
            self.store.record(events)

    # ---------- what people do ----------

    @rule(holder=holders, wanted=some_samples, n=st.integers(1, 3), seconds=st.sampled_from(LEASES))
    def ask(self, holder: tuple[str, str], wanted: list[int], n: int, seconds: int) -> None:
        expected = [s for s in wanted if s != GOLD and self.model.free(s, holder)][:n]
        assert self.store.lease(wanted, n, *holder, seconds=seconds) == expected
        for sample_id in expected:
            self.model.leases[sample_id] = (holder, self.model.now + seconds)

    @rule(holder=holders, sample_id=sample_ids, class_id=class_ids)
    def label(self, holder: tuple[str, str], sample_id: int, class_id: int) -> None:
        self.record(NewEvent(self.uid(), "label", sample_id, class_id, *holder))

    @rule(holder=holders, sample_id=sample_ids, kind=st.sampled_from(KINDS))
    def decide_otherwise(self, holder: tuple[str, str], sample_id: int, kind: str) -> None:
        self.record(NewEvent(self.uid(), kind, sample_id, None, *holder))

    @precondition(lambda self: self.model.states())
    @rule(data=st.data(), holder=holders, class_id=class_ids)
    def correct(self, data: st.DataObject, holder: tuple[str, str], class_id: int) -> None:
        sample_id = data.draw(st.sampled_from(sorted(self.model.states())))
        self.record(NewEvent(self.uid(), "label", sample_id, class_id, *holder))

    @precondition(lambda self: self.model.events)
    @rule(data=st.data(), holder=holders)
    def undo(self, data: st.DataObject, holder: tuple[str, str]) -> None:
        """Of any event: a decision, and in vain one undone already, a comment, another undo."""
        target = data.draw(st.sampled_from(list(self.model.events.values())))
        undo = NewEvent(self.uid(), "undo", target.sample_id, None, *holder, undoes=target.uid)
        if self.model.stands(target.uid):
            return self.record(undo)
        self.refuse(undo)

    @rule(holder=holders, sample_id=sample_ids, ahead=st.integers(2, 4))
    def undo_what_is_still_to_come(self, holder: tuple[str, str], sample_id: int, ahead: int) -> None:
        uid = self.uid()
        self.refuse(NewEvent(uid, "undo", sample_id, None, *holder, undoes=f"u{self.uids + ahead - 1}"))

    @rule(holder=holders)
    def undo_the_newest(self, holder: tuple[str, str]) -> None:
        """As the loop does: with its whole group where it is in one."""
        newest = self.model.newest_of(holder)
        question = self.project.loop(*holder).undo()
        assert (question and question.sample_id) == (newest and newest.sample_id)
        self.take_over_undos(newest, holder)

    @rule(holder=holders, those=some_samples, class_id=class_ids)
    def label_a_group(self, holder: tuple[str, str], those: list[int], class_id: int) -> None:
        group_id = self.uid()
        loop = self.project.loop(*holder)
        assert loop.answer_many(dict.fromkeys(those, class_id - 1), uid=group_id) == group_id
        for s in those:
            self.model.append(NewEvent(f"{group_id}-{s}", "label", s, class_id, *holder, group_id=group_id))

    @precondition(lambda self: any(event.group_id for event in self.model.events.values()))
    @rule(data=st.data(), holder=holders, times=st.integers(1, 2))
    def undo_a_group(self, data: st.DataObject, holder: tuple[str, str], times: int) -> None:
        groups = sorted({event.group_id for event in self.model.events.values() if event.group_id})
        group_id, uid = data.draw(st.sampled_from(groups)), self.uid()
        first = [self.store.undo_group(group_id, uid, *holder) for _ in range(times)]
        assert first[0] == first[-1]
        stored = self.store.events(after=len(self.model.events))
        assert [event.uid for event in stored] == first[0]
        members = [e for e in self.model.events.values() if e.group_id == group_id and self.model.stands(e.uid)]
        assert [event.undoes for event in stored] == [member.uid for member in members]
        self.take_over_undos(members[-1] if members else None, holder)

    def take_over_undos(self, of: NewEvent | None, holder: tuple[str, str]) -> None:
        """The undos that the store made itself of an event or its group: their uids are its own, the rest is not."""
        if of is None:
            return
        members = [of]
        if of.group_id is not None:
            members = [e for e in self.model.events.values() if e.group_id == of.group_id and self.model.stands(e.uid)]
        made = self.store.events(after=len(self.model.events))
        for event, member in zip(made, members, strict=True):
            assert (event.kind, event.undoes, event.group_id) == ("undo", member.uid, member.group_id)
            self.model.append(NewEvent(event.uid, "undo", member.sample_id, None, *holder, undoes=member.uid))
        self.model.reopen(members[-1].sample_id, holder)

    # ---------- what browsers, clocks and processes do ----------

    @precondition(lambda self: self.model.events)
    @rule(data=st.data(), holder=holders, sample_id=sample_ids, class_id=class_ids)
    def send_again(self, data: st.DataObject, holder: tuple[str, str], sample_id: int, class_id: int) -> None:
        """The same event beside a new one: that one is stored. The same uid with another meaning: none is."""
        known = data.draw(st.sampled_from(list(self.model.events.values())))
        new = NewEvent(self.uid(), "skip", sample_id, None, *holder)
        other = NewEvent(known.uid, "label", sample_id, class_id, *holder)
        if answer(other) == answer(known):
            return self.record(other, new)
        self.refuse(new, other)
        self.record(known, new)

    @rule(seconds=st.sampled_from([30, 100, 400]))
    def time_passes(self, seconds: int) -> None:
        with self.store._writing() as db:
            db.exec_driver_sql(f"UPDATE leases SET expires = expires - {seconds}")
        self.model.now += seconds

    @rule(holder=holders, those=some_samples)
    def renew(self, holder: tuple[str, str], those: list[int]) -> None:
        """One that ran out too, as a tab that slept does, where nobody took the image since."""
        self.store.renew(*holder, those, seconds=300)
        for sample_id in those:
            if self.model.leases.get(sample_id, (None, 0))[0] == holder:
                self.model.leases[sample_id] = (holder, self.model.now + 300)

    @rule(holder=holders, kept=some_samples)
    def release(self, holder: tuple[str, str], kept: list[int]) -> None:
        self.store.release(*holder, keep=kept)
        leases = self.model.leases.items()
        self.model.leases = {s: lease for s, lease in leases if lease[0] != holder or s in kept}

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
        states = self.model.states()
        assert {s: (state.kind, state.class_id) for s, state in self.store.states().items()} == states
        assert self.store.labels(None) == {s: class_id for s, (kind, class_id) in states.items() if kind == "label"}
        assert [event.uid for event in self.store.events()] == list(self.model.events)
        for holder in HOLDERS:
            assert self.store.held(*holder) == self.model.held(holder)
        assert self.store.counts()["open"] == len(set(range(1, GOLD)) - states.keys())

    @precondition(lambda self: self.model.events)
    @rule(data=st.data())
    def look_back(self, data: st.DataObject) -> None:
        at = data.draw(st.integers(0, len(self.model.events)))
        self.compare_past(at, self.model.past[at])

    def compare_past(self, at: int, states: dict[int, Decision]) -> None:
        labels = {s: class_id for s, (kind, class_id) in states.items() if kind == "label"}
        assert self.store.labels(None, at=at) == labels
        assert {s: (state.kind, state.class_id) for s, state in self.store.states(at).items()} == states


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """A project without events, to be copied: making a database takes longer than opening one."""
    with Project.create(tmp_path / "template", ["cat", "dog", "owl"]) as p:
        for i in range(N):
            split = {GOLD - 1: "gold", GOLD - 2: "measure"}.get(i, "pool")
            p.store.add_samples([NewSample(f"{i:064x}", f"image {i}", "images/pack.npy", i, 8, 8, 1, split)])
        for annotator, _ in HOLDERS:
            p.store.annotator(annotator)
    return tmp_path / "template"


@pytest.mark.timeout(400)  # a failure is made as short as it can be, for up to five minutes
@pytest.mark.parametrize("kind", DATABASES)
def test_the_record_does_what_a_plain_model_of_it_does(
    kind: str, template: Path, request: pytest.FixtureRequest
) -> None:
    server = request.getfixturevalue("postgresql") if kind == "postgresql" else None
    machine = type("RecordAgainstModel", (Machine,), {"template": template, "server": server})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=12 * DEPTH, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
