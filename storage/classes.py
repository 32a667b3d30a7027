"""The classes of a project, and the people who label: small tables, read often."""

import colorsys
import time
import unicodedata
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, func, literal, select

from storage.database import Database
from storage.dialects import insert
from storage.tables import annotators, class_events, classes, events
from storage.values import Class, ClassEvent

KEYS = "1234567890abcdhijklnoprtvwxyqge"  # s, u, f, m and z are actions on the page; so are q, g and e, until dealt
COLOURS = (  # told apart in light and dark, and by most colour-blind eyes
    "#4477aa",
    "#ee6677",
    "#228833",
    "#ccbb44",
    "#66ccee",
    "#aa3377",
    "#ee7733",
    "#009988",
    "#9467bd",
    "#8c6d31",
)
LONGEST = 500  # characters of a name
ACTIVE = sa.and_(classes.c.archived_at.is_(None), classes.c.merged_into.is_(None))
KEPT = ("name", "key", "colour", "position", "archived_at", "merged_into")  # what an event of a class keeps of it


class ClassTables(Database):
    def add_classes(self, names: Sequence[str], annotator: str | None = None) -> list[Class]:
        """Append classes in this order. All of them or, where one name will not do, none."""
        with self._writing() as db:
            return add(db, names, annotator)

    def classes(self, archived: bool = False) -> list[Class]:
        """By position; archived and merged ones only when asked for."""
        query = select(classes).order_by(classes.c.position, classes.c.id)
        if not archived:
            query = query.where(ACTIVE)
        with self._reading() as db:
            return [a_class(row) for row in db.execute(query)]

    def roots(self) -> dict[int, int]:
        """Id of every class -> the one that its labels count as: itself, or what it was merged into."""
        with self._reading() as db:
            return roots(db)

    def counted_as(self) -> dict[int, int]:
        """As `roots`, without the classes whose labels count as an archived one."""
        with self._reading() as db:
            return counted_as(db)

    def class_events(self) -> list[ClassEvent]:
        """Every change of a class, oldest first."""
        query = select(class_events, annotators.c.name.label("annotator")).outerjoin(
            annotators, annotators.c.id == class_events.c.annotator_id
        )
        with self._reading() as db:
            return [_class_event(row) for row in db.execute(query.order_by(class_events.c.id))]

    def classes_at(self, event_id: int) -> list[Class]:
        """All classes as they were when this label event was recorded, archived and merged ones too; by position."""
        then = {e.now.id: e.now for e in self.class_events() if e.after_event_id < event_id}
        return sorted(then.values(), key=lambda one: (one.position, one.id))

    def annotator(self, name: str) -> int:
        """The id of this annotator, made when new."""
        with self._writing() as db:
            return annotator_ids(db, [name])[name]

    def annotators(self) -> list[str]:
        with self._reading() as db:
            return list(db.scalars(select(annotators.c.name).order_by(annotators.c.id)))


def annotator_ids(db: Connection, names: Sequence[str]) -> dict[str, int]:
    """Name -> id, inside a writing transaction; new names are added."""
    ids = {}
    for name in dict.fromkeys(names):
        found = db.scalar(select(annotators.c.id).where(annotators.c.name == name))
        if found is None:
            row = {"name": name, "role": "annotator", "created_at": time.time()}
            found = db.scalar(insert(annotators).values(row).returning(annotators.c.id))
        ids[name] = int(found or 0)
    return ids


def clean_class_names(names: Sequence[str]) -> list[str]:
    """The names as stored. ValueError where one will not do, or two are the same."""
    cleaned = [clean_class_name(name) for name in names]
    _must_be_different(cleaned)
    return cleaned


def composed(name: str) -> str:
    """A name as it is compared: in Unicode's composed form, whatever form a system or a person wrote it in."""
    return unicodedata.normalize("NFC", name)


def _must_be_different(names: Sequence[str]) -> None:
    for name, n in Counter(map(composed, names)).items():
        if n > 1:
            raise ValueError(f"The class {shown(name)} is there twice. Give every class its own name.")


def clean_class_name(name: str) -> str:
    """The name as stored: without outer blanks, in Unicode's composed form. ValueError for one that will not do."""
    cleaned = composed(name).strip()
    if not cleaned:
        raise ValueError("A class name is empty. Give every class a name.")
    if len(cleaned) > LONGEST:
        raise ValueError(
            f"The class name {shown(cleaned)} has {len(cleaned):,} characters; at most {LONGEST} are kept."
        )
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in cleaned):
        raise ValueError(f"The class name {shown(cleaned)} holds a control character. Use letters, digits and signs.")
    return cleaned


