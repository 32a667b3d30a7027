"""The record of a project: every table behind one object."""

import sqlalchemy as sa

from storage.classes import ClassTables
from storage.events import EventTables, derived
from storage.leases import LeaseTables
from storage.processes import ProcessTables, SettingTables, VersionTables
from storage.samples import SampleTables
from storage.tables import sample_states


class Store(ClassTables, SampleTables, EventTables, LeaseTables, ProcessTables, VersionTables, SettingTables):
    """Each base is one topic and one file. Every public method is one transaction, except where it says chunks."""

    def check(self) -> list[str]:
        """What is wrong with the database, one line each; empty when all is well."""
        with self._reading() as db:
            problems = [f"SQLite: {row[0]}" for row in db.exec_driver_sql("PRAGMA integrity_check") if row[0] != "ok"]
            for row in db.exec_driver_sql("PRAGMA foreign_key_check"):
                problems.append(f"Row {row[1]} of {row[0]} points at a row of {row[2]} that is not there.")
            kept, true = sa.select(sample_states), derived()
            wrong = {row[0] for row in db.execute(sa.except_(kept, true))}
            wrong |= {row[0] for row in db.execute(sa.except_(true, kept))}
            problems += [
                f"The state of sample {sample_id} does not follow from its events." for sample_id in sorted(wrong)
            ]
            triggers = set(db.scalars(sa.text("SELECT name FROM sqlite_master WHERE type = 'trigger'")))
        for name in sorted({"events_keep_update", "events_keep_delete"} - triggers):
            problems.append(f"The trigger {name}, which keeps events from being changed, is missing.")
        return problems
