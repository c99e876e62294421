"""The tiny models and tasks of places.py, and what is loaded of them."""

import os
from pathlib import Path

import pytest

from lora_jax.config import TaskConfig
from lora_jax.data.tasks import TaskData
from lora_jax.huggingface.pretrained import Pretrained, load_pretrained
from lora_jax.huggingface.tokenizer import HFTokenizer
from lora_jax.prompting.load import load_prompted
from tests.prompting.places import FEEL, make_places, make_tokenizer, wrap


@pytest.fixture(params=[{}, {"begins": True}, {"across": True}], ids=["plain", "begins", "across"])
def tokenizer(request: pytest.FixtureRequest) -> HFTokenizer:
    return wrap(make_tokenizer(**request.param))


@pytest.fixture(scope="session")
def tasks_folder() -> Path:
    """The folder of labelled tasks, beside the repository or in LORA_JAX_TASKS: without it, a skip."""
    fallback = Path(__file__).resolve().parents[3] / "shared" / "data" / "tasks"
    folder = Path(os.environ.get("LORA_JAX_TASKS", fallback))
    if not folder.is_dir():
        pytest.skip("labelled tasks not found: set LORA_JAX_TASKS to their folder")
    return folder


@pytest.fixture(scope="session")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_places(tmp_path_factory.mktemp("prompting"))


@pytest.fixture(scope="session")
def decoder(places: Path) -> Pretrained:
    return load_pretrained(str(places / "models" / "decoder"))


@pytest.fixture(scope="session")
def feel(places: Path) -> TaskData:
    return load_prompted(TaskConfig(name=f"files:{places / 'tasks' / 'feel'}"), FEEL)
