"""Draw the embedded subset of Fashion-MNIST from its four IDX files: python -m labeler.demo.make_data FOLDER

FOLDER holds train-images-idx3-ubyte.gz and the other three. Debian's package dataset-fashion-mnist puts them in
/usr/share/datasets/fashion-mnist. The draw is plain, not balanced: 6,000 of the 60,000 training images are the pool,
without their labels; 1,000 of the 10,000 test images are gold, with theirs. The same files in, the same files out.
"""

import sys
import zipfile
from pathlib import Path

import numpy as np

from labeler.demo import FASHION_CLASSES, FASHION_GOLD, FASHION_POOL
from storage.importers import open_source

RNG_SEED = 20260101


def make(source: Path, pool_file: Path = FASHION_POOL, gold_file: Path = FASHION_GOLD) -> None:
    rng = np.random.default_rng(RNG_SEED)
    files = open_source(source)
    train, (test, test_labels) = np.asarray(files.load_arrays("train")[0]), files.load_arrays("test")
    pool = np.sort(rng.choice(len(train), 6_000, replace=False))
    gold = np.sort(rng.choice(len(test), 1_000, replace=False))
    write(pool_file, x=train[pool])
    write(gold_file, x=np.asarray(test)[gold], y=np.array(FASHION_CLASSES)[np.asarray(test_labels, int)[gold]])


def write(path: Path, **arrays: np.ndarray) -> None:
    """An .npz with best compression and no dates in it, so that a second run gives the same bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as out:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy")
            entry.compress_type = zipfile.ZIP_DEFLATED
            with out.open(entry, "w") as f:
                np.lib.format.write_array(f, array, allow_pickle=False)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
