"""Work in the background stands behind the page, in a session of its own too."""

import os
import subprocess
import sys

import pytest

from labeler.gentle import AUTOGROUP, SWITCH, give_way

SHOW = (
    "import os; from labeler.gentle import AUTOGROUP, give_way; give_way(7); print(os.nice(0), AUTOGROUP.read_text())"
)


@pytest.mark.skipif(not AUTOGROUP.exists(), reason="this system does not schedule sessions as groups")
@pytest.mark.parametrize(("own_session", "of_group"), [(True, 7), (False, 0)])
def test_the_group_of_a_session_of_its_own_gives_way_and_no_other_one(
    own_session: bool, of_group: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(SWITCH)
    code = SHOW if own_session else f"import subprocess, sys; subprocess.run([sys.executable, '-P', '-c', {SHOW!r}])"
    told = subprocess.run(
        [sys.executable, "-P", "-c", code], start_new_session=True, capture_output=True, text=True, check=True
    )
    nice, group = told.stdout.split(maxsplit=1)
    assert int(nice) == min(19, os.nice(0) + 7)
    assert group.split() == [group.split()[0], "nice", str(of_group)]


def test_where_there_is_no_such_thing_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SWITCH)
    monkeypatch.delattr(os, "nice", raising=False)
    monkeypatch.setattr(os, "getsid", lambda pid: pytest.fail("it was asked"), raising=False)
    give_way(5)


def test_with_the_switch_off_it_keeps_its_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "0")
    before = os.nice(0)
    give_way(3)
    assert os.nice(0) == before
