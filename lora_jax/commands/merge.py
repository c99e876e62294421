"""lora-jax merge: an adapter folded into its base, as a model folder that transformers loads."""

import argparse
import shutil
from typing import Any

from lora_jax.commands.adapter_options import add_adapter, load_on_base


def add(commands: Any) -> None:
    parser = commands.add_parser("merge", help="fold an adapter into its base and write the whole model")
    add_adapter(parser)
    parser.add_argument(
        "--force", action="store_true", help="merge even where rounding loses over 5 %% of it"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from lora_jax.huggingface.checkpoints.folder import save_folder
    from lora_jax.peft.merge import merge
    from lora_jax.peft.method import Adapted, adapt

    found = load_on_base(arguments.adapter, arguments.base)
    model, base = found.base.config, found.base.params
    frozen = adapt(base, found.config.build(model), seed=0).frozen
    merged = merge(model, base, Adapted(found.trainable, frozen), found.config, force=arguments.force)
    save_folder(arguments.out, model, merged.params, found.base.model_type, source=found.base.source)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        if (found.base.folder / name).exists():
            shutil.copyfile(found.base.folder / name, arguments.out / name)
    lost = f"{merged.total_lost:.2%} of the update lost to rounding"
    print(f"{arguments.out}: {len(merged.originals)} weights changed, {lost}")
    return 0
