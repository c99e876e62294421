"""The fit laboratory: tables of runs, laws, fits with certificates, intervals and designs.

It does not need jax.

The names that a notebook needs are here. The packages below hold the rest (docs/architecture.md).
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lora_jax.scaling.comparing.comparison import compare
    from lora_jax.scaling.fitting.fit import evaluate_given, fit
    from lora_jax.scaling.fitting.profile import profile
    from lora_jax.scaling.intervals.difference import difference
    from lora_jax.scaling.intervals.uncertainty import bootstrap
    from lora_jax.scaling.laws import CHINCHILLA, LAWS, find_law, power_law
    from lora_jax.scaling.one_law import Questions, fit_law
    from lora_jax.scaling.optima.envelope import envelope
    from lora_jax.scaling.optima.isoflop import isoflop
    from lora_jax.scaling.planning.next_run import next_run
    from lora_jax.scaling.planning.plan_design import plan_design
    from lora_jax.scaling.sweep import fit_sweep
    from lora_jax.scaling.tables.table import make_table, read_table

__all__ = [
    "CHINCHILLA",
    "LAWS",
    "Questions",
    "bootstrap",
    "compare",
    "difference",
    "envelope",
    "evaluate_given",
    "find_law",
    "fit",
    "fit_law",
    "fit_sweep",
    "isoflop",
    "make_table",
    "next_run",
    "plan_design",
    "power_law",
    "profile",
    "read_table",
]

# The module of each name. Names load lazily, because reading a report must not import scipy.
_HOMES = {
    "fit_sweep": "lora_jax.scaling.sweep",
    "compare": "lora_jax.scaling.comparing.comparison",
    "fit": "lora_jax.scaling.fitting.fit",
    "evaluate_given": "lora_jax.scaling.fitting.fit",
    "profile": "lora_jax.scaling.fitting.profile",
    "difference": "lora_jax.scaling.intervals.difference",
    "bootstrap": "lora_jax.scaling.intervals.uncertainty",
    "Questions": "lora_jax.scaling.one_law",
    "fit_law": "lora_jax.scaling.one_law",
    "CHINCHILLA": "lora_jax.scaling.laws",
    "LAWS": "lora_jax.scaling.laws",
    "find_law": "lora_jax.scaling.laws",
    "power_law": "lora_jax.scaling.laws",
    "envelope": "lora_jax.scaling.optima.envelope",
    "isoflop": "lora_jax.scaling.optima.isoflop",
    "next_run": "lora_jax.scaling.planning.next_run",
    "plan_design": "lora_jax.scaling.planning.plan_design",
    "make_table": "lora_jax.scaling.tables.table",
    "read_table": "lora_jax.scaling.tables.table",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
