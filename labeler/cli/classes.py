"""`labeler classes`: list the classes of a project, and change them at any time; every label stays as it was given."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from labeler.cli.base import AsJson, ProjectFolder, app, count, print_json, usable
from labeler.terminal import tell

if TYPE_CHECKING:
    from labeler import Project
    from storage import Store


class ListedByDefault(TyperGroup):
    """`labeler classes PROJECT` is `labeler classes list PROJECT`; the project may stand before the command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        first = next((word for word in args if not word.startswith("-")), None)
        if first is not None and first not in self.commands:
            swapped = len(args) > 1 and args[0] == first and args[1] in self.commands
            args = [args[1], first, *args[2:]] if swapped else ["list", *args]
        return super().parse_args(ctx, args)


classes = typer.Typer(
    cls=ListedByDefault,
    rich_markup_mode=None,
    epilog="Example: labeler classes flowers, or labeler classes merge flowers dogrose --into rose",
    help="List a project's classes, or change them: labels stay as they were given, and the model goes on.",
)
app.add_typer(classes, name="classes")

ClassName = Annotated[str, typer.Argument(metavar="CLASS", help="Name of a class.")]
ClassNames = Annotated[list[str], typer.Argument(metavar="CLASS...", help="Names of classes.")]
Annotator = Annotated[str, typer.Option(metavar="NAME", help="Who decided it, for the record.")]


@classes.command("list", epilog="Example: labeler classes flowers --json")
def list_(project: ProjectFolder, as_json: AsJson = False) -> None:
    """List the classes with their keys and labels. It may be left out: labeler classes PROJECT."""
    from labeler import Project
    from labeler.classes import listed

    with Project.open(project) as p:
        found = listed(p.store)
    print_json({"classes": found}) if as_json else print_classes(found)


def print_classes(found: list[dict[str, Any]]) -> None:
    from storage.classes import short

    for one in found:
        about = f"key {one['key']}" if one["key"] else "no key"
        if one["status"] != "active":
            about = f"merged into {short(one['merged_into'])}" if one["status"] == "merged" else "archived"
        gold = f", gold {one['gold']:,}" if one["gold"] else ""
        guideline = ", guideline" if one["guideline"] or one["examples"] else ""
        tell(f"  {one['labels']:>7,}  {short(one['name'])}  ({about}, {one['colour']}{gold}{guideline})")


@classes.command(epilog="Example: labeler classes add flowers daisy 'ox-eye daisy'")
def add(
    project: ProjectFolder,
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Names of the new classes.")],
    annotator: Annotator = "me",
    as_json: AsJson = False,
) -> None:
    """Add classes behind those there are."""
    from storage.classes import clean_class_names

    usable(lambda: clean_class_names(names))
    with changing(project, as_json) as (p, say):
        new = p.classes.add(names, annotator)
        say(f"Added {count(len(new), 'class', 'classes')}: {worded(p, [one.id for one in new])}.")


@classes.command(epilog="Example: labeler classes rename flowers rose 'dog rose'")
def rename(
    project: ProjectFolder,
    class_: ClassName,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its new name.")],
    annotator: Annotator = "me",
    as_json: AsJson = False,
) -> None:
    """Give a class another name."""
    from storage.classes import clean_class_name, shown

    usable(lambda: clean_class_name(name))
    with changing(project, as_json) as (p, say):
        p.classes.rename(class_, name, annotator)
        say(f"{shown(class_)} is named {shown(name)} now.")


@classes.command(epilog="Example: labeler classes recolour flowers rose '#cc3366'")
def recolour(
    project: ProjectFolder,
    class_: ClassName,
    colour: Annotated[str, typer.Argument(metavar="COLOUR", help="As #rrggbb.")],
    annotator: Annotator = "me",
    as_json: AsJson = False,
) -> None:
    """Give a class another colour."""
    from storage.classes import shown
    from storage.surgery import clean_colour

    usable(lambda: clean_colour(colour))
    with changing(project, as_json) as (p, say):
        p.classes.recolour(class_, colour, annotator)
        say(f"{shown(class_)} has the colour {colour.lower()} now.")


