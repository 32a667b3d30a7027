"""Leases: a sample is on one screen at a time, for two minutes unless renewed. Asked of several, on one of each."""

import json
from collections.abc import Iterator, Sequence

import numpy as np
import sqlalchemy as sa
from sqlalchemy import Connection, and_, literal, select

from storage.classes import annotator_ids
from storage.clock import steady
from storage.database import Database, values_of
from storage.dialects import insert, listed
from storage.events import LEASE_SECONDS
from storage.seats import may_have
from storage.states import Rules, rules_at
from storage.tables import annotators, leases, samples

# Of samples that somebody took: what is left there of others can no longer be renewed.
RUN_OUT = sa.delete(leases).where(
    leases.c.sample_id.in_(
        select(sa.cast(listed(sa.bindparam("taken", type_=sa.Text)).table_valued("value").c.value, sa.BigInteger))
    ),
    leases.c.annotator_id != sa.bindparam("me"),
    leases.c.expires <= sa.bindparam("now"),
)


class LeaseTables(Database):
    def open_ids(self, split: str, annotator: str | None = None) -> np.ndarray:
        """Ascending int64: samples without a state that nobody has on screen.

        Of those that several people are asked the ones that `annotator` may be asked, None: somebody new.
        """
        with self._reading() as db:
            me = _known_id(db, annotator)
            query = select(samples.c.id).where(samples.c.split == split, may_have(rules_at(db), me, None, steady()))
            return np.array(db.scalars(query.order_by(samples.c.id)).all(), dtype=np.int64)

    def lease(
        self, wanted: Sequence[int] | np.ndarray, n: int, annotator: str, client: str, seconds: float = LEASE_SECONDS
    ) -> list[int]:
        """Take the first `n` of `wanted` that are open or this holder's already; returns them in that order."""
        if n <= 0 or len(wanted) == 0:
            return []
        leased: list[int] = []
        with self._writing(durable=False) as db:
            annotator_id, rules = annotator_ids(db, [annotator])[annotator], rules_at(db)
            for some in _growing_slices(wanted, 4 * n + 60):
                leased += _lease(db, rules, some, n - len(leased), annotator_id, client, seconds)
                if len(leased) >= n:
                    break
        return leased

    def held(self, annotator: str, client: str) -> list[int]:
        """Sample ids that this holder has on screen or queued."""
        query = (
            select(leases.c.sample_id)
            .join(annotators, annotators.c.id == leases.c.annotator_id)
            .where(annotators.c.name == annotator, leases.c.client == client, leases.c.expires > steady())
            .order_by(leases.c.sample_id)
        )
        with self._reading() as db:
            return list(db.scalars(query))

    def release(self, annotator: str, client: str, keep: Sequence[int] = ()) -> int:
        """Give this holder's samples back, except those in `keep`; returns how many."""
        with self._writing(durable=False) as db:
            holder = _holder(annotator_ids(db, [annotator])[annotator], client)
            kept = leases.c.sample_id.in_(values_of(int(sample_id) for sample_id in keep))
            return db.execute(sa.delete(leases).where(holder, ~kept)).rowcount

    def renew(self, annotator: str, client: str, sample_ids: Sequence[int], seconds: float = LEASE_SECONDS) -> None:
        """Keep samples that this holder still has for longer; one that was lost stays lost."""
        with self._writing(durable=False) as db:
            holder = _holder(annotator_ids(db, [annotator])[annotator], client)
            mine = leases.c.sample_id.in_(values_of(int(sample_id) for sample_id in sample_ids))
            db.execute(sa.update(leases).where(holder, mine).values(expires=steady() + seconds))


def _known_id(db: Connection, annotator: str | None) -> int:
    """0 for a name that is not there yet."""
    return int(db.scalar(select(annotators.c.id).where(annotators.c.name == annotator)) or 0)


def _holder(annotator_id: int, client: str) -> sa.ColumnElement[bool]:
    return and_(leases.c.annotator_id == annotator_id, leases.c.client == client)


def _growing_slices(wanted: Sequence[int] | np.ndarray, size: int) -> Iterator[list[int]]:
    """A ranking has tens of thousands of ids and its first few nearly always do, so look at few, then at more."""
    start = 0
    while start < len(wanted):
        some = wanted[start : start + size]
        yield some.tolist() if isinstance(some, np.ndarray) else [int(sample_id) for sample_id in some]
        start += size
        size *= 4


def _lease(
    db: Connection, rules: Rules, wanted: list[int], n: int, annotator_id: int, client: str, seconds: float
) -> list[int]:
    """One statement that picks and takes, so that no two holders can get the same sample."""
    now = steady()
    asked = listed(json.dumps(list(dict.fromkeys(wanted)))).table_valued("key", "value", name="asked")
    chosen = (
        select(samples.c.id, literal(annotator_id), literal(client), literal(now + seconds))
        .select_from(asked.join(samples, samples.c.id == sa.cast(asked.c.value, sa.BigInteger)))
        .where(samples.c.split != "gold", may_have(rules, annotator_id, client, now))
        .order_by(asked.c.key)
        .limit(n)
    )
    statement = insert(leases).from_select(["sample_id", "annotator_id", "client", "expires"], chosen)
    changes = {name: statement.excluded[name] for name in ("client", "expires")}
    statement = statement.on_conflict_do_update(
        index_elements=[leases.c.sample_id, leases.c.annotator_id], set_=changes
    )
    taken = set(db.scalars(statement.returning(leases.c.sample_id)))
    if taken:
        db.execute(RUN_OUT, {"taken": json.dumps(list(taken)), "me": annotator_id, "now": now})
    return [sample_id for sample_id in dict.fromkeys(wanted) if sample_id in taken]
