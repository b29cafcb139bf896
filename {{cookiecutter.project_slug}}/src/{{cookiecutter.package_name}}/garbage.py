"""When garbage is collected: not while the process starts, and rarely afterwards.

While modules are imported there is next to no garbage, and looking for it takes a tenth of the time.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

# Allocations before a collection, and collections before one of the next older generation. Python's own
# thresholds walk every object of the process several times a second under load: 40 to 80 ms each.
THRESHOLDS = (10_000, 20, 50)


@contextmanager
def collection_paused() -> Iterator[None]:
    """Collect no garbage inside, and never again look through what was made inside."""
    gc.disable()
    try:
        yield
    finally:
        # Modules and models live as long as the process: going through them would only make calls wait.
        gc.freeze()
        gc.enable()


def collect_rarely() -> None:
    """Leave what the start made out of later collections, and collect less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
