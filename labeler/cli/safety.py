"""Commands that keep a project safe: a backup as one file, and a project made of it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from labeler.cli.base import AsJson, ProjectFolder, app, count, print_json, progress, typed, usable
from labeler.cli.projects import print_some
from labeler.terminal import tell

if TYPE_CHECKING:
    from labeler.backup import Copied

ZipFile = Annotated[Path, typer.Argument(metavar="OUT.zip", help="The backup.", readable=False)]


@app.command(epilog="Example: labeler backup flowers flowers-monday.zip")
def backup(project: ProjectFolder, out: ZipFile, as_json: AsJson = False) -> None:
    """Write labels, images and the newest model to one zip, of one moment, also while people label."""
    from labeler import Project
    from labeler.backup import backup as back_up

    with Project.open(project) as p, progress(f"Writing {out}") as bar:
        copied = back_up(p, out, bar)
    if as_json:
        print_json(copied.report() | {"out": str(out)})
    else:
        tell(f"{out}: {told(copied)}. Bring it back with: labeler restore {typed(out)} FOLDER")
        if copied.by_path:
            n = count(len(copied.by_path), "image is", "images are")
            tell(f"{n} kept where they were imported from and not in it, such as {copied.by_path[0]}")
    faults = [f"{file}: the file is gone" for file in copied.missing]
    faults += [f"{file}: the file is not what was imported" for file in copied.changed]
    print_some([*copied.wrong, *faults], "--json lists them all")
    what = ["something is wrong with the record"] * bool(copied.wrong) + ["originals were gone or changed"] * bool(
        faults
    )
    if what:
        raise ValueError(f"{out} is written, but {' and '.join(what)}, listed above. See `labeler check`.")


@app.command(epilog="Example: labeler restore flowers-monday.zip flowers")
def restore(
    out: ZipFile,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="New folder of the project.", readable=False)],
    database: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Put the labels on PostgreSQL: postgresql+psycopg://USER@HOST/DATABASE."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a project of a backup, in a new folder. Every file is compared with what was backed up."""
    from labeler.backup import restore as bring_back
    from labeler.project import must_be_server

    if database is not None:
        usable(lambda: must_be_server(database))
    with progress(f"Reading {out}") as bar:
        copied = bring_back(out, folder, bar, database)
    gone = [file for file in copied.by_path if not Path(file).is_file()]
    if as_json:
        print_json(copied.report() | {"folder": str(folder), "by_path_gone": gone})
    else:
        tell(f"{folder}: {told(copied)}, each file as it was backed up. Next: labeler serve {typed(folder)}")
        if copied.by_path:
            where = f"; {len(gone):,} of them are not there" if gone else ", and are there"
            tell(f"{count(len(copied.by_path), 'image was', 'images were')} kept where they were imported from{where}.")
    print_some(copied.wrong, "--json lists them all")
    if copied.wrong:
        raise ValueError(f"{folder} is restored, with what was wrong with the record already, listed above.")


def told(copied: "Copied") -> str:
    model = f"model version {copied.version}" if copied.version is not None else "no model"
    return f"{count(copied.samples, 'image')}, {count(copied.last_event_id, 'event')}, {model}"
