"""A pretrained model and its tokenizer, by the name of one that is fetched or by its folder."""

from dataclasses import dataclass
from pathlib import Path

from lora_jax.config import ModelConfig
from lora_jax.errors import LoraJaxError, nearest
from lora_jax.huggingface.architectures.architecture import Json
from lora_jax.huggingface.checkpoints.folder import check_tokenizer, load_folder
from lora_jax.huggingface.packages import PACKAGES, find_model
from lora_jax.huggingface.tokenizer import HFTokenizer, load_tokenizer
from lora_jax.params import Params
from lora_jax.peft.checkpoint import fingerprint


@dataclass(frozen=True)
class Pretrained:
    """A model with its weights, ready for `forward`, and the tokenizer that it was trained with."""

    name: str
    folder: Path
    config: ModelConfig
    params: Params
    tokenizer: HFTokenizer
    model_type: str  # of config.json
    source: Json  # config.json
    new: tuple[str, ...]  # paths that the folder does not hold and that were drawn: a classification head

    @property
    def fingerprint(self) -> str:
        """A hash of the base's weights, a head that was drawn anew left out: what an adapter belongs to."""
        return fingerprint({path: weight for path, weight in self.params.items() if path not in self.new})


def load_pretrained(name: str, *, n_classes: int | None = None, seed: int = 0) -> Pretrained:
    """Load a model by name ("smollm2", "minilm", fetched before) or from a Hugging Face folder.

    n_classes: put a classification head on it, drawn from `seed` where the folder has none of that size.

    Raises:
        LoraJaxError: a name that is no model and no folder, one that is not fetched, a tokenizer with more
            tokens than the model embeds, or what `load_folder` refuses.
    """
    folder = _find_folder(name)
    loaded = load_folder(folder, n_classes=n_classes, seed=seed)
    tokenizer = load_tokenizer(folder)
    check_tokenizer(loaded.config, tokenizer.vocab_size)
    return Pretrained(
        name, folder, loaded.config, loaded.params, tokenizer, loaded.model_type, loaded.source, loaded.new
    )


def _find_folder(name: str) -> Path:
    if name in PACKAGES:
        return find_model(name)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    raise LoraJaxError(
        f"{name!r} is neither a model that can be fetched{nearest(name, PACKAGES)} nor a folder: give one."
    )
