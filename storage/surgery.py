"""Class surgery: what becomes of a class while every label stays as it was given.

Each change is one transaction: it appends what the classes are from then on to their events, or changes nothing.
"""

import re
import time
import uuid
from collections.abc import Sequence

from sqlalchemy import Connection, select

from storage.classes import ACTIVE, KEYS, ClassTables, a_class, add, change, clean_class_name, deal_keys, roots, shown
from storage.database import values_of
from storage.events import EventTables
from storage.overlap import decided_by_several, settle_again
from storage.tables import classes, sample_states
from storage.values import Class, NewEvent

HEX = re.compile(r"#[0-9a-f]{6}")


class SurgeryTables(ClassTables, EventTables):
    """KeyError for an id that is no class; ValueError, in one line, for what cannot be done with one."""

    def rename_class(self, class_id: int, name: str, annotator: str | None = None) -> None:
        """Any class. Two in use never have the same name; archived ones may."""
        name = clean_class_name(name)
        with self._writing() as db:
            if not _one(db, class_id).archived:
                _must_be_free(db, name, class_id)
            change(db, "rename", {class_id: {"name": name}}, annotator)

    def recolour_class(self, class_id: int, colour: str, annotator: str | None = None) -> None:
        """`colour` as #rrggbb."""
        colour = clean_colour(colour)
        with self._writing() as db:
            _one(db, class_id)
            change(db, "recolour", {class_id: {"colour": colour}}, annotator)

    def key_class(self, class_id: int, key: str, annotator: str | None = None) -> None:
        """Give a class this key, '' for none. The class that has it gets the other's in exchange."""
        key = clean_key(key)
        with self._writing() as db:
            one = _in_use(db, class_id)
            holder = db.scalar(select(classes.c.id).where(ACTIVE, classes.c.key == key, classes.c.id != class_id))
            changes = {class_id: {"key": key}}
            if key and holder is not None:
                changes[holder] = {"key": one.key}
            change(db, "key", changes, annotator)

    def reorder_classes(self, class_ids: Sequence[int], keys: bool = False, annotator: str | None = None) -> None:
        """These in front, in this order, the others behind them as they are. `keys`: deal the keys anew as well."""
        with self._writing() as db:
            first = [_in_use(db, class_id) for class_id in dict.fromkeys(class_ids)]
            rows = db.execute(select(classes).where(ACTIVE).order_by(classes.c.position, classes.c.id))
            order = [*first, *(one for one in map(a_class, rows) if one not in first)]
            dealt = deal_keys([one.name for one in order], set()) if keys else {one.name: one.key for one in order}
            changes = {one.id: {"position": i, "key": dealt[one.name]} for i, one in enumerate(order)}
            change(db, "reorder", changes, annotator)

    def archive_classes(self, class_ids: Sequence[int], annotator: str | None = None) -> None:
        """No longer offered, learned or exported as a class; its labels stay, and its images are not asked again."""
        with self._writing() as db:
            for class_id in class_ids:
                _in_use(db, class_id)
            now = time.time()
            change(db, "archive", {class_id: {"archived_at": now} for class_id in class_ids}, annotator)

    def restore_classes(self, class_ids: Sequence[int], annotator: str | None = None) -> None:
        """Archived classes in use again, with all their labels. A key that was taken meanwhile is replaced."""
        group_id = uuid.uuid4().hex
        with self._writing() as db:
            for class_id in class_ids:
                one = _one(db, class_id)
                if not one.archived:
                    raise ValueError(f"The class {shown(one.name)} is not archived: there is nothing to restore.")
                _must_be_free(db, one.name, class_id)
                back = {"archived_at": None, "key": _its_key(db, one)}
                change(db, "restore", {class_id: back}, annotator, group_id=group_id)

    def merge_classes(self, class_ids: Sequence[int], into: int, annotator: str | None = None) -> None:
        """From now on their labels, given and to come, count as those of the class `into`."""
        with self._writing() as db:
            target = _in_use(db, into)
            for class_id in class_ids:
                if class_id == into:
                    raise ValueError(f"The class {shown(target.name)} cannot be merged into itself.")
                _in_use(db, class_id)
            change(db, "merge", {class_id: {"merged_into": into} for class_id in class_ids}, annotator)
            settle_again(db)

    def unmerge_classes(self, class_ids: Sequence[int], annotator: str | None = None) -> None:
        """Merged classes on their own again, with the labels that were given as theirs before and after the merge."""
        group_id = uuid.uuid4().hex
        with self._writing() as db:
            for class_id in class_ids:
                one = _one(db, class_id)
                if one.merged_into is None:
                    raise ValueError(f"The class {shown(one.name)} is not merged: there is nothing to unmerge.")
                back = {"merged_into": None, "key": _its_key(db, one)}
                change(db, "unmerge", {class_id: back}, annotator, one.merged_into, group_id)
            settle_again(db)

    def split_class(
        self, class_id: int, name: str, sample_ids: Sequence[int], annotator: str = "me"
    ) -> tuple[Class, str]:
        """A new class with these samples of a class: a label event each. Returns it and the events' group_id."""
        sample_ids = list(dict.fromkeys(int(sample_id) for sample_id in sample_ids))
        if not sample_ids:
            raise ValueError("No sample was chosen. Say which ones go to the new class.")
        group_id = uuid.uuid4().hex
        with self._writing() as db:
            one = _in_use(db, class_id)
            _must_be_labeled(db, sample_ids, one)
            new = add(db, [name], annotator, came_from=class_id, group_id=group_id)[0]
            reviews = decided_by_several(db, sample_ids)  # one answer more would change nothing there
            moves = [
                NewEvent(
                    uuid.uuid4().hex,
                    "label",
                    i,
                    new.id,
                    annotator,
                    "split",
                    acquisition="split",
                    group_id=group_id,
                    review=i in reviews,
                )
                for i in sample_ids
            ]
            self._append(db, moves)
        return new, group_id


