"""`lora-jax generate`: a stream, several prompts and adapters at once, a sentence for every mistake."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from lora_jax.framing import Framing
from lora_jax.generation.engine import Engine
from lora_jax.generation.generate import generate
from lora_jax.huggingface.pretrained import load_pretrained
from lora_jax.peft.checkpoint import save_adapter
from lora_jax.peft.method import adapt
from lora_jax.peft.methods.adapters import AdapterH
from lora_jax.peft.methods.lora import LoRA
from tests.commands.conftest import Mistake, Run
from tests.prompting.places import make_places

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_places(tmp_path_factory.mktemp("generate"))


@pytest.fixture(scope="module")
def decoder(places: Path) -> str:
    return str(places / "models" / "decoder")


def write_adapter(path: Path, folder: str, config, seed: int) -> Path:
    base = load_pretrained(folder)
    trainable, _ = adapt(base.params, config.build(base.config), seed)
    rng = np.random.default_rng(seed)
    noisy = {name: w + rng.normal(size=w.shape).astype(np.float32) for name, w in trainable.items()}
    save_adapter(path, noisy, config, base.fingerprint)
    return path


def test_a_stream_is_the_text_that_json_has(run: Run, decoder: str) -> None:
    status, streamed, counted = run("generate", decoder, "--prompt", "it is good", "--new", 9)
    assert status == 0
    assert re.match(r"\d tokens in .* s, .* a second", counted)
    found = json.loads(run("generate", decoder, "--prompt", "it is good", "--new", 9, "--json")[1])
    assert [f"{one['prompt']}{one['text']}\n" for one in found] == [streamed]
    assert found[0]["finish"] in ("length", "end")


@pytest.mark.slow
def test_every_prompt_is_completed_by_every_adapter(run: Run, decoder: str, tmp_path: Path) -> None:
    small = write_adapter(tmp_path / "a.safetensors", decoder, LoRA(rank=1), 1)
    large = write_adapter(tmp_path / "b.safetensors", decoder, LoRA(rank=3, alpha=9.0), 2)
    options = ["--prompt", "it is", "--prompt", "good", "--new", 6, "--json"]
    together = json.loads(run("generate", decoder, *options, "--adapter", small, "--adapter", large)[1])
    apart = [json.loads(run("generate", decoder, *options, "--adapter", one)[1]) for one in (small, large)]
    assert together == [one for pair in zip(*apart, strict=True) for one in pair]
    assert together[0]["text"] != together[1]["text"]


def test_every_end_of_generation_config_stops_a_text(run: Run, decoder: str, tmp_path: Path) -> None:
    """The end that is added is a token that the model writes; a second <s> is not put in front."""
    folder = shutil.copytree(decoder, tmp_path / "model")
    options = ["--prompt", "it is good", "--new", 9, "--json"]
    (free,) = json.loads(run("generate", folder, *options)[1])
    base = load_pretrained(str(folder))
    prompt = Framing(base.tokenizer).prompt("it is good").ids
    (written,) = generate(Engine(base.config, base.params), [prompt], 9)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [0, written.tokens[3]]}))
    (found,) = json.loads(run("generate", folder, *options)[1])
    n = written.tokens.index(written.tokens[3])
    assert (found["n_new_tokens"], found["finish"]) == (n, "end")
    assert free["n_new_tokens"] > n
    status, streamed, _ = run("generate", folder, "--prompt", "it is good", "--new", 9)
    assert (status, streamed) == (0, f"it is good{found['text']}\n")
    (searched,) = json.loads(run("generate", folder, *options, "--beam", 1)[1])
    assert searched["finish"] == "end"


def test_mistakes_get_a_sentence(mistake: Mistake, decoder: str, places: Path, tmp_path: Path) -> None:
    ask = ["generate", decoder, "--prompt"]
    mistake([*ask, ""], "prompt 0 is empty")
    mistake([*ask, "it is good " * 100], "to leave room for a completion: shorten it")
    mistake([*ask, "x", "--new", 0], "--new is 0, but it must be")
    mistake([*ask, "x", "--top-k", 3], "give a --temperature above 0")
    mistake([*ask, "x", "--beam", 2, "--temperature", 1], "ask for one of them")
    mistake([*ask, "x", "--beam", 0], "--beam is 0")
    mistake([*ask, "x", "--beam", 2, "--stop", "."], "drop one of them")
    mistake(["generate", places / "models" / "encoder", "--prompt", "x"], "choose a language model")
    lora = write_adapter(tmp_path / "a.safetensors", decoder, LoRA(rank=1), 1)
    other = write_adapter(tmp_path / "b.safetensors", decoder, AdapterH(rank=2), 1)
    both = ["--adapter", lora, "--adapter", other]
    mistake([*ask, "x", *both], "load them one at a time")


@pytest.mark.slow
def test_the_example_of_the_page_runs(decoder: str, capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs" / "generation.md").read_text()
    [example] = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    exec(example.replace('"smollm2"', repr(decoder)), {})
    assert capsys.readouterr().out.count("nats") == 2
