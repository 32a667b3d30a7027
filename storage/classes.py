"""The classes of a project, and the people who label: small tables, read often."""

import colorsys
import time
import unicodedata
from collections import Counter
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy import Connection, select
from sqlalchemy.dialects.sqlite import insert

from storage.database import Database
from storage.tables import annotators, classes
from storage.values import Class

KEYS = "1234567890abcdeghijklnopqrtvwxy"  # s, u, f, m and z are actions on the page
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


class ClassTables(Database):
    def add_classes(self, names: Sequence[str]) -> list[Class]:
        """Append classes in this order. All of them or, where one name will not do, none."""
        cleaned = clean_class_names(names)
        with self._writing() as db:
            taken = set(db.scalars(select(classes.c.name).where(classes.c.archived_at.is_(None))))
            _must_be_different([*taken, *cleaned])
            first = int(db.scalar(select(sa.func.coalesce(sa.func.max(classes.c.position) + 1, 0))) or 0)
            keys = _keys(db, cleaned)
            for position, name in enumerate(cleaned, start=first):
                row = {"name": name, "key": keys[name], "colour": colour(position), "position": position}
                db.execute(sa.insert(classes), row)
        return [found for found in self.classes() if found.position >= first]

    def classes(self, archived: bool = False) -> list[Class]:
        """By position; archived ones only when asked for."""
        query = select(classes).order_by(classes.c.position, classes.c.id)
        if not archived:
            query = query.where(classes.c.archived_at.is_(None))
        with self._reading() as db:
            return [
                Class(row.id, row.name, row.key, row.colour, row.position, row.archived_at is not None)
                for row in db.execute(query)
            ]

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


def _must_be_different(names: Sequence[str]) -> None:
    for name, n in Counter(names).items():
        if n > 1:
            raise ValueError(f"The class {shown(name)} is there twice. Give every class its own name.")


def clean_class_name(name: str) -> str:
    """The name as stored: without outer blanks, in Unicode's composed form. ValueError for one that will not do."""
    cleaned = unicodedata.normalize("NFC", name).strip()
    if not cleaned:
        raise ValueError("A class name is empty. Give every class a name.")
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in cleaned):
        raise ValueError(f"The class name {shown(cleaned)} holds a control character. Use letters, digits and signs.")
    return cleaned


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


def _keys(db: Connection, names: Sequence[str]) -> dict[str, str]:
    """A free key for each name, '' once there are none: a class called 7 gets the 7, the others the next free one."""
    used = set(db.scalars(select(classes.c.key).where(classes.c.archived_at.is_(None))))
    own = {name: name for name in names if len(name) == 1 and name in KEYS and name not in used}
    free = (key for key in KEYS if key not in used and key not in own)
    return {name: own.get(name) or next(free, "") for name in names}
