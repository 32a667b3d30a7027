"""The record of a project: every table behind one object."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa

from storage.accounts import AccountTables
from storage.blind import BlindTables
from storage.chain import broken_links, missing_end
from storage.classes import ACTIVE, ClassTables
from storage.events import EventTables
from storage.groups import GroupTables
from storage.guidelines import GuidelineTables
from storage.history import HistoryTables
from storage.leases import LeaseTables
from storage.overlap import OverlapTables
from storage.pace import PaceTables
from storage.past import PastTables
from storage.processes import OF_A_PERSON, ProcessTables, SettingTables, VersionTables
from storage.repairs import RepairTables, held_for_ever, missing_triggers, wrong_classes, wrong_states
from storage.review import ReviewTables
from storage.samples import SampleTables
from storage.surgery import SurgeryTables
from storage.tables import classes, events, overlap_events, samples, settings


class Store(
    SurgeryTables,
    GuidelineTables,
    ClassTables,
    AccountTables,
    SampleTables,
    GroupTables,
    EventTables,
    HistoryTables,
    PaceTables,
    PastTables,
    LeaseTables,
    OverlapTables,
    ReviewTables,
    ProcessTables,
    VersionTables,
    BlindTables,
    SettingTables,
    RepairTables,
):
    """Each base is one topic and one file. Every public method is one transaction, except where it says chunks."""

    @classmethod
    def create(
        cls, database: Path | str, name: str, classes: Sequence[str] = (), settings: Mapping[str, Any] | None = None
    ) -> Self:
        """A new record at this path (of a labels.db) or URL. ValueError when there is one already."""

        def fill(store: Self) -> None:
            store.add_classes(classes)
            for key, value in (settings or {}).items():
                store.set_setting(key, value)

        return cls.make(database, name, fill)

    def known(self) -> tuple[Any, ...]:
        """What a trainer goes by, to be compared: newest event and sample, the classes in their order, the settings
        (without those of one person), what is asked of several people."""
        newest = sa.select(sa.func.max(events.c.id), sa.select(sa.func.max(samples.c.id)).scalar_subquery())
        in_order = sa.select(classes.c.id, classes.c.name).where(ACTIVE).order_by(classes.c.position, classes.c.id)
        with self._reading() as db:
            overlap = sa.select(sa.func.max(overlap_events.c.id))
            of_all = sa.select(settings).where(settings.c.key.not_like(OF_A_PERSON)).order_by(settings.c.key)
            found = (newest, in_order, of_all, overlap)
            return tuple(row for query in found for row in db.execute(query).all())

    def check(self) -> list[str]:
        """What is wrong with the database, one line each; empty when all is well."""
        with self._reading() as db:
            on = self._dialect
            problems = [*on.integrity(db), *on.references(db), *on.settings(db)]
            problems += [*broken_links(db), *missing_end(db, on.dealt(db))]
            for sample_id in wrong_states(db):
                problems.append(f"The state of sample {sample_id} does not follow from its events.")
            for class_id in wrong_classes(db):
                problems.append(f"The class with id {class_id} does not follow from its events.")
            for sample_id in held_for_ever(db):
                problems.append(f"Sample {sample_id} is never asked: its lease was made while the clock was wrong.")
            for name in missing_triggers(on.triggers(db)):
                problems.append(f"The trigger {name}, which keeps events from being changed, is missing.")
        return problems
