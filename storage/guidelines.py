"""Guidelines: what a class means, in words and example images. Each change is appended; the newest of a class holds."""

import json
import time
import unicodedata
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, func, select

from storage.classes import ClassTables, annotator_ids, roots, shown
from storage.database import values_of
from storage.tables import annotators, classes, events, guideline_events, sample_states
from storage.values import ChangedMeanwhile, Guideline, GuidelineEvent

LONGEST = 4_000  # characters
MOST_EXAMPLES = 8

LABELED = sa.and_(sample_states.c.kind == "label", sample_states.c.purpose != "gold")
NEWEST = select(func.max(guideline_events.c.id)).group_by(guideline_events.c.class_id)


class GuidelineTables(ClassTables):
    def guidelines(self) -> dict[int, Guideline]:
        """Class id -> guideline, of every class that ever had one, archived and merged ones too."""
        with self._reading() as db:
            return _guidelines(db)

    def guideline(self, class_id: int) -> Guideline:
        """Empty where there is none."""
        return self.guidelines().get(class_id, Guideline(class_id))

    def guidelines_mark(self) -> str:
        """Another text whenever what `guidelines` tells is another; without reading their texts."""
        columns = (guideline_events.c.id, guideline_events.c.class_id, guideline_events.c.examples)
        with self._reading() as db:
            rows = db.execute(select(*columns).where(guideline_events.c.id.in_(NEWEST))).all()
            examples = {row.class_id: json.loads(row.examples) for row in rows}
            counted = _counted(db, [one for chosen in examples.values() for one in chosen])
        newest = max((row.id for row in rows), default=0)
        return ".".join(map(str, [newest, *sorted(f"{one}={class_id}" for one, class_id in counted.items())]))

    def guideline_events(self) -> list[GuidelineEvent]:
        """Every change, oldest first."""
        query = select(guideline_events, annotators.c.name.label("annotator")).outerjoin(
            annotators, annotators.c.id == guideline_events.c.annotator_id
        )
        with self._reading() as db:
            return [_event(row) for row in db.execute(query.order_by(guideline_events.c.id))]

    def set_guideline(
        self,
        class_id: int,
        text: str | None = None,
        examples: Sequence[int] | None = None,
        annotator: str | None = None,
        was: int | None = None,
    ) -> Guideline:
        """A new text, other examples, or both; None leaves what is. What is so already is no event.

        Examples are labeled as the class when they are chosen. `was`: the `event_id` of the guideline that was changed;
        ChangedMeanwhile where somebody wrote a newer one. KeyError for no class, ValueError for what will not do.
        """
        text = None if text is None else clean_text(text)
        with self._writing() as db:
            before = _guideline(db, class_id)
            text = before.text if text is None else text
            chosen = before.examples if examples is None else tuple(dict.fromkeys(int(one) for one in examples))
            if was not in (None, before.event_id) and (text, chosen) != (before.text, before.examples):
                raise ChangedMeanwhile(_who_changed(db, before))
            _must_be_examples(db, class_id, chosen, before.examples)
            return _kept(db, before, text, chosen, annotator)

    def use_as_example(
        self, class_id: int, sample_id: int, use: bool = True, annotator: str | None = None
    ) -> Guideline:
        """One example more, or less. Errors as `set_guideline`."""
        with self._writing() as db:
            before = _guideline(db, class_id)
            others = tuple(one for one in before.examples if one != sample_id)
            chosen = before.examples if use and sample_id in before.examples else (*others, *([sample_id] * use))
            _must_be_examples(db, class_id, chosen, before.examples)
            return _kept(db, before, before.text, chosen, annotator)

    def labeled_as(self, class_id: int, limit: int | None = None, offset: int = 0) -> list[int]:
        """Ids of the samples whose label counts as the class, gold ones aside, the newest label first."""
        with self._reading() as db:
            root = roots(db)
            same = [one for one, counts_as in root.items() if counts_as == root.get(class_id)]
            query = select(sample_states.c.sample_id).where(LABELED, sample_states.c.class_id.in_(values_of(same)))
            return list(db.scalars(query.order_by(sample_states.c.event_id.desc()).limit(limit).offset(offset)))


