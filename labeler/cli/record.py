"""Commands on the history: what was done, newest first, and how to take back what was decided in one action."""

import json
import uuid
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labeler.cli.base import AsJson, ProjectFolder, app, count, print_json
from labeler.terminal import tell

if TYPE_CHECKING:
    from storage import ClassEvent, Entry, GuidelineEvent, Overlap, Store

    Change = ClassEvent | GuidelineEvent | Overlap

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
    """What was done, newest first: by whom, when, how long it took, what the model said, and whether it was undone.

    Changes of classes are among it, unless it is the log of one image.
    """
    from labeler import Project
    from storage.classes import composed

    with Project.open(project) as p:
        sample_ids = None if sample is None else ids_of(p.store, sample)
        if annotator is not None:
            known = p.store.annotators()
            same = [one for one in known if composed(one) == composed(annotator)]
            if not same:
                labeled = f"there are {', '.join(known)}" if known else "nobody has labeled there yet"
                raise KeyError(f"No annotator {annotator!r} in {project}; {labeled}.")
            annotator = annotator if annotator in same else same[0]
        names = {one.id: one.name for one in p.store.classes(archived=True)}
        most = limit if as_json else (limit or SHOWN) + 1
        entries = p.store.history(sample_ids, annotator, since, most)
        changes = [] if sample_ids is not None else changes_by(p.store, annotator, since)
        lines = islice(together(entries, changes), most)
        if as_json:
            for line in lines:
                print(json.dumps(row_of(line, names), ensure_ascii=False))
            return
        shown = limit or SHOWN
        n = 0
        for n, line in enumerate(lines, start=1):
            if n <= shown:
                tell(words_of(line, names))
    if n == 0:
        tell("Nothing was recorded" + (" that fits." if sample or annotator or since else " yet."))
    elif n > shown and limit is None:
        tell(f"These are the newest {shown}: --limit N shows more, --json all.")


@app.command(epilog="Example: labeler undo flowers 1f3a92c0, after labeler log flowers")
def undo(
    project: ProjectFolder,
    group: Annotated[
        str, typer.Argument(metavar="GROUP", help="The group that labeler log names, or as much of it as tells it.")
    ],
    annotator: Annotated[str, typer.Option(metavar="NAME", help="Who takes it back, for the record.")] = "me",
    as_json: AsJson = False,
) -> None:
    """Take back what was decided in one action, such as a split: each image is again what it was before."""
    from labeler import Project
    from storage.classes import shown

    with Project.open(project) as p:
        group_id = p.store.group_id(group)
        undone = p.store.undo_group(group_id, uuid.uuid4().hex, annotator, "undo")
        archived = p.classes.unsplit(group_id, annotator) if undone else []
    if as_json:
        return print_json({"group_id": group_id, "undone": len(undone), "archived": [one.name for one in archived]})
    tell(f"Took back {count(len(undone), 'decision')}." if undone else "That group is undone already.")
    for one in archived:
        tell(f"The class {shown(one.name)}, which is empty, is archived.")


def changes_by(store: "Store", annotator: str | None, since: float | None) -> "list[Change]":
    """Changes of classes, guidelines and the overlap, newest first. What a project began with is none: the classes
    that it was made with, those of before there were such events, and those whose events are lost (without a group)."""
    of_classes = store.class_events()
    began = {None} | {e.group_id for e in of_classes[:1] if e.annotator is None}
    of_classes = [e for e in of_classes if (e.kind, e.after_event_id) != ("add", 0) or e.group_id not in began]
    changes: list[Change] = [*of_classes, *store.guideline_events(), *store.overlap_events()]
    changes.sort(key=lambda change: (change.after_event_id, change.time))
    return [e for e in reversed(changes) if annotator in (None, e.annotator) and e.time >= (since or 0)]


def together(entries: "Iterable[Entry]", changes: "Iterable[Change]") -> "Iterator[Entry | Change]":
    """Both in one order, newest first."""
    rest = iter(changes)
    change = next(rest, None)
    for entry in entries:
        while change is not None and change.after_event_id >= entry.event.id:
            yield change
            change = next(rest, None)
        yield entry
    if change is not None:
        yield change
        yield from rest


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


