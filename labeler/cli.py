"""The commands: parse, build, call, print. Heavy imports stay inside, so that `labeler --help` is quick."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from labeler import Project
    from labeler.imports import ImportReport

SHOWN = 20  # files that an import or an export lists
HOW_CHOSEN = "How the next image is chosen: coverage, margin, least_confident, entropy or random."

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


class Dataset(StrEnum):
    fashion = "fashion"
    digits = "digits"


class Format(StrEnum):
    csv = "csv"
    jsonl = "jsonl"
    folder = "folder"


ProjectFolder = Annotated[Path, typer.Argument(metavar="PROJECT", help="The project's folder.", readable=False)]
Port = Annotated[int, typer.Option(help="Port of the page.", min=0, max=65535)]
NoBrowser = Annotated[bool, typer.Option("--no-browser", help="Do not open the page in a browser.")]
Flip = Annotated[bool, typer.Option("--flip", help="A mirrored image keeps its class: garments yes, letters no.")]
AsJson = Annotated[bool, typer.Option("--json", help="Report as JSON.")]


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


@app.command(epilog="Example: labeler new flowers --classes rose,tulip,daisy")
def new(
    project: ProjectFolder,
    classes: Annotated[str | None, typer.Option(metavar="A,B,C", help="Class names, separated by commas.")] = None,
    class_: Annotated[
        list[str] | None, typer.Option("--class", metavar="NAME", help="One class name, taken as it is; repeatable.")
    ] = None,
    flip: Flip = False,
) -> None:
    """Make an empty project with these classes."""
    from labeler import Project
    from storage.classes import clean_class_names

    names = [*(classes.split(",") if classes is not None else []), *(class_ or [])]
    if not names:
        raise typer.BadParameter("say which classes there are: --classes rose,tulip,daisy")
    try:
        clean_class_names(names)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    with Project.create(project, names) as p:
        p.store.set_setting("flip", flip)
        without = sum(not c.key for c in p.store.classes())
    print(f"{project}: new project with {count(len(names), 'class', 'classes')}. Next: labeler import {project} SOURCE")
    if without:
        print(f"{count(without, 'class has', 'classes have')} no key, as all are taken: click on the name on the page.")


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
            help="Share kept for measuring accuracy. [0.1 without gold images, otherwise 0; at most 500]",
        ),
    ] = None,
    max_megapixels: Annotated[float, typer.Option(min=0, help="Larger images are left out.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Add images to a project. Identical files are stored once; what cannot be read is left out and listed."""
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
                "rejected": rejected,
            }
        )
    else:
        print_import(report, part_was_asked_for=part is not None)
    if report.rejected and not report.added and not report.duplicates:
        raise ValueError(f"Nothing was imported from {source}: {report.rejected[0][0]}: {report.rejected[0][1]}")


def print_import(report: "ImportReport", part_was_asked_for: bool) -> None:
    added, duplicates = count(report.added, "image"), count(report.duplicates, "duplicate")
    print(f"Added {added} ({duplicates} left out) and {count(report.labels, 'label')}.")
    for other, n in {} if part_was_asked_for else report.left_parts.items():
        how = f"--part {other}" if other == "train" else f"--part {other} --gold"
        print(f"Took part {report.part}; left {count(n, 'image')} of part {other}: import them with {how}")
    if report.stay_in_pool:
        were = count(report.stay_in_pool, "image was", "images were")
        print(f"{were} in the project without --gold already: such images stay in the pool and do not test.")
    if report.rejected:
        print(f"Left out {count(len(report.rejected), 'file')} that cannot be used:")
    for name, reason in report.rejected[:SHOWN]:
        print(f"  {name}: {reason}")
    if len(report.rejected) > SHOWN:
        print(f"  and {len(report.rejected) - SHOWN:,} more; --json lists them all")


@app.command(epilog="Example: labeler serve flowers --port 7861")
def serve(
    project: ProjectFolder,
    host: Annotated[str, typer.Option(help="Address to listen on; loopback only.")] = "127.0.0.1",
    port: Port = 7860,
    no_browser: NoBrowser = False,
    acquisition: Annotated[str | None, typer.Option(help=HOW_CHOSEN)] = None,
    no_trainer: Annotated[bool, typer.Option("--no-trainer", help="The page alone; no model is trained.")] = False,
) -> None:
    """Open the page, and train the model beside it. Ctrl-C ends both."""
    known_acquisition(acquisition)
    run_server(
        project,
        host=host,
        port=port,
        open_browser=not no_browser,
        acquisition=acquisition,
        trainer=not no_trainer,
    )


