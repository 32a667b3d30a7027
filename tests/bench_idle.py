"""How much of a core a trainer takes that has nothing to do.

    make bench-idle            (or: python tests/bench_idle.py [seconds: 60])

A project of 500 digits, `labeler train` until it says idle, a label more, and the CPU time of its process over a minute
from when it is idle again: the lookout still looks often. Then over a minute much later. No page is open.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from labeler import Project

LATEST = 300  # seconds until it must be idle
LATER = 150  # seconds after which the lookout rests


def main(seconds: float) -> None:
    digits = load_digits()
    with tempfile.TemporaryDirectory() as folder:
        pool = Path(folder) / "pool.npz"
        np.savez(pool, x=(digits.images[:500] * 255 / 16).round().astype(np.uint8))
        with Project.create(Path(folder) / "project", [str(k) for k in range(10)]) as project:
            project.import_(pool, measure_share=0)
            project.store.set_setting("learner", {"warm_up_steps": 20, "settle_least": 20, "settle_most": 40})
            loop = project.loop()
            for i in range(20):
                loop.answer(i + 1, int(digits.target[i]))
            command = [sys.executable, "-P", "-m", "labeler", "train", str(project.folder)]
            with subprocess.Popen(command, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL) as trainer:
                try:
                    until_idle(project)
                    loop.answer(21, int(digits.target[20]))
                    until_idle(project)
                    report("soon after a label", trainer.pid, seconds)
                    time.sleep(max(0, LATER - seconds))
                    report("later", trainer.pid, seconds)
                finally:
                    trainer.terminate()


def until_idle(project: Project) -> None:
    end = time.monotonic() + LATEST
    newest = project.store.last_event_id()
    while not (version := project.store.newest_version()) or version.last_event_id < newest or not rests(project):
        if time.monotonic() > end:
            raise RuntimeError(f"the trainer did not come to rest within {LATEST} s")
        time.sleep(0.5)


def rests(project: Project) -> bool:
    return (project.store.process("trainer") or {}).get("phase") == "idle"


def report(when: str, pid: int, seconds: float) -> None:
    """CPU time of all threads of a process, in the kernel too, over the time that passed."""
    time.sleep(3)  # what is said of the trainer is up to a second old
    begun, before = time.monotonic(), cpu_seconds(pid)
    time.sleep(seconds)
    share = (cpu_seconds(pid) - before) / (time.monotonic() - begun)
    print(f"idle, {when}: {share:.2%} of a core over {seconds:.0f} s", flush=True)


def cpu_seconds(pid: int) -> float:
    """As the scheduler counts it, to the nanosecond, where Linux tells; a hundredth of a second otherwise."""
    threads = list(Path(f"/proc/{pid}/task").glob("*/schedstat"))
    if threads:
        return sum(int(file.read_text().split()[0]) for file in threads) / 1e9
    clock = subprocess.run(["ps", "-o", "time=", "-p", str(pid)], capture_output=True, text=True, check=True).stdout
    minutes, _, rest = clock.strip().rpartition(":")
    return 60 * sum(int(part) * 60**i for i, part in enumerate(reversed(minutes.split(":")))) + float(rest)


if __name__ == "__main__":
    main(float(sys.argv[1]) if sys.argv[1:] else 60)
