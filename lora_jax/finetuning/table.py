"""Tables of what each method of a sweep trains and costs, for printing before the first step."""

from lora_jax.finetuning.config import FinetuneSweep
from lora_jax.finetuning.prepare import Prepared
from lora_jax.peft.summary import print_summary, summarise


def print_methods(sweep: FinetuneSweep, prepared: Prepared) -> None:
    """Print for each method a table of its trainable weights and the learning rates that it tries."""
    for label, config in sweep.methods.items():
        rates = ", ".join(f"{rate:g}" for rate in sweep.rates_of(label))
        print(f"\n{label}: learning rates {rates} with one seed, then {len(sweep.seeds)} seeds at the best")
        print_summary(summarise(prepared.model, config.build(prepared.model), prepared.mean_length))
