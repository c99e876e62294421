"""How a pretraining sweep is trained, as the options of its command say."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lora_jax.commands.training import TrainingOptions
from lora_jax.training.measuring import DEFAULT, Measuring

if TYPE_CHECKING:
    from lora_jax.runs.execute import SweepSettings


@dataclass(frozen=True, kw_only=True)
class SweepOptions(TrainingOptions):
    """How a pretraining sweep is trained. mesh, keep_models, measuring: as the command's --help says."""

    mesh: str | None = None
    keep_models: bool = False
    measuring: Measuring = DEFAULT


def make_settings(options: SweepOptions) -> "SweepSettings":
    """Return how a sweep is trained, on the devices that JAX sees."""
    from lora_jax.runs.execute import SweepSettings
    from lora_jax.training.mesh import make_mesh

    return SweepSettings(
        keep_models=options.keep_models,
        lanes=options.lanes,
        halving=options.halving,
        mesh=None if options.mesh is None else make_mesh(options.mesh),
        saving=options.saving,
        measuring=options.measuring,
    )
