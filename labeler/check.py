"""`labeler check`: is everything there that the record speaks of, and is it what it was?"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from labeler.published import ARRAYS
from storage import Sample, Store, Version


def check(folder: Path, store: Store, on_progress: Callable[[int, int], None] | None = None) -> list[str]:
    """What is wrong, one line each; empty when all is well. Reads every image once."""
    files = check_files(folder, store.samples(), on_progress)
    return [*store.check(), *files, *check_versions(folder, store.versions())]


def check_files(folder: Path, samples: list[Sample], on_progress: Callable[[int, int], None] | None) -> list[str]:
    """Image files that are gone, cannot be read, or are no longer what was imported."""
    samples_of = defaultdict(list)
    for sample in samples:
        samples_of[sample.file].append(sample)
    wrong, done = [], 0
    for file, inside in samples_of.items():
        fault = fault_of_file(folder / file, inside)
        if fault:
            wrong.append(f"{file} ({inside[0].name if len(inside) == 1 else f'{len(inside)} images'}): {fault}")
        done += len(inside)
        if on_progress:
            on_progress(done, len(samples))
    return wrong


def fault_of_file(path: Path, samples: list[Sample]) -> str | None:
    """A pack of many images is named by its hash; an image file's hash is in its row."""
    expected = samples[0].sha256 if samples[0].row is None else path.stem
    try:
        with path.open("rb") as f:
            found = hashlib.file_digest(f, "sha256").hexdigest()
    except FileNotFoundError:
        return "the file is gone"
    except OSError as error:
        return f"the file cannot be read ({error.strerror})"
    return None if found == expected else "the file is not what was imported"


def check_versions(folder: Path, versions: list[Version]) -> list[str]:
    """Published models whose files are gone or damaged. Only the newest must have all its arrays."""
    wrong = []
    kept = [v for v in versions if not v.pruned]
    for version in kept:
        home = folder / version.folder
        arrays = (home / f"{name}.npy" for name in ARRAYS)
        faults = faults_of_arrays(arrays if version is kept[-1] else (file for file in arrays if file.exists()))
        wrong += [f"model version {version.version}: {fault}" for fault in [*fault_of_model(home), *faults]]
    return wrong


def fault_of_model(home: Path) -> list[str]:
    try:
        with safe_open(home / "model.safetensors", framework="numpy") as model:
            return [] if model.keys() else ["model.safetensors is empty"]
    except FileNotFoundError:
        return ["model.safetensors is gone"]
    except (OSError, SafetensorError) as error:
        return [f"model.safetensors cannot be read ({error})"]


def faults_of_arrays(files: Iterable[Path]) -> list[str]:
    faults = []
    for file in files:
        try:
            np.load(file, mmap_mode="r", allow_pickle=False)
        except FileNotFoundError:
            faults.append(f"{file.name} is gone")
        except (OSError, ValueError) as error:
            faults.append(f"{file.name} cannot be read ({error})")
    return faults
