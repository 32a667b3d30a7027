"""Who may have a sample on screen: one holder, or of a sample that is asked of several people one for each of them."""

import sqlalchemy as sa
from sqlalchemy import and_, exists, func, select

from storage.states import Rules
from storage.tables import leases, open_answers, sample_states, samples

HELD = leases.alias("held")


def may_have(rules: Rules, annotator_id: int, client: str | None, now: float) -> sa.ColumnElement[bool]:
    """Whether a row of samples may be on this holder's screen, which it may be already.

    It has no state, and the person neither answered it nor has it in another tab; others who answered it or have it on
    screen leave a place. `client` None: in no tab at all.
    """
    running = and_(HELD.c.sample_id == samples.c.id, HELD.c.expires > now)
    theirs = HELD.c.annotator_id != annotator_id
    another_tab = HELD.c.client != client if client is not None else sa.true()
    undecided = ~exists().where(sample_states.c.sample_id == samples.c.id)
    if not rules.ever:
        return and_(undecided, ~exists().where(running, sa.or_(theirs, another_tab)))
    given = open_answers.c.sample_id == samples.c.id
    answered = exists().where(given, open_answers.c.annotator_id == annotator_id)
    in_another_tab = exists().where(running, ~theirs, another_tab)
    seats_taken = (
        select(func.count()).select_from(HELD).where(running, theirs).correlate(samples).scalar_subquery()
        + select(func.count()).select_from(open_answers).where(given).correlate(samples).scalar_subquery()
    )
    return and_(undecided, ~answered, ~in_another_tab, seats_taken < rules.needed)
