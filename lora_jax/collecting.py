"""Pause Python's garbage collector while we make very many objects that all stay."""

import gc
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Generator[None]:
    """Collect no garbage during the block. Use it to make records and configs, and nothing with cycles.

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
