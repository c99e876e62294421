"""lora_jax trains language models to find scaling laws, and adapts pretrained ones with LoRA and more.

    import lora_jax as lj

The names below are what a notebook needs. Each is imported when it is first used. So `import lora_jax` costs
nothing, and the laws need no JAX. docs/architecture.md shows the packages behind them.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lora_jax.config import DataConfig as DataConfig
    from lora_jax.config import ModelConfig as ModelConfig
    from lora_jax.config import OptimConfig as OptimConfig
    from lora_jax.config import RunConfig as RunConfig
    from lora_jax.config import SourceConfig as SourceConfig
    from lora_jax.config import TaskConfig as TaskConfig
    from lora_jax.errors import LoraJaxError as LoraJaxError
    from lora_jax.finetuning.config import FinetuneSweep as FinetuneSweep
    from lora_jax.finetuning.config import TuneConfig as TuneConfig
    from lora_jax.generation.sampling import Sampling as Sampling
    from lora_jax.huggingface.pretrained import load_pretrained as load_pretrained
    from lora_jax.model.transformer import forward as forward
    from lora_jax.notebook.comparing import compare as compare
    from lora_jax.notebook.designing import design as design
    from lora_jax.notebook.finetuning import evaluate as evaluate
    from lora_jax.notebook.finetuning import finetune as finetune
    from lora_jax.notebook.fitting import fit as fit
    from lora_jax.notebook.method_laws import finetuning_laws as finetuning_laws
    from lora_jax.notebook.models import adapt as adapt
    from lora_jax.notebook.models import generate as generate
    from lora_jax.notebook.models import init as init
    from lora_jax.notebook.models import merge as merge
    from lora_jax.notebook.speedups import speedup as speedup
    from lora_jax.notebook.sweeps import train as train
    from lora_jax.params import combine as combine
    from lora_jax.params import partition as partition
    from lora_jax.peft.materialize import declare_lora as declare_lora
    from lora_jax.peft.materialize import init_delta as init_delta
    from lora_jax.peft.materialize import materialize as materialize
    from lora_jax.peft.methods.adapters import AdapterH as AdapterH
    from lora_jax.peft.methods.dora import DoRA as DoRA
    from lora_jax.peft.methods.ia3 import IA3 as IA3
    from lora_jax.peft.methods.lora import LoRA as LoRA
    from lora_jax.peft.methods.pissa import PiSSA as PiSSA
    from lora_jax.peft.methods.prefix import Prefix as Prefix
    from lora_jax.peft.methods.subset import BitFit as BitFit
    from lora_jax.peft.methods.subset import Full as Full
    from lora_jax.peft.methods.subset import TopLayers as TopLayers
    from lora_jax.peft.methods.vera import VeRA as VeRA
    from lora_jax.prompting.shots import Shots as Shots
    from lora_jax.scaling.laws import LAWS as LAWS
    from lora_jax.scaling.tables.table import read_table as read_table
    from lora_jax.training.measuring import Measuring as Measuring
    from lora_jax.training.saving import Saving as Saving

__version__ = "0.2.0"

_NAMES = {
    "lora_jax.config": (
        "DataConfig",
        "ModelConfig",
        "OptimConfig",
        "RunConfig",
        "SourceConfig",
        "TaskConfig",
    ),
    "lora_jax.errors": ("LoraJaxError",),
    "lora_jax.finetuning.config": ("FinetuneSweep", "TuneConfig"),
    "lora_jax.generation.sampling": ("Sampling",),
    "lora_jax.huggingface.pretrained": ("load_pretrained",),
    "lora_jax.model.transformer": ("forward",),
    "lora_jax.notebook.comparing": ("compare",),
    "lora_jax.notebook.designing": ("design",),
    "lora_jax.notebook.finetuning": ("evaluate", "finetune"),
    "lora_jax.notebook.fitting": ("fit",),
    "lora_jax.notebook.method_laws": ("finetuning_laws",),
    "lora_jax.notebook.models": ("adapt", "generate", "init", "merge"),
    "lora_jax.notebook.speedups": ("speedup",),
    "lora_jax.notebook.sweeps": ("train",),
    "lora_jax.params": ("combine", "partition"),
    "lora_jax.peft.materialize": ("declare_lora", "init_delta", "materialize"),
    "lora_jax.peft.methods.adapters": ("AdapterH",),
    "lora_jax.peft.methods.dora": ("DoRA",),
    "lora_jax.peft.methods.ia3": ("IA3",),
    "lora_jax.peft.methods.lora": ("LoRA",),
    "lora_jax.peft.methods.pissa": ("PiSSA",),
    "lora_jax.peft.methods.prefix": ("Prefix",),
    "lora_jax.peft.methods.subset": ("BitFit", "Full", "TopLayers"),
    "lora_jax.peft.methods.vera": ("VeRA",),
    "lora_jax.prompting.shots": ("Shots",),
    "lora_jax.scaling.laws": ("LAWS",),
    "lora_jax.scaling.tables.table": ("read_table",),
    "lora_jax.training.measuring": ("Measuring",),
    "lora_jax.training.saving": ("Saving",),
}
_HOMES = {name: home for home, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        # Not `from lora_jax import errors`, which looks here for the name and comes back.
        nearest = importlib.import_module("lora_jax.errors").nearest
        like = "" if name.startswith("_") else nearest(name, _HOMES)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}{like}", name=name)
    try:
        return getattr(importlib.import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        from lora_jax.extras import explain_missing

        said = explain_missing(error)
        if said is None:
            raise
        raise ModuleNotFoundError(f"lora_jax.{name}: {said}", name=error.name) from error


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
