"""`labeler check` on a torn database: what is wrong with it, what of it can be read, and a new project of that."""

import shlex
import shutil
from pathlib import Path
from typing import Any

from labeler.project import DATABASE, is_project
from storage import salvage as torn


def told(folder: Path, error: Exception) -> list[str] | None:
    """After an error: what is wrong with the database file and what is left, one line each; None where it is sound."""
    path = folder / DATABASE
    if not torn.is_from_sqlite(error) or not path.is_file() or not (faults := torn.faults(path)):
        return None
    lines = [f"SQLite: {line}" for line in faults]
    tables = torn.readable(path)
    for table in tables:
        if table.name in ("events", "samples") or table.holes:
            places = f", and in {table.holes:,} places there were more" if table.holes else ""
            lines.append(f"{table.name}: {table.rows:,} rows can be read{places}")
    if not any(table.rows for table in tables):
        return [*lines, "Nothing can be read. Restore the newest backup: labeler restore BACKUP.zip FOLDER"]
    return [
        *lines,
        "Nothing was changed. Restore the newest backup (labeler restore BACKUP.zip FOLDER), or make a project of what "
        f"can be read: labeler check {shlex.quote(str(folder))} --salvage FOLDER",
    ]


def salvaged(folder: Path, out: Path) -> torn.Salvaged:
    """What can be read of a project as the new project `out`, with the images. The model is to be trained again."""
    folder, out = folder.expanduser().absolute(), out.expanduser().absolute()
    if not (folder / DATABASE).is_file():
        where = "is on a server, which has backups of its own" if is_project(folder) else f"has no {DATABASE}"
        raise ValueError(f"{folder} {where}: --salvage is for a {DATABASE} that is torn.")
    if out.exists():
        raise ValueError(f"{out} exists already. Choose a new folder.")
    out.mkdir(parents=True)
    try:
        found = torn.salvage(folder / DATABASE, out / DATABASE)
        if (folder / "images").is_dir():
            shutil.copytree(folder / "images", out / "images")
    except BaseException:
        shutil.rmtree(out, ignore_errors=True)
        raise
    return found


def report(found: torn.Salvaged) -> dict[str, Any]:
    return {**vars(found), "tables": {t.name: {"rows": t.rows, "holes": t.holes} for t in found.tables}}
