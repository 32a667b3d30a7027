"""Blind tests: people told real images from drawn ones. Each is kept whole, as it was answered."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa
from sqlalchemy import select

from storage.classes import annotator_ids
from storage.database import Database
from storage.tables import annotators, blind_tests
from storage.values import BlindAnswer, BlindTest

QUERY = select(blind_tests, annotators.c.name).join(annotators, annotators.c.id == blind_tests.c.annotator_id)


class BlindTables(Database):
    def record_blind_test(
        self,
        uid: str,
        annotator: str,
        version: int,
        temperature: float,
        rng_seed: int,
        answers: Sequence[BlindAnswer],
    ) -> BlindTest:
        """Keep a test that was answered to its end. Sent again it is stored once; what was stored comes back."""
        with self._writing() as db:
            found = db.execute(QUERY.where(blind_tests.c.uid == uid)).first()
            if found is None:
                row = {
                    "uid": uid,
                    "annotator_id": annotator_ids(db, [annotator])[annotator],
                    "version": version,
                    "time": time.time(),
                    "temperature": temperature,
                    "rng_seed": rng_seed,
                    "answers": json.dumps([asdict(one) for one in answers]),
                }
                db.execute(sa.insert(blind_tests).values(row))
                found = db.execute(QUERY.where(blind_tests.c.uid == uid)).one()
            return _test(found)

    def blind_test(self, uid: str) -> BlindTest | None:
        with self._reading() as db:
            row = db.execute(QUERY.where(blind_tests.c.uid == uid)).first()
        return None if row is None else _test(row)

    def blind_tests(self, until: float | None = None) -> list[BlindTest]:
        """Oldest first; those answered by a time in seconds since 1970, or all."""
        query = QUERY.order_by(blind_tests.c.id)
        with self._reading() as db:
            return [
                _test(row) for row in db.execute(query if until is None else query.where(blind_tests.c.time <= until))
            ]


def _test(row: sa.Row[Any]) -> BlindTest:
    answers = tuple(BlindAnswer(**one) for one in json.loads(row.answers))
    return BlindTest(row.uid, row.name, row.version, row.time, row.temperature, row.rng_seed, answers)
