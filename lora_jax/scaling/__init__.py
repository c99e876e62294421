"""The fit laboratory: tables of runs, laws, fits with certificates, intervals, designs. Needs no jax.

What a notebook wants is here; the rooms below hold the rest (docs/architecture.md).
"""

from lora_jax.scaling.analysis import analyse
from lora_jax.scaling.comparing.comparison import compare
from lora_jax.scaling.fitting.fit import fit, judge
from lora_jax.scaling.fitting.profile import profile
from lora_jax.scaling.intervals.difference import difference
from lora_jax.scaling.intervals.uncertainty import bootstrap
from lora_jax.scaling.laboratory import Questions, examine
from lora_jax.scaling.laws import CHINCHILLA, LAWS, find_law, power_law
from lora_jax.scaling.optima.envelope import envelope
from lora_jax.scaling.optima.isoflop import isoflop
from lora_jax.scaling.planning.next_run import next_run
from lora_jax.scaling.planning.plan_design import plan_design
from lora_jax.scaling.tables.table import make_table, read_table

__all__ = [
    "CHINCHILLA", "LAWS", "Questions", "analyse", "bootstrap", "compare", "difference", "envelope", "examine",
    "find_law", "fit", "isoflop", "judge", "make_table", "next_run", "plan_design", "power_law", "profile",
    "read_table",
]  # fmt: skip
