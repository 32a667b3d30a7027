"""Work in the background that lets other programs go first."""

import contextlib
import os
from pathlib import Path

AUTOGROUP = Path("/proc/self/autogroup")
SWITCH = "LABELER_GIVE_WAY"  # 0: on a machine that does nothing else


def give_way(nice: int) -> None:
    """Lower the priority of this process by `nice`; where the system knows no such thing, or SWITCH is 0, nothing.

    Linux may schedule every session as a group, and then nice values are compared inside of it alone (sched(7), "The
    autogroup feature"). So a process that has a session of its own sets that of the group too.
    """
    if not hasattr(os, "nice") or os.environ.get(SWITCH) == "0":
        return
    value = os.nice(nice)
    if os.getsid(0) == os.getpid():
        with contextlib.suppress(OSError):  # no such groups here
            AUTOGROUP.write_text(str(value))
