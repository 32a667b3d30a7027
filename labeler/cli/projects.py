"""Commands about a project's record: make, fill, count, export and check it."""

import re
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labeler.cli.base import (
    SHOWN,
    AsJson,
    AtMoment,
    Flip,
    ProjectFolder,
    app,
    count,
    finite,
    print_json,
    progress,
    typed,
    usable,
)
from labeler.terminal import tell

if TYPE_CHECKING:
    from labeler import Project
    from labeler.imports import ImportReport
    from storage import Moment


class Format(StrEnum):
    csv = "csv"
    jsonl = "jsonl"
    folder = "folder"


@app.command(epilog="Example: labeler new flowers --classes rose,tulip,daisy")
def new(
    project: ProjectFolder,
    classes: Annotated[str | None, typer.Option(metavar="A,B,C", help="Class names, separated by commas.")] = None,
    class_: Annotated[
        list[str] | None, typer.Option("--class", metavar="NAME", help="One class name, taken as it is; repeatable.")
    ] = None,
    flip: Flip = None,
    database: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Keep the labels on PostgreSQL, for a team: postgresql+psycopg://USER@HOST/DATABASE. The password "
            "comes from PGPASSWORD or ~/.pgpass. [a SQLite file in the project's folder]",
        ),
    ] = None,
) -> None:
    """Make an empty project with these classes."""
    from labeler.project import Project, must_be_server
    from storage.classes import alike, clean_class_names, shown

    names = [*(classes.split(",") if classes is not None else []), *(class_ or [])]
    if not names:
        raise typer.BadParameter("say which classes there are: --classes rose,tulip,daisy")
    usable(lambda: clean_class_names(names))
    if database is not None:
        usable(lambda: must_be_server(database))
    with Project.create(project, names, database) as p:
        p.store.set_setting("flip", flip)
        without = sum(not c.key for c in p.store.classes())
        place = p.store.place
    made = f"{project}: new project with {count(len(names), 'class', 'classes')}"
    tell(f"{made}. Next: labeler import {typed(project)} SOURCE")
    for one, other in alike(names):
        tell(f"Note that {shown(one)} and {shown(other)} differ by capital letters alone.")
    if database is not None:
        tell(f"Its labels are at {place}. No password is kept: PGPASSWORD or ~/.pgpass has to have it.")
    if without:
        tell(
            f"{count(without, 'class has', 'classes have')} no key, as all are taken: on the page / finds them by name."
        )


