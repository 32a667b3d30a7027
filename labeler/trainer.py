"""The trainer's process: `python -P -m labeler.trainer PROJECT --parent PID`.

It ends when its server is gone: the server holds the other end of its standard input, which the operating system
closes even when the server is killed. It watches for that before the heavy imports, which take seconds.
"""

import argparse
import os
import sys
import threading
import time
from pathlib import Path

from labeler.gentle import give_way
from labeler.terminal import tell


def _end_with_server(parent: int) -> None:
    """Leave at once when the server's end of our standard input closes, or the server is no longer our parent."""

    def read() -> None:
        while sys.stdin.buffer.read(1):
            pass
        os._exit(0)

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    if hasattr(os, "getppid") and os.name == "posix":
        threading.Thread(target=look, daemon=True).start()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -P -m labeler.trainer", description="Train one Labeler project.")
    parser.add_argument("project", type=Path)
    parser.add_argument("--parent", type=int, help="process id of the server that holds our standard input")
    arguments = parser.parse_args()
    if arguments.parent is not None:
        _end_with_server(arguments.parent)
    give_way(10)
    # One thread for linear algebra outside torch: with more, small mixtures take ten times longer on a busy machine.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from labeler.course import Lost, train

    try:
        train(arguments.project)
    except KeyboardInterrupt:
        return 0
    except (Lost, RuntimeError, ValueError, OSError) as e:  # the server starts it again
        tell(f"labeler trainer: {e}", error=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