@app.command(epilog="Example: labeler train flowers --until-settled")
def train(
    project: ProjectFolder,
    until_settled: Annotated[
        bool, typer.Option("--until-settled", help="End when nothing more is learned, instead of waiting for labels.")
    ] = False,
) -> None:
    """Train a project's model without the page."""
    from labeler.course import Lost
    from labeler.course import train as train_project
    from storage import AlreadyRunning

    try:
        with progress(f"Training {project}") as bar:
            train_project(project, until_settled, bar)
    except Lost as error:
        raise RuntimeError(f"Stopped: {error}. What was published is kept.") from error
    except RuntimeError as error:
        if isinstance(error.__cause__, AlreadyRunning):
            raise error.__cause__ from None  # says all there is to say
        raise


@app.command(epilog="Example: labeler status flowers --json")
def status(project: ProjectFolder, as_json: AsJson = False) -> None:
    """How far the labels and the model are."""
    from labeler import Project

    with Project.open(project) as p:
        report = status_of(p)
    if as_json:
        print_json(report)
    else:
        print_status(report)


def status_of(p: "Project") -> dict[str, Any]:
    counts, version = p.store.counts(), p.store.newest_version()
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
        **counts,
        "classes": [{"name": c.name, "key": c.key, "labels": per_class.get(c.id, 0)} for c in p.store.classes()],
        "annotators": p.store.annotators(),
        "model": model,
        "trainer": p.store.process("trainer"),
        "server": p.store.process("server"),
    }


def print_status(report: dict[str, Any]) -> None:
    from storage.classes import short

    images = count(report["samples"] - report["gold"], "image")
    print(f"{short(report['name'])}: {report['labeled']:,} of {images} labeled")
    print(f"  open {report['open']:,}, skipped {report['skipped']:,}, unsure {report['unsure']:,}, ", end="")
    print(f"flagged {report['flagged']:,}, gold {report['gold']:,}, kept for measuring {report['measure']:,}")
    for c in report["classes"]:
        print(f"  {c['labels']:>7,}  {short(c['name'])}  ({'key ' + c['key'] if c['key'] else 'no key'})")
    if report["model"] is None:
        print("  no model yet; labeler serve or labeler train makes one")
    else:
        print(f"  model version {report['model']['version']}, learned from {count(report['model']['labels'], 'label')}")
        for kind in ("gold", "measured"):
            if report["model"]["metrics"].get(f"{kind}_accuracy") is not None:
                metrics = report["model"]["metrics"]
                n = count(metrics[f"{kind}_n"], "image")
                print(f"  accuracy {metrics[f'{kind}_accuracy']:.3f} on {n} ({kind})")
    for role in ("server", "trainer"):
        process = report[role]
        running = process is not None and process["alive"]
        print(f"  {role}: {process.get('phase') or process.get('url') or 'running' if running else 'not running'}")


@app.command(epilog="Example: labeler export flowers flowers-labels --format folder")
def export(
    project: ProjectFolder,
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="File (csv, jsonl) or new folder to write.", readable=False)
    ],
    format: Annotated[
        Format, typer.Option(help="csv, jsonl, or folder: one subfolder a class, as ImageFolder reads it.")
    ] = Format.csv,
    as_json: AsJson = False,
) -> None:
    """Write the labels in a form that any training code reads."""
    from labeler import Project
    from storage.exporters import export as export_labels

    with Project.open(project) as p, progress(f"Writing {out}") as bar:
        tally = export_labels(p.store, p.folder, out, format.value, on_progress=bar)
    if as_json:
        print_json(tally)
    else:
        numbers = {name: n for name, n in tally.items() if isinstance(n, int)}
        print(f"{tally['out']}: " + ", ".join(f"{name} {n:,}" for name, n in numbers.items()))
    left_out = tally.get("left_out", [])
    print_some([f"{one['name']} ({one['file']}): {one['reason']}" for one in left_out], "labels.csv has them all")
    if left_out:
        images = count(len(left_out), "labeled image is", "labeled images are")
        raise ValueError(f"{images} not in {tally['out']}, for the reasons above. Everything else is.")


def print_some(lines: list[str], whole: str) -> None:
    """The first of them on stderr, and where the whole list is."""
    for line in lines[:SHOWN]:
        print(f"  {line}", file=sys.stderr)
    if len(lines) > SHOWN:
        print(f"  and {len(lines) - SHOWN:,} more; {whole}", file=sys.stderr)


