"""Schema 1: everything a project records."""

from sqlalchemy import Connection

STATEMENTS = [
    "CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    """CREATE TABLE classes (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL CHECK (name <> ''),
        key TEXT NOT NULL,
        colour TEXT NOT NULL,
        position INTEGER NOT NULL,
        archived_at REAL
    )""",
    "CREATE UNIQUE INDEX classes_name ON classes (name) WHERE archived_at IS NULL",
    """CREATE TABLE annotators (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE,
        role TEXT NOT NULL DEFAULT 'annotator',
        password_hash TEXT,
        created_at REAL NOT NULL,
        disabled_at REAL
    )""",
    """CREATE TABLE imports (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        source TEXT NOT NULL,
        kind TEXT NOT NULL,
        part TEXT NOT NULL,
        split TEXT NOT NULL,
        started REAL NOT NULL,
        finished REAL,
        added INTEGER NOT NULL DEFAULT 0,
        duplicates INTEGER NOT NULL DEFAULT 0,
        labels INTEGER NOT NULL DEFAULT 0
    )""",
    """CREATE TABLE rejects (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        import_id INTEGER NOT NULL REFERENCES imports (id),
        name TEXT NOT NULL,
        reason TEXT NOT NULL
    )""",
    """CREATE TABLE samples (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        sha256 TEXT NOT NULL UNIQUE,
        name TEXT NOT NULL,
        file TEXT NOT NULL,
        "row" INTEGER,
        width INTEGER NOT NULL CHECK (width > 0),
        height INTEGER NOT NULL CHECK (height > 0),
        channels INTEGER NOT NULL CHECK (channels IN (1, 3)),
        split TEXT NOT NULL CHECK (split IN ('pool', 'measure', 'gold')),
        gold_class_id INTEGER REFERENCES classes (id),
        import_id INTEGER REFERENCES imports (id)
    )""",
    "CREATE INDEX samples_split ON samples (split)",
    """CREATE TABLE events (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        uid TEXT NOT NULL UNIQUE CHECK (uid <> ''),
        kind TEXT NOT NULL CHECK (kind IN ('label', 'skip', 'unsure', 'flag', 'undo', 'comment')),
        sample_id INTEGER NOT NULL REFERENCES samples (id),
        class_id INTEGER REFERENCES classes (id),
        annotator_id INTEGER NOT NULL REFERENCES annotators (id),
        client TEXT NOT NULL,
        time REAL NOT NULL,
        ms INTEGER,
        paused INTEGER NOT NULL DEFAULT 0,
        version INTEGER,
        acquisition TEXT,
        score REAL,
        rank INTEGER,
        predicted_class_id INTEGER REFERENCES classes (id),
        predicted_prob REAL,
        purpose TEXT NOT NULL,
        group_id TEXT,
        undoes TEXT,
        comment TEXT,
        CHECK ((kind = 'label') = (class_id IS NOT NULL)),
        CHECK ((kind = 'undo') = (undoes IS NOT NULL))
    )""",
    "CREATE INDEX events_sample ON events (sample_id, id)",
    "CREATE INDEX events_undoes ON events (undoes) WHERE undoes IS NOT NULL",
    "CREATE INDEX events_holder ON events (annotator_id, client, id)",
    """CREATE TRIGGER events_keep_update BEFORE UPDATE ON events
    BEGIN SELECT RAISE(ABORT, 'events are only appended: record an undo instead'); END""",
    """CREATE TRIGGER events_keep_delete BEFORE DELETE ON events
    BEGIN SELECT RAISE(ABORT, 'events are only appended: record an undo instead'); END""",
    """CREATE TABLE sample_states (
        sample_id INTEGER PRIMARY KEY REFERENCES samples (id),
        kind TEXT NOT NULL,
        class_id INTEGER REFERENCES classes (id),
        event_id INTEGER NOT NULL REFERENCES events (id),
        annotator_id INTEGER NOT NULL REFERENCES annotators (id),
        purpose TEXT NOT NULL
    )""",
    "CREATE INDEX sample_states_counted ON sample_states (kind, class_id, purpose)",
    """CREATE TABLE leases (
        sample_id INTEGER PRIMARY KEY REFERENCES samples (id),
        annotator_id INTEGER NOT NULL REFERENCES annotators (id),
        client TEXT NOT NULL,
        expires REAL NOT NULL
    )""",
    "CREATE INDEX leases_holder ON leases (annotator_id, client)",
    """CREATE TABLE versions (
        version INTEGER PRIMARY KEY,
        time REAL NOT NULL,
        last_event_id INTEGER NOT NULL,
        labels INTEGER NOT NULL,
        steps INTEGER NOT NULL,
        folder TEXT NOT NULL,
        acquisition TEXT NOT NULL,
        metrics TEXT NOT NULL,
        pruned INTEGER NOT NULL DEFAULT 0
    )""",
    """CREATE TABLE processes (
        role TEXT PRIMARY KEY,
        holder TEXT NOT NULL,
        pid INTEGER NOT NULL,
        host TEXT NOT NULL,
        info TEXT NOT NULL,
        started REAL NOT NULL,
        heartbeat REAL NOT NULL
    )""",
    "CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
]


def upgrade(db: Connection) -> None:
    for statement in STATEMENTS:
        db.exec_driver_sql(statement)
