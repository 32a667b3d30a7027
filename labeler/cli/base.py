"""What every command shares: the app, its options, lists of numbers, reports and the progress bar."""

import json
import math
import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from typer.core import TyperGroup

from labeler.terminal import printable
from model import ACQUISITIONS

if TYPE_CHECKING:
    from labeler.moments import At

T = TypeVar("T")
SHOWN = 20  # files that an import or an export lists
HOW_CHOSEN = f"How the next image is chosen: {', '.join(ACQUISITIONS[:-1])} or {ACQUISITIONS[-1]}."

ORDER = [  # of the help: as they are first needed, those of several people and of the record's care last
    *("demo", "new", "import", "serve", "status", "export", "classes", "train", "pause", "resume"),
    *("generate", "simulate", "regimes", "log", "undo", "user", "overlap", "agreement", "check", "backup", "restore"),
]


class InOrder(TyperGroup):
    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))


app = typer.Typer(
    cls=InOrder,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

ProjectFolder = Annotated[Path, typer.Argument(metavar="PROJECT", help="The project's folder.", readable=False)]
Port = Annotated[int, typer.Option(help="Port of the page.", min=0, max=65535)]
NoBrowser = Annotated[bool, typer.Option("--no-browser", help="Do not open the page in a browser.")]
Flip = Annotated[
    bool | None,
    typer.Option(
        "--flip/--no-flip", help="Whether a mirrored image keeps its class. [found out for each class while it learns]"
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Report as JSON.")]


def at(text: str) -> "At":
    from labeler.moments import parse_at

    try:
        return parse_at(text)
    except ValueError as error:
        raise typer.BadParameter(f"{error}.") from None


AtMoment = Annotated[
    Any,
    typer.Option(
        "--at",
        metavar="EVENT|TIME|labels:N",
        parser=at,
        help="As it was then: after an event (1234; `labeler log` has the numbers), at a time (2026-11-24T10:00; local "
        "unless it ends with Z or +01:00; a date alone is when that day began), or when N images were labeled for the "
        "first time (labels:100).",
    ),
]


def print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"labeler {version('labeler')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=print_version, is_eager=True)
    ] = False,
) -> None:
    """Label images with one key each, while a model learns from every label and draws what it learned."""


def finite(value: float | None) -> float | None:
    """Of an option that is a number: its min and max let NaN through, and infinity where there is no max."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value:g} will not do: give a number.")
    return value


def known_acquisition(name: str | None) -> None:
    if name is not None and name not in ACQUISITIONS:
        raise typer.BadParameter(f"no acquisition {name!r}; there are {', '.join(ACQUISITIONS)}.")


def usable(check: Callable[[], T]) -> T:
    """What `check` gives. What is wrong whatever the project holds is wrong usage."""
    try:
        return check()
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def seeds_of(text: str) -> list[int]:
    """Rng seeds: numbers that NumPy, PyTorch and scikit-learn all take."""
    seeds = [int(part) for part in text.split(",")] if re.fullmatch(r"\d+(, *\d+)*", text) else []
    if not seeds or max(seeds) >= 2**31:
        raise typer.BadParameter(f"{text!r} is no list of whole numbers from 0 to {2**31 - 1:,}, such as 0,1,2.")
    return seeds


def label_counts(text: str) -> list[int | None]:
    """Numbers of labels, None for all of them."""
    if not re.fullmatch(r"(\d+|all)(,(\d+|all))*", text):
        raise typer.BadParameter(f"{text!r} is no list of numbers of labels such as 0,10,100,all.")
    return [None if part == "all" else int(part) for part in text.split(",")]


def typed(path: Path) -> str:
    """A path as a shell takes it, for a command that is to be copied."""
    return shlex.quote(str(path))


def count(n: int, one: str, many: str | None = None) -> str:
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def print_json(report: Any) -> None:
    print(json.dumps(report, indent=2, ensure_ascii=False))


@contextmanager
def progress(text: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr while something long runs; nothing when stderr is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(printable(text), total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