@app.command(epilog="Example: labeler generate flowers daisies --class daisy -n 16")
def generate(
    project: ProjectFolder,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="New or empty folder for the images.", readable=False)],
    class_: Annotated[str, typer.Option("--class", metavar="NAME", help="The class to draw.")],
    n: Annotated[int, typer.Option("-n", help="How many images.", min=1)] = 64,
    rng_seed: Annotated[int, typer.Option(help="The same seed draws the same images.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Draw what the newest model believes a class looks like, as PNG files."""
    from labeler import Project
    from storage.classes import short, shown

    with Project.open(project) as p:
        names = [c.name for c in p.store.classes()]
        if class_ not in names:
            raise KeyError(f"No class {shown(class_)} in {project}; it has {', '.join(map(short, names))}.")
        published = p.published()
        if published is None:
            raise ValueError(f"{project} has no model yet. Train one with: labeler train {project} --until-settled")
    files = draw(published.folder / "model.safetensors", class_, n, rng_seed, out)
    if as_json:
        print_json({"version": published.version, "labels": published.labels, "files": [str(f) for f in files]})
    else:
        learned = f"version {published.version}, learned from {count(published.labels, 'label')}"
        print(f"{out}: {count(n, 'image')} of {short(class_)} by {learned}")


def draw(model_file: Path, class_: str, n: int, rng_seed: int, out: Path) -> list[Path]:
    from PIL import Image

    from model import load
    from storage.classes import short, shown

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} is not an empty folder. Choose a new one, or empty it first.")
    model = load(model_file)
    if class_ not in model.classes:
        known = ", ".join(map(short, model.classes))
        raise ValueError(f"The newest model does not know {shown(class_)} yet; it knows {known}.")
    out.mkdir(parents=True, exist_ok=True)
    files = [out / f"{i:05d}.png" for i in range(n)]
    for file, image in zip(files, model.generate(class_, n, rng_seed), strict=True):
        Image.fromarray(image).save(file)
    return files


@app.command(epilog="Example: labeler simulate fashion-mnist --budget 100 --rng-seeds 0,1,2 --out runs/coverage")
def simulate(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE", help="Labeled images with a test part: IDX, .npz or train/ and test/.", readable=False
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(metavar="DIR", readable=False, help="Folder for curve.csv, curve.png, report.md and models/."),
    ],
    budget: Annotated[int, typer.Option(help="Labels to give.", min=1)] = 100,
    acquisition: Annotated[str, typer.Option(help=HOW_CHOSEN)] = "coverage",
    rng_seeds: Annotated[str, typer.Option(metavar="0,1,2", help="One run for each.")] = "0",
    seconds_per_label: Annotated[
        float | None,
        typer.Option(min=0, help="Run in real time against a real server, with this pace."),
    ] = None,
    flip: Flip = False,
    as_json: AsJson = False,
) -> None:
    """Label by the true labels through the people's own loop, and report how the model learns."""
    known_acquisition(acquisition)
    seeds = integers(rng_seeds)
    from labeler.simulate import simulate as run  # after the words are understood: it takes seconds

    with progress(f"Simulating {source}") as bar:
        report = run(source, budget, acquisition, seeds, out, seconds_per_label, flip=flip, on_progress=bar)
    if as_json:
        print_json(report)
    else:
        print(f"{out}: curve.csv, curve.png, report.md and models/")


@app.command(epilog="Example: labeler check flowers")
def check(project: ProjectFolder, as_json: AsJson = False) -> None:
    """Test the database, the image files and the published models. Exit code 1 when something is wrong."""
    from labeler import Project
    from labeler.check import check as check_project

    with Project.open(project) as p, progress(f"Checking {project}") as bar:
        wrong = check_project(p.folder, p.store, bar)
    if as_json:
        print_json({"ok": not wrong, "wrong": wrong})
    else:
        print("\n".join(wrong) if wrong else f"{project}: all is well")
    if wrong:
        raise ValueError(f"{project}: {count(len(wrong), 'thing')} wrong, listed above.")


def run_server(folder: Path, **how: Any) -> None:
    from labeler.serve import serve as serve_project

    serve_project(folder, **how)
    raise KeyboardInterrupt  # what ended it; said in one place, however early it came


def known_acquisition(name: str | None) -> None:
    from model import ACQUISITIONS

    if name is not None and name not in ACQUISITIONS:
        raise typer.BadParameter(f"no acquisition {name!r}; there are {', '.join(ACQUISITIONS)}.")


def integers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no list of whole numbers such as 0,1,2.") from None


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
        task = bar.add_task(text, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
