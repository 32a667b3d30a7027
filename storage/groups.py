"""Groups: what was decided in one action is taken back in one."""

from sqlalchemy import func, select

from storage.database import values_of
from storage.events import EventTables
from storage.tables import events
from storage.values import STATE_KINDS, NewEvent

LEAST = 3  # letters that name a group


class GroupTables(EventTables):
    def group_id(self, beginning: str) -> str:
        """The group whose id begins like this. KeyError for none; ValueError for more than one."""
        query = select(events.c.group_id).distinct().where(events.c.group_id.istartswith(beginning, autoescape=True))
        with self._reading() as db:
            found = list(db.scalars(query.order_by(events.c.group_id).limit(2)))
        if len(beginning) < LEAST or not found:
            raise KeyError(
                f"There is no group {beginning!r} of labels: labeler log shows them. Give {LEAST} letters or more. "
                "A merge of classes is taken back by labeler classes unmerge."
            )
        if len(found) > 1 and found[0] != beginning:
            raise ValueError(f"More than one group begins with {beginning!r}. Give more of its id.")
        return str(found[0])

    def undo_group(self, group_id: str, uid: str, annotator: str = "", client: str = "") -> list[str]:
        """Retract each decision of a group that is not undone yet, in one transaction; returns the undos' uids.

        Every retracted decision gets an undo event of its own, whose uid is `uid`, a dash and that decision's event id.
        Called again with the same `uid` it stores nothing and returns the same. KeyError when there is no such group.
        """
        undo = events.alias("undo")
        undone = select(func.count()).where(undo.c.undoes == events.c.uid).scalar_subquery()
        about = (events.c.id, events.c.uid, events.c.sample_id, events.c.purpose, events.c.review)
        query = select(*about, undone.label("undone"))
        query = query.where(events.c.group_id == group_id, events.c.kind.in_(STATE_KINDS)).order_by(events.c.id)
        with self._writing() as db:
            members = db.execute(query).all()
            if not members:
                raise KeyError(f"There is no group {group_id!r}.")
            uids = [f"{uid}-{member.id}" for member in members]
            stored = list(
                db.scalars(select(events.c.uid).where(events.c.uid.in_(values_of(uids))).order_by(events.c.id))
            )
            if stored:
                return stored
            undos = [
                NewEvent(
                    new_uid,
                    "undo",
                    member.sample_id,
                    annotator=annotator,
                    client=client,
                    purpose=member.purpose,
                    group_id=group_id,
                    undoes=member.uid,
                    review=bool(member.review),
                )
                for new_uid, member in zip(uids, members, strict=True)
                if not member.undone
            ]
            if undos:
                self._append(db, undos)
        return [new.uid for new in undos]
