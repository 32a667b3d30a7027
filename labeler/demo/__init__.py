"""The embedded data sets: 7,000 images of Fashion-MNIST, and scikit-learn's 1,797 digits."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

FASHION_POOL = Path(__file__).with_name("fashion-pool.npz")
FASHION_GOLD = Path(__file__).with_name("fashion-gold.npz")
FASHION_CLASSES = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
]
CLASSES = {"fashion": FASHION_CLASSES, "digits": [str(digit) for digit in range(10)]}
DIGITS_GOLD = 500
DIGITS_RNG_SEED = 0


def prepare(folder: Path, dataset: str, on_progress: Callable[[int, int], None] | None = None) -> None:
    """Make the demo project in `folder`; finish or resume the one that is there already."""
    from labeler.project import Project, is_project

    if not is_project(folder):
        Project.create(folder, CLASSES[dataset]).close()
    with Project.open(folder) as project:
        made_of = project.store.setting("demo")
        if made_of == dataset:
            return
        if made_of is not None or [c.name for c in project.store.classes(archived=True)] != CLASSES[dataset]:
            raise ValueError(f"{folder} holds another project than the {dataset} demo. Choose a new folder with --dir.")
        with tempfile.TemporaryDirectory() as scratch:
            pool, gold = (FASHION_POOL, FASHION_GOLD) if dataset == "fashion" else digits(Path(scratch))
            project.import_(gold, gold=True)
            project.import_(pool, on_progress=on_progress)
        project.store.set_setting("demo", dataset)  # last: a start that was cut short imports the rest next time


def digits(folder: Path) -> tuple[Path, Path]:
    """scikit-learn's 8x8 digits as two .npz files: 1,297 images without labels, 500 gold ones with theirs."""
    from sklearn.datasets import load_digits

    data = load_digits()
    images = np.round(data.images * (255 / 16)).astype(np.uint8)  # they come as 0..16
    order = np.random.default_rng(DIGITS_RNG_SEED).permutation(len(images))
    gold, pool = np.sort(order[:DIGITS_GOLD]), np.sort(order[DIGITS_GOLD:])
    np.savez(folder / "digits-pool.npz", x=images[pool])
    np.savez(folder / "digits-gold.npz", x=images[gold], y=data.target[gold].astype(str))
    return folder / "digits-pool.npz", folder / "digits-gold.npz"
