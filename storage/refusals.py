"""Which events are not stored, and the sentence that says why."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, select

from storage.classes import roots, shown
from storage.database import values_of
from storage.dialects import given
from storage.states import rules_at
from storage.tables import annotators, classes, events, sample_states, samples
from storage.values import EVENT_KINDS, STATE_KINDS, Conflict, NewEvent

ANSWER = ("kind", "sample_id", "class_id", "undoes", "review")  # and whose it is: what an event says

STORED = (  # made once: a label waits for it
    select(events.c.uid, annotators.c.name, *(events.c[name] for name in ANSWER))
    .join_from(events, annotators, annotators.c.id == events.c.annotator_id)
    .where(events.c.uid.in_(given("uids")))
)


def must_make_sense(new: NewEvent) -> None:
    """ValueError for one that means nothing, whatever is stored."""
    if new.kind not in EVENT_KINDS:
        raise ValueError(f"{new.kind!r} is not a kind of event; one of {', '.join(EVENT_KINDS)} is.")
    if not new.uid:
        raise ValueError("An event needs a uid of its own, so that sending it again stores it once.")
    if any(not 0 <= number < 2**62 for number in (new.ms, new.version, new.rank) if number is not None):
        raise ValueError(f"An event came with ms={new.ms}, version={new.version}, rank={new.rank}: they start at 0.")
    if (new.kind == "label") != (new.class_id is not None):
        raise ValueError(f"A {new.kind} event came with class id {new.class_id}; a label has one, no other kind does.")
    if (new.kind == "undo") != (new.undoes is not None):
        raise ValueError(
            f"A {new.kind} event came with undoes={new.undoes!r}; an undo names a uid, no other kind does."
        )
    if new.review and new.kind == "comment":
        raise ValueError("A comment decides nothing, so it cannot be a reviewer's decision.")


def not_stored_yet(db: Connection, new_events: Sequence[NewEvent]) -> list[NewEvent]:
    """Those that are new, in order. Conflict where a uid comes with another answer than it is stored with, or twice."""
    stored = db.execute(STORED, {"uids": json.dumps([new.uid for new in new_events])})
    known: dict[str, tuple[Any, ...]] = {row[0]: tuple(row[1:]) for row in stored}
    fresh = []
    for new in new_events:
        answer = (new.annotator, *(getattr(new, name) for name in ANSWER))
        if new.uid not in known:
            fresh.append(new)
        if known.setdefault(new.uid, answer) != answer:
            raise Conflict(f"The answer {new.uid} is stored already, and says something else. It was left as it is.")
    return fresh


def must_be_own(db: Connection, new_events: Sequence[NewEvent]) -> None:
    """Conflict for an answer in the place of another person's, and for an undo of one: those are for reviewers.

    An answer to a sample that is asked of several people is in nobody's place.
    """
    query = select(events.c.uid, annotators.c.name).join(annotators, annotators.c.id == events.c.annotator_id)
    undone = query.where(events.c.uid.in_(values_of(new.undoes for new in new_events if new.undoes)))
    whose: dict[str, str] = dict(db.execute(undone).all())
    if any(whose.get(new.undoes or "", new.annotator) != new.annotator for new in new_events):
        raise Conflict("That is another person's answer: a reviewer may take it back.")
    rules = rules_at(db)
    for name in {new.annotator for new in new_events}:
        decided = (new.sample_id for new in new_events if new.annotator == name and new.kind in STATE_KINDS)
        theirs = (
            select(sample_states.c.sample_id)
            .join(annotators, annotators.c.id == sample_states.c.annotator_id)
            .where(sample_states.c.sample_id.in_(values_of(decided)), annotators.c.name != name)
        )
        if rules.ever:
            theirs = theirs.join(samples, samples.c.id == sample_states.c.sample_id).where(~rules.drawn)
        if db.scalar(theirs.limit(1)) is not None:
            raise Conflict("Somebody else has decided this image: a reviewer may change that.")


def splits_of(db: Connection, sample_ids: set[int]) -> dict[int, str]:
    """KeyError for a sample that is not there."""
    query = select(samples.c.id, samples.c.split).where(samples.c.id.in_(values_of(sample_ids)))
    splits = dict(db.execute(query).all())
    if missing := sample_ids - splits.keys():
        raise KeyError(f"There is no sample {min(missing)}.")
    return splits


def must_be_classes(db: Connection, labeled: set[int | None], predicted: set[int | None]) -> None:
    """A label as a merged class is kept as it was given; one as an archived class would be one that nobody reads."""
    rows = {row.id: row for row in db.execute(select(classes.c.id, classes.c.name, classes.c.archived_at))}
    missing = (labeled | predicted) - {None} - rows.keys()
    if missing:
        raise KeyError(f"There is no class with id {min(i for i in missing if i is not None)}.")
    root = roots(db)
    for class_id in labeled:
        if class_id is None:
            continue
        counts_as = rows[root[class_id]]
        if counts_as.archived_at is not None:
            raise ValueError(f"The class {shown(counts_as.name)} is archived. Choose another class, or restore it.")


def retracted_samples(db: Connection, new_events: Iterable[NewEvent]) -> set[int]:
    """Samples of which these undos take an answer back. Conflict for an undo that has none to take back."""
    undos = [new.undoes for new in new_events if new.undoes]
    if not undos:
        return set()
    query = select(events.c.uid, events.c.sample_id, events.c.review)
    query = query.where(events.c.uid.in_(values_of(undos)), events.c.kind.in_(STATE_KINDS))
    known = {row.uid: row for row in db.execute(query)}
    undone = set(db.scalars(select(events.c.undoes).where(events.c.undoes.in_(values_of(undos)))))
    given: dict[str, Any] = {}
    found = set()
    for new in new_events:
        if new.kind in STATE_KINDS:
            given[new.uid] = new
        if new.undoes is None:
            continue
        target = known.get(new.undoes) or given.get(new.undoes)
        if target is None:
            raise Conflict("There is no such answer to take back.")
        if new.undoes in undone:
            raise Conflict("That answer was taken back already.")
        if target.review and not new.review:
            raise Conflict("That is a reviewer's decision, which a reviewer takes back.")
        found.add(target.sample_id)
        undone.add(new.undoes)
    return found
