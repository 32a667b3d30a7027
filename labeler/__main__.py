"""The `labeler` command's outer door: exit codes, errors as one line, and Ctrl-C at any moment."""

import errno
import os
import signal
import sys
import threading
from types import FrameType

from labeler.terminal import tell

# One thread for linear algebra outside torch: with more, small mixtures take ten times longer on a busy machine.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

ENDED_BY_INTERRUPT = {"serve", "demo"}  # a server is ended by Ctrl-C as a matter of course
interrupted = threading.Event()  # somebody pressed Ctrl-C, whatever became of the exception


def main() -> int:
    """The console script."""
    sys.unraisablehook = interrupt_again
    signal.signal(signal.SIGINT, interrupt)
    code = run(sys.argv[1:])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the work is done: nothing may tear the interpreter's way out
    return code


def run(args: list[str]) -> int:
    """Run one command; its exit code: 0, 1 for failure, 2 for a command line that is wrong, 130 when interrupted."""
    try:
        from labeler.cli import app  # inside, so that an interrupt during the import is handled too

        code = app(args or ["--help"], prog_name="labeler", standalone_mode=False)
        if code == 130:  # how Typer reports a KeyboardInterrupt
            raise KeyboardInterrupt
        return int(code or 0)
    except KeyboardInterrupt:
        return say_stopped(args)
    except Exception as error:
        if interrupted.is_set():  # some extension modules make an error of their own of it
            return say_stopped(args)
        if os.environ.get("LABELER_TRACEBACK"):
            raise
        say(one_line(error))
        return int(getattr(error, "exit_code", 1))  # Typer's own errors carry 2


def interrupt(signum: int, frame: FrameType | None) -> None:
    """What Python does at Ctrl-C, and a note of it."""
    interrupted.set()
    signal.default_int_handler(signum, frame)


def interrupt_again(ignored: "sys.UnraisableHookArgs") -> None:
    """Python drops an exception that falls into a destructor or a weakref callback, of which imports are full."""
    if issubclass(ignored.exc_type, KeyboardInterrupt):
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
    else:
        sys.__unraisablehook__(ignored)


def say(text: str) -> None:
    tell("labeler: " + " ".join(text.split()), error=True)


def say_stopped(args: list[str]) -> int:
    command = next((a for a in args if not a.startswith("-")), "")
    if command in ENDED_BY_INTERRUPT:
        say("stopped. Every label is saved; the same command goes on from here.")
        return 0
    say("stopped. What was saved until now is kept.")
    return 130


def one_line(error: Exception) -> str:
    """What went wrong and what to do, in the words of the person at the keyboard."""
    if hasattr(error, "format_message"):
        context = getattr(error, "ctx", None)
        text = error.format_message().replace(": Value error, ", ": ").rstrip()  # those two words are pydantic's
        stop = "" if text.endswith((".", "?", "!")) else "."
        return f"{text}{stop} See `{context.command_path if context else 'labeler'} --help`."
    if isinstance(error, OSError) and error.filename:
        if error.errno == errno.EROFS:
            return f"{error.filename} lies on read-only storage. Copy the whole folder to where it may be written to."
        if error.errno in (errno.EACCES, errno.EPERM):
            return f"{error.filename} may not be read or written. Change its permissions, or choose another folder."
        return f"{error.filename}: {error.strerror}."
    if isinstance(error, KeyError) and error.args:
        return str(error.args[0])  # str() of a KeyError would quote it
    if isinstance(error, ValueError | OSError | RuntimeError) and str(error):
        return str(error)
    if hasattr(error, "orig"):  # SQLAlchemy's wrapping of what the database said, e.g. that the disk is full
        return f"the database cannot be used: {error.orig}. `labeler check PROJECT` tells more."
    return f"unexpected {type(error).__name__}: {error}. Set LABELER_TRACEBACK=1 to see where, and tell us."


if __name__ == "__main__":
    sys.exit(main())