def clean_colour(colour: str) -> str:
    if not HEX.fullmatch(colour.lower()):
        raise ValueError(f"{shown(colour)} is no colour such as #4477aa.")
    return colour.lower()


def clean_key(key: str) -> str:
    if key.lower() not in ("", *KEYS):
        raise ValueError(f"{shown(key)} cannot be the key of a class. One of {KEYS} can, or '' for none.")
    return key.lower()


def _one(db: Connection, class_id: int) -> Class:
    row = db.execute(select(classes).where(classes.c.id == class_id)).first()
    if row is None:
        raise KeyError(f"There is no class with id {class_id}.")
    return a_class(row)


def _in_use(db: Connection, class_id: int) -> Class:
    one = _one(db, class_id)
    if one.merged_into is not None:
        into = shown(_one(db, one.merged_into).name)
        raise ValueError(f"The class {shown(one.name)} is merged into {into}. Unmerge it first, or name {into}.")
    if one.archived:
        raise ValueError(f"The class {shown(one.name)} is archived. Restore it first.")
    return one


def _must_be_free(db: Connection, name: str, class_id: int) -> None:
    same = select(classes).where(classes.c.name == name, classes.c.archived_at.is_(None), classes.c.id != class_id)
    if (row := db.execute(same).first()) is not None:
        how = "merged" if row.merged_into is not None else "in use"
        raise ValueError(
            f"There is a class {shown(name)} already, which is {how}. Merge the two, or rename one of them."
        )


def _its_key(db: Connection, one: Class) -> str:
    """The key that it had, or a free one where another class has that now."""
    used = set(db.scalars(select(classes.c.key).where(classes.c.archived_at.is_(None), classes.c.id != one.id)))
    return one.key if one.key not in used or not one.key else deal_keys([one.name], used)[one.name]


def _must_be_labeled(db: Connection, sample_ids: Sequence[int], one: Class) -> None:
    query = select(sample_states.c.sample_id, sample_states.c.class_id).where(
        sample_states.c.kind == "label", sample_states.c.sample_id.in_(values_of(sample_ids))
    )
    root, labels = roots(db), dict(db.execute(query).all())
    others = [i for i in sample_ids if i not in labels or root[labels[i]] != one.id]
    if others:
        n = f"{len(others):,} of the {len(sample_ids):,} samples are" if len(sample_ids) > 1 else "The sample is"
        raise ValueError(f"{n} not labeled {shown(one.name)}, first sample {others[0]}. Leave out what is not.")
