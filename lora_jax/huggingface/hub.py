"""Models of the Hugging Face hub, by id. huggingface_hub downloads their files into its own cache."""

import re
from pathlib import Path

from lora_jax.errors import LoraJaxError

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")  # OWNER/NAME
# we load weights from safetensors only
FILES = ("*.json", "*.safetensors", "*.jinja", "README.md", "LICENSE*")


def is_hub_id(name: str) -> bool:
    """Return whether a name has the form of a hub id, OWNER/NAME."""
    return HUB_ID.fullmatch(name) is not None


def fetch_from_hub(name: str) -> Path:
    """Return the folder of a model of the hub. What is in huggingface_hub's cache is not downloaded again.

    Raises:
        LoraJaxError: The package is not installed, there is no network, or the hub has no such model.
    """
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise LoraJaxError(
            f"{name!r} is neither a model that can be fetched by name nor a folder, and models of the Hugging"
            " Face hub are fetched by the package huggingface_hub, which is not installed: pip install"
            " 'lora-jax[hf]', or give a folder."
        ) from None
    try:
        return Path(snapshot_download(name, allow_patterns=list(FILES)))
    except (OSError, ValueError) as error:  # what huggingface_hub raises derives from these
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[0].partition(". ")[0].rstrip(".") if lines else type(error).__name__
        raise LoraJaxError(
            f"{name!r} is neither a model that can be fetched by name nor a folder, and the Hugging Face hub"
            f" did not give it ({reason[:200]}): check the name and the network, or give a folder."
        ) from None