@classes.command(epilog="Example: labeler classes key flowers rose r")
def key(
    project: ProjectFolder,
    class_: ClassName,
    key: Annotated[str, typer.Argument(metavar="KEY", help="One character, or '' for none.")],
    annotator: Annotator = "me",
    as_json: AsJson = False,
) -> None:
    """Give a class another key. The class that has it gets the other's in exchange."""
    from storage.surgery import clean_key

    usable(lambda: clean_key(key))
    with changing(project, as_json) as (p, say):
        p.classes.key(class_, key, annotator)
        say(f"Keys now: {worded(p)}.")


@classes.command(epilog="Example: labeler classes reorder flowers tulip rose --keys")
def reorder(
    project: ProjectFolder,
    names: ClassNames,
    keys: Annotated[bool, typer.Option("--keys", help="Deal the keys anew, in the new order.")] = False,
    annotator: Annotator = "me",
    as_json: AsJson = False,
) -> None:
    """Put these classes in front, in this order. Each keeps its key, unless --keys deals them anew."""
    with changing(project, as_json) as (p, say):
        p.classes.reorder(names, keys, annotator)
        say(f"In order: {worded(p)}.")


@classes.command(epilog="Example: labeler classes archive flowers weed")
def archive(project: ProjectFolder, names: ClassNames, annotator: Annotator = "me", as_json: AsJson = False) -> None:
    """Take classes out of use. Their labels are set aside, not lost, and their images are not asked again."""
    with changing(project, as_json) as (p, say):
        p.classes.archive(names, annotator)
        n = p.store.counts()["archived"]
        say(f"Archived {listed_names(names)}; {count(n, 'label')} set aside in all. restore brings them back.")


@classes.command(epilog="Example: labeler classes restore flowers weed")
def restore(project: ProjectFolder, names: ClassNames, annotator: Annotator = "me", as_json: AsJson = False) -> None:
    """Take archived classes into use again, with all their labels."""
    with changing(project, as_json) as (p, say):
        p.classes.restore(names, annotator)
        say(f"In use again: {worded(p, p.classes.ids(names))}.")


@classes.command(epilog="Example: labeler classes merge flowers dogrose 'wild rose' --into rose")
def merge(
    project: ProjectFolder,
    names: ClassNames,
    into: Annotated[str, typer.Option(metavar="CLASS", help="The class that they count as from now on.")],
    annotator: Annotator = "me",
    as_json: AsJson = False,
) -> None:
    """Count the labels of classes, given and to come, as those of another one. unmerge takes it back."""
    from storage.classes import shown

    with changing(project, as_json) as (p, say):
        p.classes.merge(names, into, annotator)
        n = p.store.counts()["per_class"][p.classes.id(into)]
        say(f"{listed_names(names)} merged into {shown(into)}, which has {count(n, 'label')} now.")


@classes.command(epilog="Example: labeler classes unmerge flowers dogrose")
def unmerge(project: ProjectFolder, names: ClassNames, annotator: Annotator = "me", as_json: AsJson = False) -> None:
    """Put merged classes on their own again: every label is again what it was given as."""
    with changing(project, as_json) as (p, say):
        p.classes.unmerge(names, annotator)
        say(f"On their own again: {worded(p, p.classes.ids(names))}.")


@classes.command(epilog="Example: labeler classes split flowers rose 'wild rose' --samples 12,40,41")
def split(
    project: ProjectFolder,
    class_: ClassName,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the new class.")],
    samples: Annotated[str | None, typer.Option(metavar="ID,ID", help="Ids of the samples that go there.")] = None,
    list_file: Annotated[
        Path | None,
        typer.Option(
            "--list", metavar="FILE", readable=False, help="Or a file with an id or a name of an image a line."
        ),
    ] = None,
    annotator: Annotated[str, typer.Option(metavar="NAME", help="Whose labels they are.")] = "me",
    as_json: AsJson = False,
) -> None:
    """Move chosen samples of a class to a new one: a label each, which can be undone."""
    from storage.classes import clean_class_name, shown

    usable(lambda: clean_class_name(name))
    if (samples is None) == (list_file is None):
        raise typer.BadParameter("say which samples go to the new class: either --samples ID,ID or --list FILE")
    chosen = ids_of(samples) if samples is not None else lines_of(list_file)
    with changing(project, as_json) as (p, say):
        new, group_id = p.classes.split(class_, name, chosen, annotator)
        n = p.store.counts()["per_class"][new.id]
        key = f"key {new.key}" if new.key else "no key"
        gold = p.store.gold_counts().get(p.classes.id(class_), 0)
        stay = f" Its gold images stay {shown(class_)}: {gold:,}." if gold else ""
        words = f"{shown(name)} ({key}) has {count(n, 'label')} that were {shown(class_)}.{stay}"
        say(words, group_id=group_id, moved=n, gold_left=gold)


