"""Schema 8: a class has a guideline, a text and example images, each change of it an event."""

from sqlalchemy import Connection

STATEMENTS = [
    """CREATE TABLE guideline_events (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        class_id INTEGER NOT NULL REFERENCES classes (id),
        text TEXT NOT NULL CHECK (length(text) <= 4000),
        examples TEXT NOT NULL,
        annotator_id INTEGER REFERENCES annotators (id),
        time REAL NOT NULL,
        after_event_id INTEGER NOT NULL
    )""",
    "CREATE INDEX guideline_events_class ON guideline_events (class_id, id)",
    """CREATE TRIGGER guideline_events_keep_update BEFORE UPDATE ON guideline_events
    BEGIN SELECT RAISE(ABORT, 'guidelines are only appended: write the guideline anew instead'); END""",
    """CREATE TRIGGER guideline_events_keep_delete BEFORE DELETE ON guideline_events
    BEGIN SELECT RAISE(ABORT, 'guidelines are only appended: write the guideline anew instead'); END""",
]


def upgrade(db: Connection) -> None:
    for statement in STATEMENTS:
        db.exec_driver_sql(statement)
