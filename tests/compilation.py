"""How the programs of the tests are compiled: in a hurry, or as for use.

Most of a test's time is compilation. In a hurry it takes a third of the time. Sums are then rounded
differently, and no formula is different.
"""

import os
from collections.abc import Mapping, MutableMapping
from importlib.metadata import version

FAST = "JAX_DISABLE_MOST_OPTIMIZATIONS"
# The older emitters write the loops of a fusion directly. One module of LLVM costs less than many small ones.
HURRIED_FLAGS = ("--xla_cpu_use_fusion_emitters=false", "--xla_cpu_parallel_codegen_split_count=1")
# XLA ends the process at a flag that it does not know, and jaxlib 0.11.1 knows the first one no more.
TRIED_WITH = "0.10.2"


def compile_in_a_hurry(environment: MutableMapping[str, str]) -> None:
    """Make the processes of an environment compile in a hurry, unless it says otherwise itself."""
    environment.setdefault(FAST, "1")
    if version("jaxlib") == TRIED_WITH:
        own = environment.get("XLA_FLAGS", "").split()
        # Of two values of a flag XLA takes the last. A worker of pytest-xdist inherits what is added here.
        added = [flag for flag in HURRIED_FLAGS if flag not in own]
        environment["XLA_FLAGS"] = " ".join([*added, *own])


def as_for_use(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without what `compile_in_a_hurry` sets."""
    flags = [flag for flag in environment.get("XLA_FLAGS", "").split() if flag not in HURRIED_FLAGS]
    return {name: value for name, value in environment.items() if name != FAST} | {
        "XLA_FLAGS": " ".join(flags)
    }


def with_devices(n_devices: int) -> dict[str, str]:
    """Return this process's environment with so many CPU devices."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={n_devices}"
    return os.environ | {"XLA_FLAGS": flags.strip()}
