"""The command that tells what was done: every label, skip and undo, newest first."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labeler.cli.base import ProjectFolder, app

if TYPE_CHECKING:
    from storage import Entry, Store

SHOWN = 50  # lines in words, unless asked for more


def moment(text: str) -> float:
    from labeler.moments import parse_time

    try:
        return parse_time(text)
    except ValueError as error:
        raise typer.BadParameter(f"{error}.") from None


@app.command(epilog="Example: labeler log flowers --annotator ann --since 2026-11-24, or --sample rose/7.jpg --json")
def log(
    project: ProjectFolder,
    sample: Annotated[
        str | None, typer.Option(metavar="ID|NAME", help="Only of this image: its number, or its name as in an export.")
    ] = None,
    annotator: Annotated[str | None, typer.Option(metavar="NAME", help="Only what this person did.")] = None,
    since: Annotated[
        Any,
        typer.Option(
            metavar="TIME",
            parser=moment,
            help="Only from then on: 2026-11-24 or 2026-11-24T10:00, local unless it ends with Z or +01:00.",
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help=f"Only the newest N. [{SHOWN}; all with --json]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """What was done, newest first: by whom, when, how long it took, what the model said, and whether it was undone."""
    from labeler import Project

    with Project.open(project) as p:
        sample_ids = None if sample is None else ids_of(p.store, sample)
        if annotator is not None and annotator not in (known := p.store.annotators()):
            labeled = f"there are {', '.join(known)}" if known else "nobody has labeled there yet"
            raise KeyError(f"No annotator {annotator!r} in {project}; {labeled}.")
        names = {one.id: one.name for one in p.store.classes(archived=True)}
        if as_json:
            for entry in p.store.history(sample_ids, annotator, since, limit):
                print(json.dumps(as_row(entry, names), ensure_ascii=False))
            return
        shown = limit or SHOWN
        n = 0
        for n, entry in enumerate(p.store.history(sample_ids, annotator, since, shown + 1), start=1):
            if n <= shown:
                print(in_words(entry, names))
    if n == 0:
        print("Nothing was recorded" + (" that fits." if sample or annotator or since else " yet."))
    elif n > shown and limit is None:
        print(f"These are the newest {shown}: --limit N shows more, --json all.")


def ids_of(store: "Store", sample: str) -> list[int]:
    """The samples of this number or name. KeyError when there are none."""
    if sample.isascii() and sample.isdecimal() and (found := store.samples(ids=[int(sample)])):
        return [found[0].id]
    ids = store.ids_by_name(sample)
    if not ids:
        raise KeyError(
            f"No image {sample!r} in {store.name}. Give its number or its whole name, as an export has them."
        )
    return ids


def as_row(entry: "Entry", names: dict[int, str]) -> dict[str, Any]:
    """An event as the columns of an export name things, and what became of it."""
    from storage.exporters.rows import iso

    row = dict(vars(entry.event))
    return {
        "event_id": row.pop("id"),
        "time": iso(row.pop("time")),
        "kind": row.pop("kind"),
        "sample_id": row.pop("sample_id"),
        "name": entry.name,
        "class": names.get(entry.event.class_id or 0),
        "predicted_class": names.get(entry.event.predicted_class_id or 0),
        **row,
        "undone_by": entry.undone_by,
        "undoes_event": entry.target,
    }


def in_words(entry: "Entry", names: dict[int, str]) -> str:
    """One line: when, which event, who, what, which image, and what else there is to say of it."""
    from labeler.moments import told
    from storage.classes import short

    event = entry.event
    what = decision(event.kind, event.class_id, names)
    if event.kind == "undo" and entry.target is not None and entry.target_kind is not None:
        what = f"undo of #{entry.target} {decision(entry.target_kind, entry.target_class_id, names)}"
    more = []
    if event.ms is not None:
        more.append(f"{event.ms / 1000:.1f} s" + (" with a pause" if event.paused else ""))
    if event.predicted_class_id is not None:
        sure = "" if event.predicted_prob is None else f" {event.predicted_prob:.0%}"
        more.append(f"model {event.version} said {short(names[event.predicted_class_id])}{sure}")
    if event.group_id is not None:
        more.append(f"in group {event.group_id[:8]}")
    if event.comment:
        more.append(event.comment)
    if entry.undone_by is not None:
        more.append(f"undone by #{entry.undone_by}")
    line = f"{told(event.time)}  #{event.id}  {short(event.annotator)}  {what}  {short(entry.name)} ({event.sample_id})"
    return printable(f"{line}  {', '.join(more)}".rstrip())


def decision(kind: str, class_id: int | None, names: dict[int, str]) -> str:
    from storage.classes import short

    return kind if class_id is None else f"{kind} {short(names[class_id])}"


def printable(line: str) -> str:
    """One line, whatever a comment or the name of a file holds: a terminal must not take it for commands."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in line)
