"""Commands that run the page and its trainer."""

import os
import signal
import uuid
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from labeler.cli.base import HOW_CHOSEN, NoBrowser, Port, ProjectFolder, app, count, known_acquisition, progress
from labeler.lifeline import end_with
from labeler.terminal import tell


class Dataset(StrEnum):
    fashion = "fashion"
    digits = "digits"


@app.command(epilog="Example: labeler demo --dataset digits")
def demo(
    dataset: Annotated[Dataset, typer.Option(help="Which embedded data set.")] = Dataset.fashion,
    port: Port = 7860,
    no_browser: NoBrowser = False,
    dir: Annotated[
        Path | None, typer.Option(metavar="D", readable=False, help="Project folder. [labeler-demo/DATASET]")
    ] = None,
) -> None:
    """Open the page on an embedded data set. A second start resumes."""
    from labeler.demo import prepare

    folder = dir or Path("labeler-demo") / dataset.value
    with progress(f"Preparing {folder}") as bar:
        prepare(folder, dataset.value, bar)
    run_server(folder, port=port, open_browser=not no_browser)


@app.command(epilog="Example: labeler serve flowers --port 7861")
def serve(
    project: ProjectFolder,
    host: Annotated[str, typer.Option(help="Address to listen on; others than loopback need accounts.")] = "127.0.0.1",
    port: Port = 7860,
    no_browser: NoBrowser = False,
    acquisition: Annotated[str | None, typer.Option(help=HOW_CHOSEN)] = None,
    no_trainer: Annotated[bool, typer.Option("--no-trainer", help="The page alone; no model is trained.")] = False,
    auth: Annotated[
        bool, typer.Option("--auth", help="People sign in, see 'labeler user'. Always so with another --host.")
    ] = False,
    parent: Annotated[int | None, typer.Option(hidden=True, help="Process that started this one: end with it.")] = None,
) -> None:
    """Open the page, and train the model beside it. Ctrl-C ends both."""
    if parent is not None:
        end_with(parent, lambda: os.kill(os.getpid(), signal.SIGTERM))
    known_acquisition(acquisition)
    if not host:
        raise typer.BadParameter("--host is empty: 127.0.0.1 is this machine alone, 0.0.0.0 all that reach it")
    run_server(
        project,
        host=host,
        port=port,
        open_browser=not no_browser,
        acquisition=acquisition,
        trainer=not no_trainer,
        auth=auth,
    )


@app.command(epilog="Example: labeler train flowers --until-settled")
def train(
    project: ProjectFolder,
    until_settled: Annotated[
        bool, typer.Option("--until-settled", help="End when nothing more is learned, instead of waiting for labels.")
    ] = False,
) -> None:
    """Train a project's model without the page. While training is paused it waits, see 'labeler pause'."""
    from labeler import Project
    from labeler.course import Lost
    from labeler.course import train as train_project
    from labeler.outage import outlasted
    from storage import AlreadyRunning

    holder = uuid.uuid4().hex
    try:
        with progress(f"Training {project}") as bar:
            outlasted(
                project,
                lambda: train_project(project, until_settled, bar, holder, said_when_paused(project)),
            )
    except Lost as error:
        raise RuntimeError(f"Stopped: {error}. What was published is kept.") from error
    except RuntimeError as error:
        if isinstance(error.__cause__, AlreadyRunning):
            raise error.__cause__ from None  # says all there is to say
        raise
    with Project.open(project) as p:
        if version := p.store.newest_version():
            learned = f"learned from {count(version.labels, 'label')} in {count(version.steps, 'step')}"
            tell(f"Settled: version {version.version}, {learned}.")


def said_when_paused(project: Path) -> Callable[[str], None]:
    """What hears the phases of a trainer, and says on stderr when it begins to wait and when it goes on."""
    waiting = False

    def hear(phase: str) -> None:
        nonlocal waiting
        if phase == "paused":
            tell(f"Training is paused. Labels still count; go on with: labeler resume {project}", error=True)
        elif waiting:
            tell("Training goes on.", error=True)
        waiting = phase == "paused"

    return hear


@app.command(epilog="Example: labeler pause flowers")
def pause(project: ProjectFolder) -> None:
    """Pause training: no gradient step is taken until 'labeler resume'. Labels still count, and rank what is asked."""
    set_paused(project, True)


@app.command(epilog="Example: labeler resume flowers")
def resume(project: ProjectFolder) -> None:
    """Go on with training after 'labeler pause', at once."""
    set_paused(project, False)


def set_paused(folder: Path, paused: bool) -> None:
    from labeler import Project
    from labeler.control import change

    with Project.open(folder) as p:
        change(p.store, {"paused": paused})
        trainer = p.store.process("trainer")
    runs = trainer is not None and trainer["alive"]
    told = "Training is paused. Labels still count." if paused else "Training goes on."
    tell(f"{folder}: {told}{'' if runs else ' No trainer runs now.'}")


def run_server(folder: Path, **how: Any) -> None:
    from labeler.serve import serve as serve_project

    serve_project(folder, **how)
    raise KeyboardInterrupt  # what ended it; said in one place, however early it came
