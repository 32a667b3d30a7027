"""Schema 4: some samples are asked of several people. A sample may be on a screen of each, and reviewers decide."""

from sqlalchemy import Connection

STATEMENTS = [
    "ALTER TABLE events ADD COLUMN review INTEGER NOT NULL DEFAULT 0 CHECK (review IN (0, 1))",
    "CREATE INDEX events_review ON events (sample_id) WHERE review = 1",
    """CREATE TABLE overlap_events (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        share REAL NOT NULL CHECK (share BETWEEN 0 AND 1),
        times INTEGER NOT NULL CHECK (times >= 1),
        rng_seed INTEGER NOT NULL,
        annotator_id INTEGER REFERENCES annotators (id),
        time REAL NOT NULL,
        after_event_id INTEGER NOT NULL
    )""",
    """CREATE TRIGGER overlap_events_keep_update BEFORE UPDATE ON overlap_events
    BEGIN SELECT RAISE(ABORT, 'what was asked of several people is only appended: say it anew instead'); END""",
    """CREATE TRIGGER overlap_events_keep_delete BEFORE DELETE ON overlap_events
    BEGIN SELECT RAISE(ABORT, 'what was asked of several people is only appended: say it anew instead'); END""",
    """CREATE TABLE open_answers (
        sample_id INTEGER NOT NULL REFERENCES samples (id),
        annotator_id INTEGER NOT NULL REFERENCES annotators (id),
        event_id INTEGER NOT NULL REFERENCES events (id),
        PRIMARY KEY (sample_id, annotator_id)
    ) WITHOUT ROWID""",
    "ALTER TABLE leases RENAME TO leases_of_one",
    "DROP INDEX leases_holder",
    """CREATE TABLE leases (
        sample_id INTEGER NOT NULL REFERENCES samples (id),
        annotator_id INTEGER NOT NULL REFERENCES annotators (id),
        client TEXT NOT NULL,
        expires REAL NOT NULL,
        PRIMARY KEY (sample_id, annotator_id)
    )""",
    "CREATE INDEX leases_holder ON leases (annotator_id, client)",
    "INSERT INTO leases SELECT sample_id, annotator_id, client, expires FROM leases_of_one",
    "DROP TABLE leases_of_one",
]


def upgrade(db: Connection) -> None:
    for statement in STATEMENTS:
        db.exec_driver_sql(statement)
