"""How many threads the steps take, on a machine that other work has too."""

from collections.abc import Iterator

import pytest
import torch

from model import device
from model.device import StepWatch


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)
    device._taken_from = None


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
