"""Schema 3: each change of a class is an event too, and a class can be merged into another one."""

import time

from sqlalchemy import Connection

STATEMENTS = [
    "ALTER TABLE classes ADD COLUMN merged_into INTEGER REFERENCES classes (id)",
    """CREATE TABLE class_events (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        kind TEXT NOT NULL CHECK (
            kind IN ('add', 'rename', 'recolour', 'key', 'reorder', 'archive', 'restore', 'merge', 'unmerge', 'split')
        ),
        class_id INTEGER NOT NULL REFERENCES classes (id),
        name TEXT NOT NULL,
        key TEXT NOT NULL,
        colour TEXT NOT NULL,
        position INTEGER NOT NULL,
        archived_at REAL,
        merged_into INTEGER REFERENCES classes (id),
        came_from INTEGER REFERENCES classes (id),
        annotator_id INTEGER REFERENCES annotators (id),
        time REAL NOT NULL,
        after_event_id INTEGER NOT NULL,
        group_id TEXT
    )""",
    "CREATE INDEX class_events_class ON class_events (class_id, id)",
    """CREATE TRIGGER class_events_keep_update BEFORE UPDATE ON class_events
    BEGIN SELECT RAISE(ABORT, 'events of classes are only appended: change the class again instead'); END""",
    """CREATE TRIGGER class_events_keep_delete BEFORE DELETE ON class_events
    BEGIN SELECT RAISE(ABORT, 'events of classes are only appended: change the class again instead'); END""",
]
FOUND = """INSERT INTO class_events (kind, class_id, name, key, colour, position, archived_at, time, after_event_id)
    SELECT 'add', id, name, key, colour, position, archived_at, ?, 0 FROM classes ORDER BY id"""


def upgrade(db: Connection) -> None:
    for statement in STATEMENTS:
        db.exec_driver_sql(statement)
    db.exec_driver_sql(FOUND, (time.time(),))  # what was there counts as having been there from the beginning
