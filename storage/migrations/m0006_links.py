"""Schema 6: each event is linked to the one before it. What is there is linked as it is found."""

from sqlalchemy import Connection

from storage.chain import link_all

STATEMENTS = [
    "CREATE TABLE event_links (event_id INTEGER PRIMARY KEY, link TEXT NOT NULL)",
    """CREATE TRIGGER event_links_keep_update BEFORE UPDATE ON event_links
    BEGIN SELECT RAISE(ABORT, 'links of events are only appended'); END""",
    """CREATE TRIGGER event_links_keep_delete BEFORE DELETE ON event_links
    BEGIN SELECT RAISE(ABORT, 'links of events are only appended'); END""",
]


def upgrade(db: Connection) -> None:
    for statement in STATEMENTS:
        db.exec_driver_sql(statement)
    link_all(db)
