"""Schema 7: blind tests, how well a person told real images from those a version of the model drew."""

from sqlalchemy import Connection

STATEMENTS = [
    """CREATE TABLE blind_tests (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        uid TEXT NOT NULL UNIQUE,
        annotator_id INTEGER NOT NULL REFERENCES annotators (id),
        version INTEGER NOT NULL REFERENCES versions (version),
        time REAL NOT NULL,
        temperature REAL NOT NULL,
        rng_seed INTEGER NOT NULL,
        answers TEXT NOT NULL
    )""",
    """CREATE TRIGGER blind_tests_keep_update BEFORE UPDATE ON blind_tests
    BEGIN SELECT RAISE(ABORT, 'a blind test stays as it was answered: take another one instead'); END""",
    """CREATE TRIGGER blind_tests_keep_delete BEFORE DELETE ON blind_tests
    BEGIN SELECT RAISE(ABORT, 'a blind test stays as it was answered: take another one instead'); END""",
]


def upgrade(db: Connection) -> None:
    for statement in STATEMENTS:
        db.exec_driver_sql(statement)
