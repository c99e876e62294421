"""Python's collector of cyclic garbage, paused while very many objects are made that all stay."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Collect no garbage during the block, which should make records and configs, and no cycles.

    The collector walks through all objects again and again while their number grows. With JAX imported,
    10,000 records took nearly twice as long to read.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
