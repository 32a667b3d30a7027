"""The chain of events: each has a link, the sha256 of what it says and of the link before it (docs/decisions/0036).

Links are a table of their own, written in the transaction that appends the events. An event that was changed, taken
out or put in by anybody else does not fit its link, or has none.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, func, select

from storage.dialects import BATCH, given
from storage.tables import annotators, class_events, event_links, events, overlap_events, samples, versions

FIRST = ""  # what comes before the first link
LEAST = -(2**62)  # less than any id
SHOWN = 10  # runs of ids in one line
# What is linked, in this order. It never changes: links of before would not fit. Whose and which image are names that
# mean the same wherever the record is copied to.
LINKED: list[Any] = [
    events.c.id, events.c.uid, events.c.kind, events.c.sample_id, samples.c.sha256, events.c.class_id,
    annotators.c.name, events.c.client, events.c.time, events.c.ms, events.c.paused, events.c.version,
    events.c.acquisition, events.c.score, events.c.rank, events.c.predicted_class_id, events.c.predicted_prob,
    events.c.purpose, events.c.group_id, events.c.undoes, events.c.comment, events.c.review,
]  # fmt: skip


def link_after(before: str, event: Iterable[Any]) -> str:
    """Hex sha256 of a JSON list: the link before, and the values of LINKED."""
    return hashlib.sha256(json.dumps([before, *map(_as_kept, event)], separators=(",", ":")).encode()).hexdigest()


def _as_kept(value: Any) -> Any:
    """The same from either database: SQLite keeps no NaN and no minus zero."""
    if isinstance(value, float):
        return None if value != value else value + 0.0
    return value


def extend(db: Connection, uids: Iterable[str]) -> None:
    """Link the events with these uids, which were appended just now: as they are stored, not as they were sent."""
    rows = db.execute(APPENDED, {"uids": json.dumps(list(uids))}).all()
    _link(db, rows[0].newest or FIRST, (row[:-1] for row in rows))


def link_all(db: Connection) -> None:
    """Every event of a record that has no links yet."""
    before = FIRST
    for some in _pages(db, _linked(), events.c.id):
        before = _link(db, before, some)


def link_missing(db: Connection) -> None:
    """Links that were lost, made again of their events; where those before are lost too, they do not fit the next."""
    before, links = FIRST, []
    for event_id, event, link in _side_by_side(db):
        before = link or link_after(before, event)
        if link is None:
            links.append({"event_id": event_id, "link": before})
    if links:
        db.execute(ADD, links)


def _link(db: Connection, before: str, rows: Iterable[Any]) -> str:
    links = []
    for row in rows:
        before = link_after(before, row)
        links.append({"event_id": row[0], "link": before})
    db.execute(ADD, links)
    return before


def broken_links(db: Connection) -> list[str]:
    """What the chain tells of events that were taken out, put in or changed, one line each."""
    gone, strange, changed, between = [], [], [], []
    before, last = FIRST, 0
    for event_id, event, link in _side_by_side(db):
        if link is None:
            strange.append(event_id)
            continue
        if event is None:
            gone.append(event_id)
        elif link_after(before, event) != link:
            if event_id == last + 1:
                changed.append(event_id)
            else:
                between.append(f"Between the events {last} and {event_id} some are gone, or {event_id} was changed.")
        before, last = link, event_id
    told = {
        "were recorded and are gone": gone,
        "were changed after they were recorded": changed,
        "were put in by another program than Labeler": strange,
    }
    return [*(f"Events that {what}: {_runs(ids)}." for what, ids in told.items() if ids), *between]


def samples_of_others(db: Connection) -> set[int]:
    """Samples of events that are not as they were recorded, or that another program put in."""
    before, found = FIRST, set()
    for _, event, link in _side_by_side(db):
        if event is not None and (link is None or link_after(before, event) != link):
            found.add(int(event.sample_id))
        before = link or before
    return found


def missing_end(db: Connection, dealt: int) -> list[str]:
    """What else knows of events after the newest one: versions, changes of classes, the last id that was `dealt`."""
    newest = db.scalar(select(func.max(events.c.id))) or 0
    told = (versions.c.last_event_id, class_events.c.after_event_id, overlap_events.c.after_event_id)
    known = max(dealt, *(db.scalar(select(func.max(column))) or 0 for column in told))
    linked = db.scalar(select(func.max(event_links.c.event_id))) or 0
    if known <= max(newest, linked):  # what has a link is told of already
        return []
    return [f"The record ends with event {newest}, but there was an event {known}: the end was taken off."]


def _side_by_side(db: Connection) -> Iterator[tuple[int, Any, str | None]]:
    """(event id, what is linked of it, its link), ascending; None where there is only one of the two."""
    rows = (row for some in _pages(db, _linked(), events.c.id) for row in some)
    links = (row for some in _pages(db, select(event_links), event_links.c.event_id) for row in some)
    row, link = next(rows, None), next(links, None)
    while row is not None or link is not None:
        if link is None or (row is not None and row[0] < link.event_id):
            assert row is not None
            yield row[0], row, None
            row = next(rows, None)
        elif row is None or link.event_id < row[0]:
            yield link.event_id, None, link.link
            link = next(links, None)
        else:
            yield row[0], row, link.link
            row, link = next(rows, None), next(links, None)


def _linked() -> sa.Select[Any]:
    query = select(*LINKED).outerjoin_from(events, samples, samples.c.id == events.c.sample_id)
    return query.outerjoin(annotators, annotators.c.id == events.c.annotator_id)


# Made once: a label waits for them.
ADD = sa.insert(event_links)
APPENDED = (
    _linked()
    .add_columns(
        select(event_links.c.link).order_by(event_links.c.event_id.desc()).limit(1).scalar_subquery().label("newest")
    )
    .where(events.c.uid.in_(given("uids")))
    .order_by(events.c.id)
)


def _pages(db: Connection, query: sa.Select[Any], by: sa.ColumnElement[int]) -> Iterator[list[Any]]:
    last = LEAST
    while some := db.execute(query.where(by > last).order_by(by).limit(BATCH)).all():
        yield list(some)
        last = some[-1][0]


def _runs(ids: list[int]) -> str:
    """1, 2, 3, 7 as '1 to 3, 7'."""
    runs: list[list[int]] = []
    for event_id in ids:
        if runs and event_id == runs[-1][1] + 1:
            runs[-1][1] = event_id
        else:
            runs.append([event_id, event_id])
    told = [f"{first}" if first == last else f"{first} to {last}" for first, last in runs[:SHOWN]]
    return ", ".join(told) + (f" and {len(runs) - SHOWN:,} more such" if len(runs) > SHOWN else "")