@classes.command(epilog="Example: labeler classes guideline flowers rose 'Five petals or more.' --examples 12,40")
def guideline(
    project: ProjectFolder,
    class_: ClassName,
    text: Annotated[str | None, typer.Argument(metavar="TEXT", help="What the class means; '' for nothing.")] = None,
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", readable=False, help="Or a file with the text, in UTF-8.")
    ] = None,
    examples: Annotated[
        str | None, typer.Option(metavar="ID,ID", help="Samples labeled so that show it, 8 at most; '' for none.")
    ] = None,
    annotator: Annotator = "me",
    as_json: AsJson = False,
) -> None:
    """Show what a class means, or say it anew: a text and example images, which stand beside the image on the page."""
    from labeler import Project
    from storage.guidelines import clean_text

    if text is not None and file is not None:
        raise typer.BadParameter("give the text itself or --file FILE, not both")
    text = file.read_text(encoding="utf-8") if file is not None else text
    chosen = None if examples is None else ids_of(examples) if examples else []
    usable(lambda: clean_text(text or ""))
    with Project.open(project) as p:
        if (text, chosen) != (None, None):
            p.classes.set_guideline(class_, text, chosen, annotator)
        found = p.classes.guideline(class_)
        names = {sample.id: sample.name for sample in p.store.samples(ids=found.examples)}
    if as_json:
        return print_json({"class": class_, "text": found.text, "examples": found.examples, "shown": found.shown})
    none = f"No guideline says what '{class_}' is. Give one: labeler classes guideline PROJECT CLASS TEXT"
    for line in found.text.splitlines() or [none]:
        tell(line.expandtabs())
    for sample_id in found.examples:
        aside = "" if sample_id in found.shown else "  (not labeled so now: not shown)"
        tell(f"  example {sample_id}  {names[sample_id]}{aside}")


def ids_of(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no list of sample ids such as 12,40,41.") from None


def lines_of(file: Path | None) -> list[int | str]:
    """Ids where a line is a number, else names; empty lines are left out."""
    assert file is not None
    lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    return [int(line) if line.isdecimal() else line for line in lines if line]


@contextmanager
def changing(folder: Path, as_json: bool) -> Iterator[tuple["Project", Callable[..., None]]]:
    """The project, and how to say what was done: in words, or as JSON with all classes as they are now."""
    from labeler import Project
    from labeler.classes import listed

    with Project.open(folder) as p:

        def say(text: str, **more: Any) -> None:
            print_json({**more, "classes": listed(p.store)}) if as_json else tell(text)

        before = told_alike(p.store)
        yield p, say
        if not as_json and (new := told_alike(p.store) - before):
            tell(" ".join(sorted(new)))


def told_alike(store: "Store") -> set[str]:
    """A sentence of each two classes in use whose names differ by capital letters alone."""
    from storage.classes import alike, shown

    pairs = alike(one.name for one in store.classes())
    return {f"Note that {shown(one)} and {shown(other)} differ by capital letters alone." for one, other in pairs}


def worded(p: "Project", ids: list[int] | None = None) -> str:
    """Classes in use with their keys."""
    from storage.classes import short

    found = [one for one in p.store.classes() if ids is None or one.id in ids]
    return ", ".join(f"{short(one.name)} ({one.key or 'no key'})" for one in found)


def listed_names(names: list[str]) -> str:
    from storage.classes import shown

    return ", ".join(shown(name) for name in names)
