"""How many threads the steps take, on a machine that other work has too."""

import threading
from collections.abc import Iterator

import pytest
import torch

from model import device
from model.device import StepWatch, use_one_thread


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)
    device._taken_from = None


@pytest.mark.usefixtures("two_threads")
def test_a_thread_that_takes_one_leaves_the_others_theirs() -> None:
    seen: list[int] = []

    def beside() -> None:
        use_one_thread()
        seen.append(torch.get_num_threads())

    for _ in range(2):
        other = threading.Thread(target=beside)
        other.start()
        other.join()
    later = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert (seen, torch.get_num_threads()) == ([1, 1, 2], 2)


def disturbed() -> StepWatch:
    """A watch that has gone down to one thread."""
    watch = StepWatch()
    for seconds in (0.1, 0.1, 0.1, 1.0):
        watch.saw(seconds)
    return watch


@pytest.mark.usefixtures("two_threads")
def test_a_disturbed_step_leaves_one_thread_and_quiet_ones_bring_the_others_back() -> None:
    watch = disturbed()
    assert torch.get_num_threads() == 1
    for _ in range(8):
        watch.saw(0.15)
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_a_learner_that_follows_a_disturbed_one_has_all_threads() -> None:
    disturbed()
    assert StepWatch().threads == torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_one_thread_that_somebody_chose_stays_one() -> None:
    torch.set_num_threads(1)
    watch = StepWatch()
    for _ in range(100):
        watch.saw(0.1)
    assert watch.threads == torch.get_num_threads() == 1
