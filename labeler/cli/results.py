"""Commands about what a model has learned: draw from it, measure how it learns."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from labeler.cli.base import (
    HOW_CHOSEN,
    AsJson,
    Flip,
    ProjectFolder,
    app,
    count,
    finite,
    known_acquisition,
    label_counts,
    print_json,
    progress,
    seeds_of,
    typed,
)
from labeler.terminal import tell

if TYPE_CHECKING:
    from storage.synthetic import Origin


@app.command(epilog="Example: labeler generate flowers daisies --class daisy -n 16, or --between daisy rose -n 9")
def generate(
    project: ProjectFolder,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="New or empty folder for the images.", readable=False)],
    class_: Annotated[str | None, typer.Option("--class", metavar="NAME", help="The class to draw.")] = None,
    between: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="NAME NAME", help="Or two classes: images on the way from one to the other."),
    ] = None,
    n: Annotated[int, typer.Option("-n", help="How many images.", min=1)] = 64,
    temperature: Annotated[
        float,
        typer.Option(
            min=0,
            max=2,
            callback=finite,
            help="Spread: 1 as varied in z as the class, 0.8 purer and more alike, 0 its typical images.",
        ),
    ] = 1.0,
    rng_seed: Annotated[int, typer.Option(help="The same seed draws the same images.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Draw what the newest model believes a class looks like, as PNG files; vectors are in vectors.npy beside them.

    Each file and manifest.json say that a model drew them: an import refuses them.
    """
    from labeler import Project
    from storage.classes import composed, short, shown
    from storage.synthetic import Origin

    if (class_ is None) == (between is None):
        raise typer.BadParameter("say what to draw: either --class NAME or --between NAME NAME")
    drawn = [class_] if class_ is not None else list(between or ())
    with Project.open(project) as p:
        names = {composed(c.name): c.name for c in p.store.classes()}
        unknown = next((name for name in drawn if composed(name) not in names), None)
        if unknown is not None:
            raise KeyError(f"No class {shown(unknown)} in {project}; it has {', '.join(map(short, names.values()))}.")
        drawn = [names[composed(name)] for name in drawn]
        published = p.published()
        if published is None:
            raise ValueError(
                f"{project} has no model yet. Train one with: labeler train {typed(project)} --until-settled"
            )
        origin = Origin(p.name, published.version, published.labels, temperature, rng_seed)
        per_class = p.store.counts()["per_class"]
        unlabeled = [c.name for c in p.store.classes() if c.name in drawn and not per_class.get(c.id)]
    files = draw(published.folder / "model.safetensors", drawn, n, origin, out)
    if as_json:
        print_json({"version": published.version, "labels": published.labels, "files": [str(f) for f in files]})
    else:
        learned = f"version {published.version}, learned from {count(published.labels, 'label')}"
        what = " to ".join(map(short, drawn))
        tell(f"{out}: {count(n, 'image')} {'of' if between is None else 'from'} {what} by {learned}")
        for name in unlabeled:
            tell(f"{short(name)} has no label yet: what is drawn of it is a guess.")


def draw(model_file: Path, classes: list[str], n: int, origin: "Origin", out: Path) -> list[Path]:
    """Write n images of one class, or on the way from one to the other of two, and manifest.json."""
    import numpy as np

    from labeler.working import as_pictures
    from model import load
    from storage.classes import short, shown
    from storage.synthetic import MANIFEST, as_marked_png, manifest

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} is not an empty folder. Choose a new one, or empty it first.")
    model = load(model_file)
    for name in classes:
        if name not in model.classes:
            known = ", ".join(map(short, model.classes))
            raise ValueError(f"The newest model does not know {shown(name)} yet; it knows {known}.")
    out.mkdir(parents=True, exist_ok=True)
    files = [out / f"{i:05d}.png" for i in range(n)]
    how = model.generate if len(classes) == 1 else model.interpolate
    made = how(*classes, n=n, rng_seed=origin.rng_seed, temperature=origin.temperature)
    what = {"class": classes[0]} if len(classes) == 1 else {"between": classes}
    (out / MANIFEST).write_text(manifest(origin, **what, images=n), encoding="utf-8")
    if made.ndim == 2:
        np.save(out / "vectors.npy", made)
    for i, image in enumerate(as_pictures(made, made)):
        files[i].write_bytes(as_marked_png(image, origin, **what, number=i))
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
        typer.Option(min=0, callback=finite, help="Run in real time against a real server, with this pace."),
    ] = None,
    flip: Flip = None,
    as_json: AsJson = False,
) -> None:
    """Label by the true labels through the people's own loop, and report how the model learns."""
    known_acquisition(acquisition)
    seeds = seeds_of(rng_seeds)
    from labeler.simulate import simulate as run  # after the words are understood: it takes seconds

    with progress(f"Simulating {source}") as bar:
        report = run(source, budget, acquisition, seeds, out, seconds_per_label, flip=flip, on_progress=bar)
    if as_json:
        print_json(report)
    else:
        tell(f"{out}: curve.csv, curve.png, report.md and models/")


@app.command(epilog="Example: labeler regimes fashion-mnist --labels 0,100,all --out runs/regimes")
def regimes(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE", help="Labeled images with a test part: IDX, .npz or train/ and test/.", readable=False
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            readable=False,
            help="Folder for regimes.csv, regimes.png, regimes.md, as_class.png and models/. Runs it holds are kept.",
        ),
    ],
    labels: Annotated[
        str, typer.Option(metavar="0,10,all", help="How many labels, drawn at random.")
    ] = "0,10,100,1000,all",
    rng_seeds: Annotated[str, typer.Option(metavar="0,1,2", help="All runs once for each.")] = "0",
    steps: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="Gradient steps of every run of `paper` and `recipe`, warm-up included; `supervised` takes as many as "
            "follow the warm-up. [by the number of images]",
        ),
    ] = None,
    flip: Flip = None,
    as_json: AsJson = False,
) -> None:
    """Measure what labels and unlabeled images are worth, from no label to every label, in three ways.

    The same trunk on the labels alone, the objective of the paper (arXiv 1908.03015), and ours. A run that was cut
    goes on where it stopped.
    """
    seeds, counts = seeds_of(rng_seeds), label_counts(labels)
    from labeler.regimes import regimes as run  # after the words are understood: it takes seconds

    with progress(f"Measuring {source}") as bar:
        report = run(source, out, counts, seeds, steps, flip, on_progress=bar)
    if as_json:
        print_json(report)
        return
    if report["kept"]:
        tell(f"{count(report['kept'], 'run')} of before kept.")
    for n in report["too_many"]:
        tell(f"Left out {count(n, 'label')}: {source} has {count(report['training_images'], 'training image')}.")
    sheet = ", as_class.png" if (out / "as_class.png").exists() else ""  # no class can be asked for without labels
    tell(f"{out}: regimes.csv, regimes.png, regimes.md{sheet} and models/")
