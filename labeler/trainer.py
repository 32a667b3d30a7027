"""The trainer's process: `python -P -m labeler.trainer PROJECT --parent PID`.

It ends when its server is gone, however that came about, and watches for that before the heavy imports, which take
seconds.
"""

import argparse
import os
import sys
from pathlib import Path

from labeler.gentle import give_way
from labeler.lifeline import end_with
from labeler.terminal import tell


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -P -m labeler.trainer", description="Train one Labeler project.")
    parser.add_argument("project", type=Path)
    parser.add_argument("--parent", type=int, help="process id of the server that holds our standard input")
    arguments = parser.parse_args()
    if arguments.parent is not None:
        end_with(arguments.parent, lambda: os._exit(0))
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
