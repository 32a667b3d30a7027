"""Where and how arithmetic runs: CUDA when present, bfloat16 where this processor gains from it, one thread or all."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cache

import torch
import torch.nn.functional as F
from threadpoolctl import threadpool_limits

Pause = Callable[[], None]  # called between the parts of long work: what is urgent may go first there


def no_pause() -> None:
    """Where nothing is."""


@dataclass(frozen=True)
class Device:
    name: str
    bfloat16: bool

    @property
    def torch(self) -> torch.device:
        return torch.device(self.name)

    def autocast(self) -> AbstractContextManager[None]:
        return torch.autocast(self.name, torch.bfloat16, enabled=self.bfloat16)


@cache
def best_device() -> Device:
    """CUDA with bfloat16 when present; otherwise the CPU, in whichever precision a small convolution runs faster."""
    if torch.cuda.is_available():
        return Device("cuda", torch.cuda.is_bf16_supported())
    return Device("cpu", _convolution_seconds(torch.bfloat16) < _convolution_seconds(torch.float32))


def eigh(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Eigenvalues (n,), ascending, and eigenvectors (n, n) of a symmetric matrix, found in double precision.

    In single precision LAPACK gives NaN, or no convergence, for some matrices of low rank, and few images or units that
    are always 0 make such.
    """
    values, vectors = torch.linalg.eigh(matrix.double())
    return values.to(matrix.dtype), vectors.to(matrix.dtype)


def _convolution_seconds(dtype: torch.dtype) -> float:
    """Fastest of five runs of one typical layer, forward and backward."""
    runs = []
    with torch.inference_mode(False), torch.enable_grad():  # whoever asks first
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(64, 32, 14, 14, generator=generator).to(dtype).contiguous(memory_format=torch.channels_last)
        w = torch.randn(64, 32, 4, 4, generator=generator).to(dtype).requires_grad_()
        for _ in range(5):
            start = time.perf_counter()
            F.conv2d(x, w, stride=2, padding=1).sum().backward()
            runs.append(time.perf_counter() - start)
    return min(runs)


_taken_from: int | None = None  # the number of threads that a watch has brought down to one, for the next watch


def use_one_thread() -> None:
    """For the calling thread alone. Small operations beside gradient steps are many times slower on several threads:
    each of them waits until all have a core.

    torch.set_num_threads is for all threads to come, too: the learner's would have one.
    """
    torch.get_num_threads()  # at its first use in a thread torch takes its own number over
    torch.ones(1 << 16).sum()
    threadpool_limits(1, user_api="openmp")


@dataclass
class StepWatch:
    """Chooses the number of threads by the step time.

    Two OpenMP threads are faster on an idle machine but several times slower when another process takes a core:
    each waits for the other, spinning. So: all threads until a step takes much longer than one thread would,
    then one thread for `hold` steps, then another try.
    """

    threads: int = field(default_factory=lambda: _taken_from or torch.get_num_threads())
    hold: int = 80
    _single: float | None = None  # running mean of the step time on one thread, seconds
    _recent: list[float] = field(default_factory=list)
    _left: int = 0

    def __post_init__(self) -> None:
        self._most = self.threads
        if self._most != torch.get_num_threads():  # of a watch whose learner is gone
            self._use(self._most)

    def saw(self, seconds: float) -> None:
        """Tell how long the last step took; may change torch's number of threads for the next one."""
        if self._most == 1:
            return
        if self.threads == 1:
            self._single = seconds if self._single is None else 0.9 * self._single + 0.1 * seconds
            self._left -= 1
            if self._left <= 0:
                self._use(self._most)
            return
        self._recent = [*self._recent, seconds][-4:]
        usual = self._single if self._single is not None else 2 * min(self._recent)
        if seconds > 4 * usual or (len(self._recent) == 4 and sum(self._recent) / 4 > usual):
            self._left = (
                self.hold if self._single is not None else 8
            )  # the first time only to learn what one thread takes
            self._use(1)

    def _use(self, threads: int) -> None:
        global _taken_from
        _taken_from = self._most if threads < self._most else None
        self.threads, self._recent = threads, []
        torch.set_num_threads(threads)
