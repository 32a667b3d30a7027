"""Schema 2: the events of a group are found at once. The index leaves out events that are in no group: most of them."""

from sqlalchemy import Connection


def upgrade(db: Connection) -> None:
    db.exec_driver_sql("CREATE INDEX events_group ON events (group_id) WHERE group_id IS NOT NULL")
