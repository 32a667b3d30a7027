"""Commands on several people: how many of them are asked the same image, and how far they agree."""

from typing import Annotated, Any

import typer

from labeler.cli.base import AsJson, AtMoment, ProjectFolder, app, count, finite, print_json, progress, typed
from labeler.terminal import tell

SHOWN = 10  # confusions in words


@app.command(epilog="Example: labeler overlap flowers --share 0.2 --times 3, later --off; without options what holds")
def overlap(
    project: ProjectFolder,
    share: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, callback=finite, help="Ask this share of the images, drawn at random, of several people."
        ),
    ] = None,
    times: Annotated[int | None, typer.Option(min=2, max=100, help="How many people. [2]")] = None,
    off: Annotated[
        bool, typer.Option("--off", help="Ask each image once from now on; what was answered stays.")
    ] = False,
    annotator: Annotated[str, typer.Option(metavar="NAME", help="Who decides that, for the record.")] = "me",
    as_json: AsJson = False,
) -> None:
    """Ask a share of the images of several people, so that it can be told how far they agree; or what holds now."""
    if off and (share is not None or times is not None):
        raise typer.BadParameter("--off goes without --share and --times")
    if share == 0:
        raise typer.BadParameter("a share of 0 is --off")
    from labeler import Project

    with Project.open(project) as p:
        held = p.store.overlap()
        if share is None and times is not None and not held.share:
            raise ValueError("Nothing is asked of several people yet. Say which share of the images: --share 0.2")
        with progress("Settling what was answered") as bar:
            if off:
                p.set_overlap(0, 1, annotator, bar)
            elif share is not None or times is not None:
                p.set_overlap(held.share if share is None else share, times or max(2, held.times), annotator, bar)
        now, counts = p.store.overlap(), p.store.overlap_counts()
    report: dict[str, Any] = {"share": now.share, "times": now.times, **counts}
    if as_json:
        return print_json(report)
    if not now.share:
        tell("Each image is asked once.")
    else:
        images = count(counts["drawn"], "image is", "images are")
        tell(f"{images} asked of {now.times} people: a share of {now.share:g}, drawn at random.")
    if now.share or any(counts.values()):
        settled = f"settled by most or by a reviewer {counts['agreed']:,}, disputed {counts['disputed']:,}"
        tell(f"  {settled}, answered by some {counts['waiting']:,}")
    if counts["waiting"]:
        tell("  What only some have answered has no label in an export yet; export --annotations has every answer.")


@app.command(epilog="Example: labeler agreement flowers --json, or --at 2026-11-24")
def agreement(project: ProjectFolder, at: AtMoment = None, as_json: AsJson = False) -> None:
    """How far people agree who were asked the same images, with 95% intervals; who and which classes do not."""
    from labeler import Project
    from labeler.agreement import agreement as agreed
    from labeler.moments import find

    with Project.open(project) as p:
        report = agreed(p.store, None if at is None else find(p.store, at).event_id)
        asked = p.store.overlap().share > 0
    if as_json:
        return print_json(report)
    if not report["images"]:
        how = (
            f"Ask for it with: labeler overlap {typed(project)} --share 0.2"
            if not asked
            else "They come as more people label."
        )
        tell(f"No image has labels of two people yet. {how}")
        return
    tell(f"{count(report['images'], 'image')} with labels of two or more people")
    for name, title in (
        ("percent", "the same label"),
        ("alpha", "Krippendorff's alpha"),
        ("fleiss_kappa", "Fleiss' kappa"),
    ):
        tell(f"  {title:22}{figure_in_words(report[name], 'images')}")
    for pair in report["pairs"]:
        tell(f"  {' and '.join(pair['people'])}: same {figure_in_words(pair['percent'], 'images')}")
        tell(f"    Cohen's kappa {figure_in_words(pair['cohen_kappa'], 'images')}")
    for person in report["people"]:
        if person["outlier"]:
            tell(f"  {person['name']} agrees less with the others than these with each other.")
    for confusion in report["confusions"][:SHOWN]:
        first, second = confusion["classes"]
        who = ", ".join(f"{one} {first} and {two} {second} {n}" for one, two, n in told(confusion))
        tell(f"  {first} or {second}: {count(confusion['n'], 'time')} ({who})")


def figure_in_words(figure: dict[str, Any], what: str) -> str:
    if figure["value"] is None:
        return f"cannot be told from {figure['n']:,} {what}"
    low, high = figure["interval"]
    return f"{figure['value']:.3f} (95% interval {low:.3f} to {high:.3f}, n={figure['n']:,})"


def told(confusion: dict[str, Any]) -> list[tuple[str, str, int]]:
    """Who said the one and who the other class, how often: the three most frequent."""
    return [(*one["said"], one["n"]) for one in confusion["who"][:3]]
