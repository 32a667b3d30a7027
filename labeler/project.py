"""One project is one folder: labels.db, images/, models/, cache/. It can be zipped, moved and opened elsewhere."""

import os
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from labeler.classes import Classes
from labeler.loop import Loop
from labeler.narrowing import Narrowings
from labeler.orders import Orders
from labeler.published import Published, newest
from storage import Overlap, Store
from storage.dialects import is_on_server

if TYPE_CHECKING:
    from labeler.imports import ImportReport
    from labeler.working import WorkingImages

DATABASE = "labels.db"
ELSEWHERE = "labels.url"  # instead of it: one line, where the database is; never with a password
PASSWORD = re.compile(r"://[^/@]*:[^/@]+@|[?&](ssl)?password=")
Progress = Callable[[int, int], None]


class Project:
    """What a person works on. Threads may share one."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.folder = folder
        self.store = store
        self.classes = Classes(store)
        self.orders = Orders(store)
        self.narrowings = Narrowings(store, self.orders)
        self._published: Published | None = None

    @classmethod
    def create(cls, folder: Path | str, classes: Sequence[str], database: str | None = None) -> Self:
        """A new project in a new or empty folder. Imports may add classes later.

        `database`: the URL of a PostgreSQL database, in which the record gets a schema of its own.
        """
        if database is not None:
            must_be_server(database)
        folder = Path(folder).expanduser().resolve()
        if (folder / DATABASE).exists() or (folder / ELSEWHERE).exists():
            raise ValueError(f"{folder} holds a project already. Open it, or choose a new folder.")
        if folder.exists() and (
            not folder.is_dir() or any(not entry.name.startswith(".") for entry in folder.iterdir())
        ):
            raise ValueError(f"{folder} is not an empty folder. Choose a new or an empty one.")
        with _folder_for(folder):
            place = folder / DATABASE if database is None else database
            store = Store.create(place, folder.name, classes, settings={"rng_seed": secrets.randbits(32)})
        if database is not None:
            remember(folder, store.place)
        return cls(folder, store)

    @classmethod
    def open(cls, folder: Path | str) -> Self:
        folder = Path(folder).expanduser().resolve()
        if not is_project(folder):
            raise FileNotFoundError(
                f"{folder} is not a Labeler project: it has no {DATABASE}. Make one: labeler new PROJECT --classes a,b"
            )
        return cls(folder, Store.open(place_of(folder)))

    @property
    def name(self) -> str:
        return self.store.name

    def close(self) -> None:
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def import_(
        self,
        source: Path | str,
        labels: bool = False,
        gold: bool = False,
        part: str | None = None,
        copy: bool = True,
        measure_share: float | None = None,
        max_megapixels: float = 50,
        on_progress: Progress | None = None,
    ) -> "ImportReport":
        """Add images. `labels`: those of the source become label events; `gold`: they test, and are never trained on.

        `measure_share` of the images, at most 500 in all, are drawn now to measure accuracy with: 0.1 where the project
        has no gold images, otherwise none. Where it is given, such a share of the questions measures from then on. What
        cannot be read is left out and listed with its reason.
        """
        from labeler.imports import Importer

        importer = Importer(self.folder, self.store, labels, gold, copy, max_megapixels)
        return importer.run(Path(source).expanduser(), part, measure_share, on_progress or (lambda done, total: None))

    def images(self, on_progress: Progress | None = None) -> "WorkingImages":
        """Every image at working size, memory-mapped."""
        from labeler.working import working_images

        return working_images(self.folder, self.store, on_progress)

    def loop(self, annotator: str = "me", client: str | None = None, lookahead: int = 16) -> Loop:
        """A sitting of one annotator at one client (a browser tab, a script). Two clients never get the same sample,
        two people only one that is asked of several people."""
        return Loop(self, annotator, client or f"loop-{secrets.token_hex(6)}", lookahead)

    def set_overlap(
        self, share: float, times: int = 2, annotator: str | None = None, on_progress: Progress | None = None
    ) -> Overlap:
        """Ask a share of the images, drawn at random, of so many people; 0 ends it (docs/agreement.md)."""
        return self.store.set_overlap(share, times, annotator, on_progress)

    def published(self) -> Published | None:
        """The newest version of the model; None before the first."""
        self._published = newest(self.folder, self.store, self._published)
        return self._published


@contextmanager
def _folder_for(folder: Path) -> Iterator[None]:
    """The folder, and those that it is in; what was made of them is gone again when the block fails."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with suppress(OSError):  # somebody put something into it
            for one in missing:
                one.rmdir()
        raise


def is_project(folder: Path) -> bool:
    """Whether the folder holds a record, or says where it is."""
    return (folder / DATABASE).is_file() or (folder / ELSEWHERE).is_file()


def place_of(folder: Path) -> Path | str:
    """Where the record of a project is: a file, or a URL. ValueError where it is in two places, or in none."""
    file, elsewhere = folder / DATABASE, folder / ELSEWHERE
    if not elsewhere.is_file():
        return file
    if file.is_file():
        raise ValueError(f"{folder} has both {DATABASE} and {ELSEWHERE}. Move away the one that is not its record.")
    url = elsewhere.read_text(encoding="utf-8").strip()
    if "://" not in url or len(url.split()) != 1:
        raise ValueError(f"{elsewhere} does not hold the URL of a database. Restore it from a backup.")
    if os.name == "posix" and elsewhere.stat().st_mode & 0o077 and PASSWORD.search(url):
        raise ValueError(f"{elsewhere} holds a password that others may read. Take it out: ~/.pgpass is for it.")
    return url


def must_be_server(database: str) -> None:
    """The URL itself is not shown: there may be a password in it."""
    if not is_on_server(database):
        raise ValueError("The database of a team is on PostgreSQL: postgresql+psycopg://USER@HOST/DATABASE.")


def remember(folder: Path, url: str) -> None:
    """All of the file or none of it, for nobody else to read."""
    draft = folder / f".{ELSEWHERE}.{os.getpid()}"
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(f"{url}\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(folder / ELSEWHERE)
