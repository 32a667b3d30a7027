"""Accounts: annotators who sign in with a password, of which the record keeps a hash and nothing else."""

import time
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row, func, select

from storage.database import Database
from storage.tables import annotators
from storage.values import ROLES, Account

NAMES = ("id", "name", "role", "password_hash", "disabled_at", "generation")


class AccountTables(Database):
    def add_account(self, name: str, role: str, password_hash: str) -> Account:
        """A new account. Who labeled under this name without one keeps the labels. ValueError if it is taken."""
        _must_be_role(role)
        with self._writing() as db:
            found = _row(db, name)
            if found is not None and found.password_hash is not None:
                raise ValueError(
                    f"There is an account {name} already. Change it with 'labeler user password' or 'role'."
                )
            values = {"role": role, "password_hash": password_hash, "disabled_at": None}
            if found is None:
                db.execute(sa.insert(annotators).values(name=name, created_at=time.time(), **values))
            else:
                db.execute(sa.update(annotators).where(annotators.c.id == found.id).values(**values))
            return _account(_known(db, name))

    def account(self, name: str) -> Account | None:
        """None for a name without a password as well."""
        with self._reading() as db:
            row = _row(db, name)
        return None if row is None or row.password_hash is None else _account(row)

    def must_have_account(self, name: str) -> None:
        """KeyError for an unknown name."""
        with self._reading() as db:
            _known(db, name)

    def accounts(self) -> list[Account]:
        """In the order in which their names came to the project."""
        query = select(*(annotators.c[name] for name in NAMES)).where(annotators.c.password_hash.is_not(None))
        with self._reading() as db:
            return [_account(row) for row in db.execute(query.order_by(annotators.c.id))]

    def change_account(
        self, name: str, role: str | None = None, password_hash: str | None = None, disabled: bool | None = None
    ) -> Account:
        """Change what is given. KeyError for an unknown name; ValueError where no admin could sign in any more.

        Another role, a password given anew, and being disabled begin a new generation, with which old sign-ins end.
        """
        changes: dict[str, Any] = {}
        if role is not None:
            _must_be_role(role)
            changes["role"] = role
        if password_hash is not None:
            changes["password_hash"] = password_hash
        if disabled is not None:
            changes["disabled_at"] = time.time() if disabled else None
        with self._writing() as db:
            known = _known(db, name)
            if (role or known.role) != known.role or password_hash is not None or disabled:
                changes["generation"] = known.generation + 1
            db.execute(sa.update(annotators).where(annotators.c.id == known.id).values(**changes))
            now = _known(db, name)
            if _is_admin(known) and not _is_admin(now) and not _admins(db):
                raise ValueError(f"{name} is the only admin who can sign in. Make another one first.")
            return _account(now)


def _row(db: Connection, name: str) -> Row[Any] | None:
    return db.execute(select(*(annotators.c[n] for n in NAMES)).where(annotators.c.name == name)).first()


def _known(db: Connection, name: str) -> Row[Any]:
    row = _row(db, name)
    if row is None or row.password_hash is None:
        raise KeyError(f"There is no account {name!r}. 'labeler user list' shows them.")
    return row


def _account(row: Row[Any]) -> Account:
    return Account(row.name, row.role, row.password_hash, row.disabled_at is not None, row.generation)


def _is_admin(row: Row[Any]) -> bool:
    return row.role == "admin" and row.password_hash is not None and row.disabled_at is None


def _admins(db: Connection) -> int:
    """Who may sign in as an admin."""
    may = (annotators.c.role == "admin", annotators.c.password_hash.is_not(None), annotators.c.disabled_at.is_(None))
    return db.scalar(select(func.count()).select_from(annotators).where(*may)) or 0


def _must_be_role(role: str) -> None:
    if role not in ROLES:
        raise ValueError(f"There is no role {role!r}; there are {', '.join(ROLES)}.")