def alike(names: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of names that differ by capital letters alone."""
    first: dict[str, str] = {}
    return [(first[key], name) for name in names if first.setdefault(key := name.casefold(), name) != name]


def shown(name: str) -> str:
    """A name in an error message: quoted, control characters visible, never longer than a line."""
    text = ascii(name) if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name) else f"'{name}'"
    return f"'{short(text[1:-1])}'"


def short(name: str) -> str:
    """A name of at most 60 characters, for a line of text."""
    return name if len(name) <= 60 else f"{name[:59]}…"


def colour(position: int) -> str:
    """A colour for the class at this position; beyond the chosen ones, hues by the golden angle."""
    if position < len(COLOURS):
        return COLOURS[position]
    red, green, blue = colorsys.hls_to_rgb(position * 0.618034 % 1, 0.5, 0.55)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"


def add(
    db: Connection,
    names: Sequence[str],
    annotator: str | None,
    came_from: int | None = None,
    group_id: str | None = None,
) -> list[Class]:
    """New classes inside a writing transaction; `came_from`: the one that they are split off."""
    cleaned = clean_class_names(names)
    taken = set(map(composed, db.scalars(select(classes.c.name).where(classes.c.archived_at.is_(None)))))
    _must_be_different([*taken, *cleaned])
    first = int(db.scalar(select(func.coalesce(func.max(classes.c.position) + 1, 0))) or 0)
    used = set(db.scalars(select(classes.c.key).where(classes.c.archived_at.is_(None))))
    keys = deal_keys(cleaned, used)  # a merged class keeps its key, to have it back
    ids = []
    for position, name in enumerate(cleaned, start=first):
        row = {"name": name, "key": keys[name], "colour": colour(position), "position": position}
        ids.append(int(db.scalar(insert(classes).values(row).returning(classes.c.id)) or 0))
    keep(db, "add" if came_from is None else "split", ids, annotator, came_from, group_id)
    query = select(classes).where(classes.c.id.in_(ids)).order_by(classes.c.position)
    return [a_class(row) for row in db.execute(query)]


def change(
    db: Connection,
    kind: str,
    changes: dict[int, dict[str, Any]],
    annotator: str | None,
    came_from: int | None = None,
    group_id: str | None = None,
) -> None:
    """Class id -> what is new of it, inside a writing transaction. What is so already is no event."""
    changed = []
    for class_id, new in changes.items():
        differs = sa.or_(*(classes.c[name].is_distinct_from(value) for name, value in new.items()))
        if db.execute(sa.update(classes).where(classes.c.id == class_id, differs).values(new)).rowcount:
            changed.append(class_id)
    keep(db, kind, changed, annotator, came_from, group_id)


def keep(
    db: Connection,
    kind: str,
    class_ids: Sequence[int],
    annotator: str | None,
    came_from: int | None = None,
    group_id: str | None = None,
) -> None:
    """Append what these classes are now as one group of events."""
    about = {
        "kind": literal(kind),
        "class_id": classes.c.id,
        **{name: classes.c[name] for name in KEPT},
        "came_from": literal(came_from),
        "annotator_id": literal(annotator_ids(db, [annotator])[annotator] if annotator is not None else None),
        "time": literal(time.time()),
        "after_event_id": select(func.coalesce(func.max(events.c.id), 0)).scalar_subquery(),
        "group_id": literal(group_id or uuid.uuid4().hex),
    }
    for class_id in class_ids:
        rows = select(*about.values()).where(classes.c.id == class_id)
        db.execute(sa.insert(class_events).from_select(list(about), rows))


def derived_classes() -> sa.Select[Any]:
    """The rows of `classes` as their events have them."""
    newest = select(func.max(class_events.c.id)).group_by(class_events.c.class_id)
    return select(class_events.c.class_id, *(class_events.c[name] for name in KEPT)).where(
        class_events.c.id.in_(newest)
    )


def roots(db: Connection) -> dict[int, int]:
    """Id of every class -> the one that its labels count as, along as many merges as there are."""
    return roots_of(map(a_class, db.execute(select(classes))))


def roots_of(every: Iterable[Class]) -> dict[int, int]:
    """As `roots`, of classes that were read before: archived and merged ones must be among them."""
    into = {one.id: one.merged_into for one in every}
    found = {}
    for class_id in into:
        root = class_id
        for _ in into:  # no circles: nothing is merged into a class that is merged
            if (further := into[root]) is None:
                break
            root = further
        found[class_id] = root
    return found


def counted_as(db: Connection) -> dict[int, int]:
    """As `roots`, without the classes whose labels count as an archived one."""
    archived = set(db.scalars(select(classes.c.id).where(classes.c.archived_at.is_not(None))))
    return {class_id: root for class_id, root in roots(db).items() if root not in archived}


def a_class(row: Any) -> Class:
    return Class(row.id, row.name, row.key, row.colour, row.position, row.archived_at is not None, row.merged_into)


def _class_event(row: Any) -> ClassEvent:
    archived = row.archived_at is not None
    now = Class(row.class_id, row.name, row.key, row.colour, row.position, archived, row.merged_into)
    return ClassEvent(row.id, row.kind, now, row.came_from, row.annotator, row.time, row.after_event_id, row.group_id)


def deal_keys(names: Sequence[str], used: set[str]) -> dict[str, str]:
    """A free key for each name, '' once there are none: a class called 7 gets the 7, the others the next free one."""
    own = {name: name for name in names if len(name) == 1 and name in KEYS and name not in used}
    free = (key for key in KEYS if key not in used and key not in own)
    return {name: own.get(name) or next(free, "") for name in names}
