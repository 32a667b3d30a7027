"""Schema 5: an account has generations, so that a sign-in which has ended never holds again."""

from sqlalchemy import Connection


def upgrade(db: Connection) -> None:
    db.exec_driver_sql("ALTER TABLE annotators ADD COLUMN generation INTEGER NOT NULL DEFAULT 0")
