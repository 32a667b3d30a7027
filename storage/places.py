"""Where a sample stands between 0 and 1: a draw at random that does not change, whatever else is imported."""

import hashlib


def place(rng_seed: int, sha256: str) -> float:
    """In [0, 1). A share of the samples is all whose place is below it, so that a larger share holds a smaller one."""
    digest = hashlib.sha256(f"{rng_seed} {sha256}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53
