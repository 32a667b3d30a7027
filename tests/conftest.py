"""Fixtures that more than one file of tests uses: small images, a small project, the command line."""

import importlib.util
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

# One thread each: tests share the machine with the servers and trainers they start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("LABELER_GIVE_WAY", "0")  # and wait for what these do

import numpy as np
import pytest
from PIL import Image

from labeler import Project
from labeler.__main__ import run
from model import evaluation

if TYPE_CHECKING:
    from pages import Visitors
    from playwright.sync_api import Browser, Playwright
    from postgres import Server

    from model.evaluation import Judge
    from storage import Store


evaluation.MOST_EPOCHS = 40  # in tests a judge of few images need not be the best

DEPTH = int(os.environ.get("DEPTH", "1"))  # times as many random examples: make test-deep


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


def noise_image(rng_seed: int, side: int = 8) -> np.ndarray:
    return np.random.default_rng(rng_seed).integers(0, 256, (side, side), dtype=np.uint8)


@pytest.fixture(scope="session")
def postgresql() -> "Iterator[Server]":
    """A server of this session's own; who asks for it is skipped where there can be none."""
    from postgres import NoServer, server

    with ExitStack() as stack:
        if importlib.util.find_spec("psycopg") is None:
            pytest.skip("not tested on PostgreSQL: psycopg is not installed")
        try:
            found = stack.enter_context(server())
        except NoServer as why:
            pytest.skip(f"not tested on PostgreSQL: {why}")
        yield found


LONG = ("test_bench_crash", "test_bench_leases", "test_serve", "test_full_disk", "test_overlap_model", "test_sitting")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files of few tests that take long come first: at the end the other worker would wait for them."""
    items.sort(key=lambda item: item.path.stem not in LONG)


DATABASES = ["sqlite", "postgresql"]


def place(request: pytest.FixtureRequest, folder: Path) -> Path | str:
    """Where a record may be made: of a fixture whose parameters are DATABASES."""
    if request.param == "sqlite":
        return folder / "labels.db"
    found: Server = request.getfixturevalue("postgresql")
    return found.url(f"t{secrets.token_hex(8)}")


@pytest.fixture(params=DATABASES)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """A path or a URL at which there is no record yet; the test runs once with each."""
    return place(request, tmp_path)


def server_url(database: Path | str) -> str | None:
    """What `Project.create` takes: None where the record is to be in the project's folder."""
    return database if isinstance(database, str) else None


def on_sqlite(store: "Store") -> bool:
    return "://" not in store.place


def by_hand(store: "Store", *statements: str) -> None:
    """Done to the tables by somebody else, as by a shell of the database: each statement on its own."""
    with store._engine.connect() as db:
        if not on_sqlite(store):
            db.execution_options(isolation_level="READ COMMITTED", postgresql_readonly=False)
        for statement in statements:
            with db.begin():
                db.exec_driver_sql(statement)


def drop_trigger(store: "Store", name: str) -> None:
    on = "" if on_sqlite(store) else f" ON {name.rpartition('_keep_')[0]}"
    by_hand(store, f"DROP TRIGGER {name}{on}")


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    """Twelve distinct 8x8 images: cat/0.png to cat/5.png and dog/6.png to dog/11.png."""
    folder = tmp_path / "images"
    for i in range(12):
        file = folder / ("cat" if i < 6 else "dog") / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise_image(i)).save(file)
    return folder


@pytest.fixture
def project(tmp_path: Path, image_folder: Path) -> Iterator[Project]:
    """The twelve images, unlabeled, all of them in the pool; classes cat and dog."""
    Project.create(tmp_path / "project", ["cat", "dog"]).close()
    with Project.open(tmp_path / "project") as p:
        p.import_(image_folder, measure_share=0)
        yield p


@pytest.fixture
def labeler(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Run a command in this process: labeler("status", folder)."""

    def command(*args: object) -> Ended:
        capsys.readouterr()
        code = run([str(a) for a in args])
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    return command


def start(*args: object, unprivileged: bool = False) -> subprocess.Popen[str]:
    """Start a command in a process of its own; returns once Python is up, before the command has done anything."""
    code = "import sys, faulthandler, signal; faulthandler.register(signal.SIGUSR1); "
    code += "from labeler.__main__ import main; print('up', flush=True); sys.exit(main())"
    without = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if unprivileged and os.geteuid() == 0 else []
    process = subprocess.Popen(
        [*without, sys.executable, "-P", "-c", code, *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n", process.communicate()[1]
    return process


def end(process: subprocess.Popen[str], timeout: float = 60) -> Ended:
    """Wait for a started command to end by itself. One that does not says where each of its threads stands."""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGUSR1)
        with suppress(subprocess.TimeoutExpired):  # reads meanwhile: a full pipe would hold it up
            process.communicate(timeout=2)
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"It has not ended within {timeout} s. It said, and stands at:\n{out}\n{err}") from None
    return Ended(process.returncode, out, err)


def interrupt(process: subprocess.Popen[str]) -> Ended:
    """Ctrl-C."""
    process.send_signal(signal.SIGINT)
    return end(process)


def wait_for(condition: Callable[[], Any], seconds: float = 30, every: float = 0.05) -> Any:
    """What `condition` gives as soon as that is true."""
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, f"it did not happen within {seconds} s"
        time.sleep(every)
    return found


@pytest.fixture(scope="session")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's 1,797 handwritten digits, uint8 (N, 8, 8), in a shuffled order, and their labels (N,)."""
    from sklearn.datasets import load_digits

    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.images))
    return (data.images * 255 / 16).round().astype(np.uint8)[order], data.target[order]


@pytest.fixture(scope="session")
def judge(digits: tuple[np.ndarray, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> "Judge":
    """The judge of the first 1,200 digits."""
    from model.evaluation import judge_for

    return judge_for(digits[0][:1200], digits[1][:1200], 10, cache=tmp_path_factory.mktemp("judge"))


@pytest.fixture(scope="module")
def playwright() -> "Iterator[Playwright]":
    from playwright.sync_api import sync_playwright

    with sync_playwright() as p:
        yield p


@pytest.fixture(scope="module")
def browser(playwright: "Playwright") -> "Iterator[Browser]":
    from pages import CHROMIUM, FLAGS, collect_unclosed

    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
    yield browser
    browser.close()
    collect_unclosed()


@pytest.fixture
def url(project: Project) -> Iterator[str]:
    """The page of the test's own project."""
    from pages import served

    with served(project) as address:
        yield address


@pytest.fixture
def visit(browser: "Browser", url: str) -> "Iterator[Visitors]":
    """People who come to that page."""
    from pages import Visitors

    visitors = Visitors(browser, url)
    yield visitors
    visitors.close()


QUICK = {  # settings of a learner that a test can wait for
    "warm_up_steps": 6, "settle_least": 20, "settle_most": 40, "batch": 32, "labeled_batch": 16,
    "partial_batch": 8, "graph_size": 100,
}  # fmt: skip


@pytest.fixture
def digit_project(tmp_path: Path, digits: tuple[np.ndarray, np.ndarray]) -> Iterator[Project]:
    """150 digits in the pool and 30 gold ones, a learner of small batches."""
    images, labels = digits
    np.savez(tmp_path / "pool.npz", x=images[:150])
    np.savez(tmp_path / "gold.npz", x=images[150:180], y=labels[150:180])
    with Project.create(tmp_path / "project", [str(k) for k in range(10)]) as p:
        p.import_(tmp_path / "gold.npz", gold=True)
        p.import_(tmp_path / "pool.npz")
        p.store.set_setting("learner", QUICK)
        p.store.set_setting("map", False)
        yield p