def clean_text(text: str) -> str:
    """The text as stored: composed, with line feeds, no blanks at its end. ValueError for one that will not do."""
    cleaned = unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n").rstrip()
    if any(unicodedata.category(letter) in ("Cc", "Cs") and letter not in "\n\t" for letter in cleaned):
        raise ValueError("The guideline holds a control character. Use letters, digits, signs and line breaks.")
    if len(cleaned) > LONGEST:
        raise ValueError(f"The guideline has {len(cleaned):,} characters; {LONGEST:,} are possible. Shorten it.")
    return cleaned


def _guidelines(db: Connection, class_id: int | None = None) -> dict[int, Guideline]:
    query = select(guideline_events).where(guideline_events.c.id.in_(NEWEST))
    if class_id is not None:
        query = query.where(guideline_events.c.class_id == class_id)
    rows = [(row, tuple(json.loads(row.examples))) for row in db.execute(query)]
    root = roots(db)
    counted = _counted(db, [one for _, examples in rows for one in examples], root)
    return {
        row.class_id: Guideline(
            row.class_id,
            row.text,
            examples,
            tuple(one for one in examples if counted.get(one) == root[row.class_id]),
            row.id,
        )
        for row, examples in rows
    }


def _guideline(db: Connection, class_id: int) -> Guideline:
    if db.scalar(select(classes.c.id).where(classes.c.id == class_id)) is None:
        raise KeyError(f"There is no class with id {class_id}.")
    return _guidelines(db, class_id).get(class_id, Guideline(class_id))


def _counted(db: Connection, sample_ids: Sequence[int], root: dict[int, int] | None = None) -> dict[int, int]:
    """Sample id -> the class that its label counts as, of those that have one."""
    if not sample_ids:
        return {}
    root = roots(db) if root is None else root
    query = select(sample_states.c.sample_id, sample_states.c.class_id)
    query = query.where(LABELED, sample_states.c.sample_id.in_(values_of(sample_ids)))
    return {row.sample_id: root[row.class_id] for row in db.execute(query)}


def _must_be_examples(db: Connection, class_id: int, chosen: Sequence[int], before: Sequence[int]) -> None:
    """Those chosen before may stay, whatever became of their label: it may come back."""
    if len(chosen) > MOST_EXAMPLES:
        raise ValueError(f"A class has at most {MOST_EXAMPLES} examples. Take one away first.")
    new, root = [one for one in chosen if one not in before], roots(db)
    counted = _counted(db, new, root)
    if others := [one for one in new if counted.get(one) != root[class_id]]:
        name = shown(str(db.scalar(select(classes.c.name).where(classes.c.id == class_id))))
        raise ValueError(f"Sample {others[0]} is not labeled {name}. An example is an image that is labeled so.")


def _kept(db: Connection, before: Guideline, text: str, examples: tuple[int, ...], annotator: str | None) -> Guideline:
    """Append the guideline as it is from now on."""
    if (text, examples) != (before.text, before.examples):
        row = {
            "class_id": before.class_id,
            "text": text,
            "examples": json.dumps(examples),
            "annotator_id": None if annotator is None else annotator_ids(db, [annotator])[annotator],
            "time": time.time(),
            "after_event_id": select(func.coalesce(func.max(events.c.id), 0)).scalar_subquery(),
        }
        db.execute(sa.insert(guideline_events).values(**row))
    return _guideline(db, before.class_id)


def _who_changed(db: Connection, newest: Guideline) -> str:
    query = select(annotators.c.name).join(guideline_events, guideline_events.c.annotator_id == annotators.c.id)
    who = db.scalar(query.where(guideline_events.c.id == newest.event_id)) or "Somebody"
    return f"{who} changed this guideline meanwhile. Look at it, then save yours over it or not."


def _event(row: Any) -> GuidelineEvent:
    examples = tuple(json.loads(row.examples))
    return GuidelineEvent(row.id, row.class_id, row.text, examples, row.annotator, row.time, row.after_event_id)
