"""A process that another one started ends with it, however that came about.

Who started it holds the other end of its standard input, which the operating system closes even when that process is
killed; and where the system tells, the process sees that its parent is another one.
"""

import os
import threading
import time
from collections.abc import Callable


def end_with(parent: int, end: Callable[[], None]) -> None:
    """Call `end`, in a thread, when the process `parent` that started this one is gone or lets go of its input."""

    def read() -> None:
        while os.read(0, 1):  # not through sys.stdin: its lock would be in the way when the interpreter ends
            pass
        end()

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        end()

    threading.Thread(target=read, daemon=True).start()
    if os.name == "posix":
        threading.Thread(target=look, daemon=True).start()
