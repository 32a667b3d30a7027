"""The clock that leases hold by: even, whatever is done to the clock on the wall (docs/decisions/0037)."""

import time

_BEGAN = time.time() - time.monotonic()


def steady() -> float:
    """Seconds since 1970 as this process knew them when it began, and on from there by a clock that nobody sets."""
    return _BEGAN + time.monotonic()
