"""A pretrained model and its tokenizer, by the name of a downloaded model or by folder."""

from dataclasses import dataclass
from pathlib import Path

from lora_jax.config import ModelConfig
from lora_jax.digests import MANIFEST, find_damage
from lora_jax.errors import Damaged, LoraJaxError, nearest
from lora_jax.huggingface.architectures.architecture import Json
from lora_jax.huggingface.checkpoints.folder import check_tokenizer, load_folder
from lora_jax.huggingface.hub import fetch_from_hub, is_hub_id
from lora_jax.huggingface.packages import PACKAGES, find_damaged, find_model
from lora_jax.huggingface.tokenizer import HFTokenizer, load_tokenizer
from lora_jax.params import Params
from lora_jax.peft.checkpoint import fingerprint


@dataclass(frozen=True)
class Pretrained:
    """A model with its weights, ready for `forward`, and the tokenizer that it was trained with.

    Attributes:
        name: The name by which it was loaded.
        folder: Its folder.
        config: The shape of the model.
        params: Its weights, by path.
        tokenizer: Its tokenizer.
        model_type: model_type of config.json.
        source: config.json.
        new: Paths of weights that the folder does not hold and that were drawn, such as a classification
            head.
    """

    name: str
    folder: Path
    config: ModelConfig
    params: Params
    tokenizer: HFTokenizer
    model_type: str
    source: Json
    new: tuple[str, ...]

    @property
    def tokenizer_file(self) -> Path:
        """The tokenizer.json of its folder."""
        return self.folder / "tokenizer.json"

    @property
    def fingerprint(self) -> str:
        """A hash of the base's weights. An adapter names its base by it.

        A newly drawn head is left out.
        """
        return fingerprint({path: weight for path, weight in self.params.items() if path not in self.new})


def load_pretrained(name: str, *, n_classes: int | None = None, seed: int = 0) -> Pretrained:
    """Load a pretrained model with its tokenizer.

    Args:
        name: "smollm2" or "minilm" (`lora-jax fetch` downloads them), a Hugging Face folder, or a hub id.
        n_classes: Put a classification head with this many classes on the model.
        seed: Seed of that head, if the folder has none of that size.

    Returns:
        The model, its weights and its tokenizer.

    Raises:
        LoraJaxError: The name is neither a model nor a folder, the model is not downloaded, the tokenizer has
            more tokens than the model embeds, or `load_folder` refuses the folder.
        Damaged: A file in a folder that we wrote does not match its digest.
    """
    folder = find_base(name)
    _refuse_damaged(name, folder)
    loaded = load_folder(folder, n_classes=n_classes, seed=seed)
    tokenizer = load_tokenizer(folder)
    check_tokenizer(loaded.config, tokenizer.vocab_size)
    return Pretrained(
        name, folder, loaded.config, loaded.params, tokenizer, loaded.model_type, loaded.source, loaded.new
    )


def _refuse_damaged(name: str, folder: Path) -> None:
    if name in PACKAGES:
        damaged = find_damaged(name)
        remedy = f"run `lora-jax fetch {name}`, which replaces it"
    else:
        damaged = find_damage(folder)
        remedy = f"restore it or make it again; if you changed it yourself, delete {folder / MANIFEST}"
    if damaged is not None:
        raise Damaged(f"{damaged} is damaged, its digest is not the one it was written with: {remedy}.")


def find_base(name: str) -> Path:
    """Return the folder of a model: a downloaded one, a folder, or OWNER/NAME of the Hugging Face hub.

    Raises:
        LoraJaxError: There is none.
    """
    if name in PACKAGES:
        return find_model(name)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if is_hub_id(name):
        return fetch_from_hub(name)
    raise LoraJaxError(
        f"{name!r} is neither a model that can be fetched{nearest(name, PACKAGES)} nor a folder"
        " nor OWNER/NAME of the Hugging Face hub: give one."
    )