def row_of(line: "Entry | Change", names: dict[int, str]) -> dict[str, Any]:
    from storage import ClassEvent, GuidelineEvent, Overlap

    if isinstance(line, GuidelineEvent):
        return guideline_as_row(line, names)
    if isinstance(line, Overlap):
        return overlap_as_row(line)
    return change_as_row(line, names) if isinstance(line, ClassEvent) else as_row(line, names)


def words_of(line: "Entry | Change", names: dict[int, str]) -> str:
    from storage import ClassEvent, GuidelineEvent, Overlap

    if isinstance(line, GuidelineEvent):
        return guideline_in_words(line, names)
    if isinstance(line, Overlap):
        return overlap_in_words(line)
    return change_in_words(line, names) if isinstance(line, ClassEvent) else in_words(line, names)


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
    what = f"review: {what}" if event.review else what
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
    return f"{line}  {', '.join(more)}".rstrip()


def change_as_row(change: "ClassEvent", names: dict[int, str]) -> dict[str, Any]:
    """A change of a class: `class` is its name from then on."""
    from storage.exporters.rows import iso

    now = change.now
    return {
        "event_id": None,
        "time": iso(change.time),
        "kind": f"class {change.kind}",
        "class_id": now.id,
        "class": now.name,
        "key": now.key,
        "colour": now.colour,
        "position": now.position,
        "merged_into": None if now.merged_into is None else names[now.merged_into],
        "came_from": None if change.came_from is None else names[change.came_from],
        "annotator": change.annotator,
        "after_event_id": change.after_event_id,
        "group_id": change.group_id,
    }


def change_in_words(change: "ClassEvent", names: dict[int, str]) -> str:
    """One line: when, who, which change of which class, and what there is to say of it."""
    from labeler.moments import told
    from storage.classes import short

    now = change.now
    more = {
        "rename": f"which was class {now.id}, is named so from then on",
        "recolour": now.colour,
        "key": f"key {now.key}" if now.key else "no key",
        "reorder": f"at {now.position + 1}" + (f", key {now.key}" if now.key else ""),
        "merge": f"into {short(names.get(now.merged_into or 0, ''))}",
        "unmerge": f"out of {short(names.get(change.came_from or 0, ''))}",
        "split": f"off {short(names.get(change.came_from or 0, ''))}",
    }.get(change.kind, "")
    who = f"{short(change.annotator)}  " if change.annotator else ""
    return f"{told(change.time)}  {who}class {change.kind}  {short(now.name)}  {more}".rstrip()


def guideline_as_row(change: "GuidelineEvent", names: dict[int, str]) -> dict[str, Any]:
    from storage.exporters.rows import iso

    return {
        "event_id": None,
        "time": iso(change.time),
        "kind": "class guideline",
        "class_id": change.class_id,
        "class": names[change.class_id],
        "text": change.text,
        "examples": change.examples,
        "annotator": change.annotator,
        "after_event_id": change.after_event_id,
    }


def guideline_in_words(change: "GuidelineEvent", names: dict[int, str]) -> str:
    from labeler.moments import told
    from storage.classes import short

    who = f"{short(change.annotator)}  " if change.annotator else ""
    what = f"{count(len(change.text), 'character')}, {count(len(change.examples), 'example')}"
    return f"{told(change.time)}  {who}class guideline  {short(names[change.class_id])}  {what}"


def overlap_as_row(change: "Overlap") -> dict[str, Any]:
    from storage.exporters.rows import iso

    about = {name: value for name, value in vars(change).items() if name != "time"}
    return {"event_id": None, "time": iso(change.time), "kind": "overlap", **about}


def overlap_in_words(change: "Overlap") -> str:
    from labeler.moments import told
    from storage.classes import short

    who = f"{short(change.annotator)}  " if change.annotator else ""
    what = (
        f"a share of {change.share:g} is asked of {change.times} people" if change.share else "each image is asked once"
    )
    return f"{told(change.time)}  {who}overlap  {what}"


def decision(kind: str, class_id: int | None, names: dict[int, str]) -> str:
    from storage.classes import short

    return kind if class_id is None else f"{kind} {short(names[class_id])}"
