"""Export the adapters of a finished sweep in peft's format: each method's best rate with the first seed."""

from lora_jax.errors import LoraJaxError
from lora_jax.finetuning.config import FinetuneSweep, finetune_id
from lora_jax.finetuning.execute import choose_rates
from lora_jax.finetuning.prepare import Prepared
from lora_jax.finetuning.recording import adapter_path
from lora_jax.huggingface.adapters.exporting import export_adapter
from lora_jax.names import unique_names
from lora_jax.peft.checkpoint import load_adapter
from lora_jax.runs.store import RunStore


def export_chosen(sweep: FinetuneSweep, prepared: Prepared, store: RunStore) -> list[str]:
    """Write FOLDER/peft/LABEL for every method that peft has a form for.

    Returns:
        A line about each method.
    """
    pretrained, lines = prepared.pretrained, []
    labels = list(sweep.methods)
    names = dict(zip(labels, unique_names(labels), strict=True))
    for label, rate in choose_rates(sweep, prepared, store).items():
        path = adapter_path(store.folder, finetune_id(sweep.run(label, rate, sweep.seeds[0])))
        if not path.exists():
            lines.append(f"{label}: {path} is gone, so there is nothing to export.")
            continue
        config, trainable = load_adapter(path, prepared.fingerprint, prepared.model)
        folder = store.folder / "peft" / names[label].lower()
        try:
            export_adapter(
                folder,
                str(pretrained.folder),
                pretrained.model_type,
                prepared.model,
                config,
                trainable,
                prepared.base,
                pretrained.new,
            )
        except LoraJaxError as error:  # peft has no form for most methods, which is no mistake of the sweep
            lines.append(f"{label}: {error} Its weights are {path}.")
            continue
        lines.append(f"{label}: adapter for peft in {folder}")
    return lines