@app.command("import", epilog="Example: labeler import flowers ~/Pictures/flowers --labels")
def import_(
    project: ProjectFolder,
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="Image folder, IDX files, or .npz.", readable=False)],
    labels: Annotated[
        bool, typer.Option("--labels", help="Class subfolders, or the labels beside the images, become labels.")
    ] = False,
    gold: Annotated[
        bool,
        typer.Option("--gold", help="Test images with known class: never asked, never trained on, they tell accuracy."),
    ] = False,
    part: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Only this part of a source with parts, e.g. train or test. [train; with --gold test]",
        ),
    ] = None,
    no_copy: Annotated[
        bool, typer.Option("--no-copy", help="Leave image files where they are, and remember their path.")
    ] = False,
    measure_share: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=0.9,
            callback=finite,
            help="Share of these images, of those without a label, kept for measuring accuracy, 500 at most; if given, "
            "also the share of the questions that measure. [0.1, or 0 where there are gold images; the questions stay "
            "as they are]",
        ),
    ] = None,
    max_megapixels: Annotated[float, typer.Option(min=0, callback=finite, help="Larger images are left out.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Add images to a project. Identical files are stored once; what cannot be read is left out and listed."""
    if labels and gold:
        raise typer.BadParameter("--labels gives labels to learn from, --gold images to test with: choose one")
    from labeler import Project

    with Project.open(project) as p, progress(f"Importing {source}") as bar:
        report = p.import_(
            source,
            labels=labels,
            gold=gold,
            part=part,
            copy=not no_copy,
            measure_share=measure_share,
            max_megapixels=max_megapixels,
            on_progress=bar,
        )
        counts = p.store.counts()
    if as_json:
        rejected = [{"name": name, "reason": reason} for name, reason in report.rejected]
        print_json(
            {
                "added": report.added,
                "duplicates": report.duplicates,
                "labels": report.labels,
                "split": report.split,
                "part": report.part,
                "left_parts": report.left_parts,
                "stay_in_pool": report.stay_in_pool,
                "measure_share": report.measure_share,
                "measured": report.measured,
                "new_classes": report.new_classes,
                "rejected": rejected,
            }
        )
    else:
        print_import(report, part is not None, measures=bool(counts["gold"] or counts["measure"]))
    if report.rejected and not report.added and not report.duplicates:
        raise ValueError(f"Nothing was imported from {source}: {report.rejected[0][0]}: {report.rejected[0][1]}")


def briefly(names: list[str]) -> str:
    from storage.classes import short

    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(map(short, names[:SHOWN])) + more


def print_import(report: "ImportReport", part_was_asked_for: bool, measures: bool) -> None:
    added, duplicates = count(report.added, "image"), count(report.duplicates, "duplicate")
    tell(f"Added {added} ({duplicates} left out) and {count(report.labels, 'label')}.")
    for other, n in {} if part_was_asked_for else report.left_parts.items():
        how = f"--part {other}" if other == "train" else f"--part {other} --gold"
        tell(f"Took part {report.part}; left {count(n, 'image')} of part {other}: import them with {how}")
    if report.new_classes:
        tell(f"{count(len(report.new_classes), 'new class', 'new classes')}: {briefly(report.new_classes)}.")
    if report.labels and not measures:
        tell("What has a label is learned from: none of it measures. Import test images with --gold for an accuracy.")
    if report.stay_in_pool:
        were = count(report.stay_in_pool, "image was", "images were")
        tell(f"{were} in the project without --gold already: such images stay in the pool and do not test.")
    if report.measure_share is not None:
        tell(f"Of all questions {report.measure_share:.0%} measure accuracy from now on; Q on the page changes that.")
    if report.rejected:
        tell(f"Left out {count(len(report.rejected), 'file')} that cannot be used:")
    for name, reason in report.rejected[:SHOWN]:
        tell(f"  {name}: {reason}")
    if len(report.rejected) > SHOWN:
        tell(f"  and {len(report.rejected) - SHOWN:,} more; --json lists them all")


@app.command(epilog="Example: labeler status flowers --json, or labeler status flowers --at labels:100")
def status(project: ProjectFolder, at: AtMoment = None, as_json: AsJson = False) -> None:
    """How far the labels and the model are, or were."""
    from labeler import Project
    from labeler.moments import find

    with Project.open(project) as p:
        report = status_of(p, scored=as_json) if at is None else status_at(p, find(p.store, at))
    if as_json:
        print_json(report)
    else:
        print_status(report)


def status_of(p: "Project", scored: bool = False) -> dict[str, Any]:
    """`scored`: with precision, recall and F1 of each class, and the confusion, which take a second to load."""
    from labeler.control import control_of
    from labeler.scores import by_name, scores

    return {
        **_status(p, None),
        "annotators": p.store.annotators(),
        "paused": control_of(p.store).paused,
        "scores": by_name(scores(p.store, p.published()), {c.id: c.name for c in p.store.classes()}) if scored else {},
        "trainer": p.store.process("trainer"),
        "server": p.store.process("server"),
    }


def status_at(p: "Project", moment: "Moment") -> dict[str, Any]:
    """The status of a moment; which processes ran then is not recorded."""
    from storage.exporters.rows import iso

    recorded = None if moment.recorded is None else iso(moment.recorded)
    return {
        "at": {"event_id": moment.event_id, "recorded": recorded, "time": iso(moment.time)},
        **_status(p, moment),
        "annotators": p.store.annotators_at(moment),
    }


def _status(p: "Project", moment: "Moment | None") -> dict[str, Any]:
    counts, version = p.store.counts(moment), p.store.newest_version(moment)
    per_class = counts.pop("per_class")
    model = version and {
        "version": version.version,
        "labels": version.labels,
        "steps": version.steps,
        "acquisition": version.acquisition,
        "metrics": version.metrics,
    }
    return {
        "name": p.name,
        "folder": str(p.folder),
        "database": p.store.place,
        **counts,
        "classes": [{"name": c.name, "key": c.key, "labels": per_class.get(c.id, 0)} for c in p.store.classes()],
        "overlap": _overlap(p, moment),
        "model": model,
        "blind_tests": _blind_tests(p, moment),
    }


def _overlap(p: "Project", moment: "Moment | None") -> dict[str, Any] | None:
    """What is asked of several people; None where nothing is."""
    at = None if moment is None else moment.event_id
    held = p.store.overlap(at)
    return {"share": held.share, "times": held.times, **p.store.overlap_counts(at)} if held.share else None


def _blind_tests(p: "Project", moment: "Moment | None") -> list[dict[str, Any]]:
    """How well people told real images from those that each version drew."""
    from labeler.blind import scores

    return scores(p.store, None if moment is None else moment.time)


def print_status(report: dict[str, Any]) -> None:
    from labeler.moments import told
    from storage.classes import short

    images, then = count(report["samples"] - report["gold"], "image"), ""
    if at := report.get("at"):
        recorded = at["recorded"] and told(datetime.fromisoformat(at["recorded"]).timestamp())
        then = f" after event {at['event_id']:,} of {recorded}" if recorded else " before the first event"
    tell(f"{short(report['name'])}{then}: {report['labeled']:,} of {images} labeled")
    counted = [f"{name} {report[name]:,}" for name in ("open", "skipped", "unsure", "flagged")]
    if report["disputed"]:
        counted.append(f"disputed {report['disputed']:,}")
    if report["archived"]:
        counted.append(f"of archived classes {report['archived']:,}")
    tell(f"  {', '.join(counted)}, gold {report['gold']:,}, kept for measuring {report['measure']:,}")
    for c in report["classes"]:
        tell(f"  {c['labels']:>7,}  {short(c['name'])}  ({'key ' + c['key'] if c['key'] else 'no key'})")
    if overlap := report["overlap"]:
        settled = f"settled by most or by a reviewer {overlap['agreed']:,}, answered by some {overlap['waiting']:,}"
        tell(f"  asked of {overlap['times']} people: {count(overlap['drawn'], 'image')}, of which {settled}")
    if report["model"] is None:
        tell("  no model yet" + ("" if at else "; labeler serve or labeler train makes one"))
    else:
        tell(f"  model version {report['model']['version']}, learned from {count(report['model']['labels'], 'label')}")
        for kind in ("gold", "measured"):
            if report["model"]["metrics"].get(f"{kind}_accuracy") is not None:
                metrics = report["model"]["metrics"]
                n = count(metrics[f"{kind}_n"], "image")
                tell(f"  accuracy {metrics[f'{kind}_accuracy']:.3f} on {n} ({kind})")
    for test in report["blind_tests"][-1:]:
        interval = " to ".join(f"{end:.0%}" for end in test["interval"])
        right = f"{test['score']:.0%} of {count(test['n'], 'image')} told right (95% interval {interval})"
        tell(f"  blind test of version {test['version']}: {right}; 50% is guessing")
    for role in () if at else ("server", "trainer"):
        process = report[role]
        running = process is not None and process["alive"]
        tell(f"  {role}: {process.get('phase') or process.get('url') or 'running' if running else 'not running'}")
    if report.get("paused"):
        tell("  training is paused: labeler resume goes on")


def chain_head(text: str) -> tuple[int, str]:
    event_id, _, link = text.partition(":")
    if not (event_id.isascii() and event_id.isdecimal() and re.fullmatch("[0-9a-f]{64}", link)):
        raise typer.BadParameter(f"{text!r} is no event and its link as labeler check tells them, 1234:5f2a...")
    return int(event_id), link


@app.command(epilog="Example: labeler export flowers flowers-labels --format folder")
def export(
    project: ProjectFolder,
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="File (csv, jsonl) or new folder to write.", readable=False)
    ],
    format: Annotated[
        Format, typer.Option(help="csv, jsonl, or folder: one subfolder a class, as ImageFolder reads it.")
    ] = Format.csv,
    at: AtMoment = None,
    annotations: Annotated[
        bool,
        typer.Option(
            "--annotations", help="A row for each person's answer, instead of one for each image. csv and jsonl only."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write the labels in a form that any training code reads, as they are or as they were."""
    if annotations and format is Format.folder:
        raise typer.BadParameter("--annotations is a table: --format csv or jsonl")
    from labeler import Project
    from labeler.moments import find
    from storage.exporters import export as export_labels

    with Project.open(project) as p, progress(f"Writing {out}") as bar:
        moment = None if at is None else find(p.store, at)
        tally = export_labels(p.store, p.folder, out, format.value, on_progress=bar, at=moment, annotations=annotations)
    if as_json:
        print_json(tally)
    else:
        numbers = {name: n for name, n in tally.items() if isinstance(n, int)}
        tell(f"{tally['out']}: " + ", ".join(f"{name} {n:,}" for name, n in numbers.items()))
    left_out = tally.get("left_out", [])
    print_some([f"{one['name']} ({one['file']}): {one['reason']}" for one in left_out], "labels.csv has them all")
    if left_out:
        images = count(len(left_out), "labeled image is", "labeled images are")
        raise ValueError(f"{images} not in {tally['out']}, for the reasons above. Everything else is.")


def print_some(lines: list[str], whole: str) -> None:
    """The first of them on stderr, and where the whole list is."""
    for line in lines[:SHOWN]:
        tell(f"  {line}", error=True)
    if len(lines) > SHOWN:
        tell(f"  and {len(lines) - SHOWN:,} more; {whole}", error=True)


@app.command(epilog="Example: labeler check flowers --repair")
def check(
    project: ProjectFolder,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Mend what can be, one line each. No label and no original is ever deleted."),
    ] = False,
    head: Annotated[
        Any,
        typer.Option(
            metavar="EVENT:LINK",
            parser=chain_head,
            help="What an earlier check told of the newest event: the record must still go on from there.",
        ),
    ] = None,
    salvage: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", readable=False, help="Of a database that is torn: make a new project of what can be read."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Test the database, the image files and the published models. Exit code 1 when something is wrong."""
    if salvage is not None:
        return take_out(project, salvage, as_json)
    try:
        check_all(project, repair, head, as_json)
    except Exception as error:
        from labeler.salvage import told

        if (lines := told(project, error)) is None:
            raise
        if as_json:
            print_json({"ok": False, "wrong": lines})
        for line in [] if as_json else lines:
            tell(line)
        raise ValueError(f"{project}: its database is torn, see above.") from error


def take_out(project: Path, out: Path, as_json: bool) -> None:
    from labeler.salvage import report, salvaged

    found = salvaged(project, out)
    if as_json:
        return print_json(report(found) | {"folder": str(out)})
    tell(f"{out}: {count(found.events, 'event')}, {count(found.labels, 'label')}. {project} is as it was.")
    for table in found.tables:
        if table.holes:
            tell(f"{table.name}: {count(table.rows, 'row')}; in {count(table.holes, 'place')} there were more")
    if found.left_out:
        tell(f"{count(found.left_out, 'row')} left out that pointed at what could not be read")
    tell(f"Next: labeler check {typed(out)}")


def check_all(project: Path, repair: bool, head: tuple[int, str] | None, as_json: bool) -> None:
    from labeler import Project
    from labeler import check as checks

    with Project.open(project) as p, progress(f"Checking {project}") as bar:
        if repair:
            repaired, found = checks.repair(p.folder, p.store, bar)
        else:
            repaired, found = [], checks.check(p.folder, p.store, bar)
        wrong, leftovers = ([f.text for f in found if f.wrong is is_wrong] for is_wrong in (True, False))
        if head is not None and p.store.link(head[0]) != head[1]:
            wrong.append(f"The record does not go on from event {head[0]} as it was noted: it was cut or changed.")
        newest = p.store.head()
    if as_json:
        told = None if newest is None else {"event_id": newest[0], "link": newest[1]}
        print_json({"ok": not wrong, "wrong": wrong, "leftovers": leftovers, "repaired": repaired, "head": told})
    else:
        for line in [f"mended: {line}" for line in repaired] + wrong + [f"harmless: {line}" for line in leftovers]:
            tell(line)
        if not wrong:
            tell(f"{project}: all is well")
            if newest is not None:
                tell(f"Its newest event: --head {newest[0]}:{newest[1]} tells later whether it was cut since.")
    if wrong:
        raise ValueError(f"{project}: {count(len(wrong), 'thing')} wrong, listed above.")
