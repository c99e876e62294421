"""lm-evaluation-harness reading with our engine, beside its own Hugging Face backend: equal scores."""

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest

from lora_jax.errors import LoraJaxError

pytest.importorskip("lm_eval", reason="needs lm-evaluation-harness: the extra harness")
pytest.importorskip("torch", reason="its Hugging Face backend needs torch")
os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore"),  # the harness, datasets and torch warn of themselves
]

TOLERANCE = 1e-4
LETTERS = "abcdefghijklmnopqrstuvwxyz .,:?!\n0123456789"
FAMILIES = {"gpt2": False, "llama": True}  # by whether the tokenizer puts <s> in front
TASKS = ("feel", "finish", "stream")


class Pair(NamedTuple):
    """A checkpoint with a tokenizer, read by both."""

    folder: Path
    ours: Any
    theirs: Any


def write_tokenizer(folder: Path, begins: bool) -> None:
    """A token a letter; <s> and </s> are 1 and 0."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors

    # As many as the model has: the harness cuts the embeddings of a model with more where peft is used.
    n = json.loads((folder / "config.json").read_text())["vocab_size"]
    names = ["</s>", "<s>", "<unk>", *LETTERS]
    vocab = {token: i for i, token in enumerate([*names, *(f"[{i}]" for i in range(len(names), n))])}
    inner: Any = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    inner.decoder = decoders.Fuse()
    inner.add_special_tokens(["</s>", "<s>", "<unk>"])
    if begins:
        inner.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    inner.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>", "unk_token": "<unk>"}
    if begins:
        config["bos_token"] = "<s>"
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def load_theirs(folder: Path) -> Any:
    """Return transformers' tokenizer of the file as it is: AutoTokenizer knows better for some models."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(folder)


@pytest.fixture(scope="module")
def pair(tiny: Callable[[str], Any]) -> Callable[[str], Pair]:
    made: dict[str, Pair] = {}

    def make(family: str) -> Pair:
        if family not in made:
            from lm_eval.models.huggingface import HFLM

            from lora_jax.prompting.harness import LoraJaxLM

            folder = tiny(family).folder
            write_tokenizer(folder, FAMILIES[family])
            theirs = HFLM(str(folder), tokenizer=load_theirs(folder), device="cpu", dtype="float32")
            made[family] = Pair(folder, LoraJaxLM(str(folder), dtype="float32"), theirs)
        return made[family]

    return make


def ask(kind: str, *arguments: tuple[Any, ...]) -> list[Any]:
    from lm_eval.api.instance import Instance

    return [Instance(kind, {}, given, i) for i, given in enumerate(arguments)]


def write_tasks(folder: Path) -> Path:
    """A multiple choice, a generation and a rolling likelihood over local rows, one file a task."""
    rng = np.random.default_rng(0)

    def text(n: int) -> str:
        return "".join(rng.choice(list(LETTERS), n))

    rows = [
        {"text": text(int(n)), "label": int(rng.integers(2)), "answer": text(2)}
        for n in rng.integers(3, 80, size=12)
    ]
    data = folder / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    shared = f"dataset_path: json\ndataset_kwargs:\n  data_files:\n    test: {data}\ntest_split: test\n"
    wanted = {
        "feel": """output_type: multiple_choice
doc_to_text: "{{text}} so:"
doc_to_target: label
doc_to_choice: [" bad", " very good"]
metric_list: [{metric: acc}, {metric: acc_norm}]
""",
        "finish": """output_type: generate_until
doc_to_text: "{{text}}"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["q", "a"], max_gen_toks: 9, do_sample: false}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
""",
        "stream": """output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{text}}"
metric_list: [{metric: word_perplexity}, {metric: byte_perplexity}, {metric: bits_per_byte}]
""",
    }
    for name in TASKS:
        (folder / f"{name}.yaml").write_text(f"task: {name}\n{shared}{wanted[name]}")
    return folder


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tasks")
    os.environ["HF_DATASETS_CACHE"] = str(folder / "cache")
    return write_tasks(folder)


@pytest.mark.parametrize("family", FAMILIES)
def test_scores_of_local_tasks_equal_those_of_its_own_backend(family: str, pair: Any, tasks: Path) -> None:
    import lm_eval
    from lm_eval.tasks import TaskManager

    both = []
    for model in (pair(family).ours, pair(family).theirs):
        manager = TaskManager(include_path=str(tasks), include_defaults=False)
        both.append(
            lm_eval.simple_evaluate(
                model, tasks=list(TASKS), task_manager=manager, bootstrap_iters=0, log_samples=True
            )
        )
    ours, theirs = both
    for task in TASKS:
        for name, value in theirs["results"][task].items():
            if isinstance(value, float):
                assert math.isclose(ours["results"][task][name], value, rel_tol=1e-4), (task, name)
        for mine, its in zip(ours["samples"][task], theirs["samples"][task], strict=True):
            if task == "finish":
                assert mine["resps"] == its["resps"]
            else:
                flat = [np.ravel(np.array(one["resps"], float)) for one in (mine, its)]
                np.testing.assert_allclose(*flat, atol=TOLERANCE)


CONTEXTS = (
    "",
    "a",
    "it is",
    "it is ",
    "it is  \n",
    "<s>so",
    "</s>so",
    "a long text, longer than what fits: it is cut",
)
CONTINUATIONS = ("b", " good", "</s>", "as long as almost fits there")


@pytest.mark.parametrize("family", FAMILIES)
def test_likelihoods_with_spaces_at_borders_and_beyond_the_context(family: str, pair: Any) -> None:
    pairs = [(a, b) for a in CONTEXTS for b in CONTINUATIONS if (a, b) != ("", "</s>")]  # nothing is left
    asked = ask("loglikelihood", *pairs)
    ours, theirs = (model.loglikelihood(asked, disable_tqdm=True) for model in pair(family)[1:])
    np.testing.assert_allclose([x for x, _ in ours], [x for x, _ in theirs], atol=TOLERANCE)
    assert [greedy for _, greedy in ours] == [greedy for _, greedy in theirs]


@pytest.mark.parametrize("family", FAMILIES)
def test_texts_of_many_windows(family: str, pair: Any) -> None:
    texts = ("", "a", "x" * 31, "y" * 32, "z" * 33, "many words, " * 12, "<s>so it goes", "</s>")
    asked = ask("loglikelihood_rolling", *((text,) for text in texts))
    ours, theirs = (model.loglikelihood_rolling(asked, disable_tqdm=True) for model in pair(family)[1:])
    np.testing.assert_allclose(ours, theirs, atol=TOLERANCE)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_written_until_a_stop_string(family: str, pair: Any) -> None:
    contexts = ("a", "it is", "it is ", "<s>so", "a long text, longer than what fits: it is cut")
    kinds: list[dict[str, Any]] = [
        {"until": ["a", "e"], "max_gen_toks": 12},
        {"until": "m", "max_gen_toks": 12, "do_sample": False, "temperature": 0.0},
        {"until": [], "max_new_tokens": 20},
        {"max_gen_toks": 1},
    ]
    asked = ask("generate_until", *((context, kind) for kind in kinds for context in contexts))
    ours, theirs = (model.generate_until(asked, disable_tqdm=True) for model in pair(family)[1:])
    assert ours == theirs
    assert any(ours)


def test_an_adapter_reads_as_its_peft_form_does(pair: Any, tmp_path: Path) -> None:
    from lm_eval.models.huggingface import HFLM

    from lora_jax.huggingface.adapters.exporting import export_adapter
    from lora_jax.huggingface.pretrained import load_pretrained
    from lora_jax.peft.checkpoint import save_adapter
    from lora_jax.peft.method import adapt
    from lora_jax.peft.methods.lora import LoRA
    from lora_jax.prompting.harness import LoraJaxLM

    folder, bare, _ = pair("llama")
    base, method = load_pretrained(str(folder)), LoRA(rank=3, targets=("q", "down"))
    rng = np.random.default_rng(1)
    trained = {
        path: weight + jnp.asarray(0.2 * rng.standard_normal(weight.shape), jnp.float32)
        for path, weight in adapt(base.params, method.build(base.config), 0).trainable.items()
    }
    save_adapter(tmp_path / "own.safetensors", trained, method, base.fingerprint)
    export_adapter(tmp_path / "peft", str(folder), base.model_type, base.config, method, trained)
    asked = ask("loglikelihood", *((context, " good") for context in CONTEXTS))
    theirs = HFLM(
        str(folder), tokenizer=load_theirs(folder), peft=str(tmp_path / "peft"), device="cpu", dtype="float32"
    )
    wanted = [x for x, _ in theirs.loglikelihood(asked, disable_tqdm=True)]
    for place in ("own.safetensors", "peft"):
        lm = LoraJaxLM(str(folder), adapter=str(tmp_path / place), dtype="float32")
        found = [x for x, _ in lm.loglikelihood(asked, disable_tqdm=True)]
        np.testing.assert_allclose(found, wanted, atol=TOLERANCE)
    without = [x for x, _ in bare.loglikelihood(asked, disable_tqdm=True)]
    assert np.abs(np.array(without) - wanted).max() > 0.1
    other = pair("gpt2").folder
    with pytest.raises(LoraJaxError, match="load the base that it was trained on"):
        LoraJaxLM(str(other), adapter=str(tmp_path / "own.safetensors"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"pretrained": "nowhere"}, "is neither a model that can be fetched"),
        ({"adapter": "nowhere"}, "there is no adapter nowhere"),
        ({"adaptor": "x"}, "no model argument 'adaptor' (nearest: 'adapter')"),
        ({"max_length": 33}, "from 1 to the 32 tokens"),
        ({"batch_size": "many"}, "a whole number from 1 or auto"),
        ({"dtype": "float16"}, "dtype is 'float16'"),
    ],
)
def test_a_wrong_argument_is_one_sentence(given: dict[str, Any], said: str, pair: Any) -> None:
    from lora_jax.prompting.harness import LoraJaxLM

    with pytest.raises(LoraJaxError, match=re.escape(said)) as found:
        LoraJaxLM(**{"pretrained": str(pair("gpt2").folder), **given})
    assert "\n" not in str(found.value)


def test_a_wrong_request_is_one_sentence(pair: Any) -> None:
    lm = pair("gpt2").ours
    for kwargs, said in (
        ({"max_gen_toks": 32}, "lower max_gen_toks"),
        ({"num_beams": 4}, "no generation argument 'num_beams'"),
    ):
        with pytest.raises(LoraJaxError, match=said):
            lm.generate_until(ask("generate_until", ("a", kwargs)), disable_tqdm=True)
    with pytest.raises(LoraJaxError, match="a continuation has 40 tokens"):
        lm.loglikelihood(ask("loglikelihood", ("a", "b" * 40)), disable_tqdm=True)
    with pytest.raises(LoraJaxError, match="writes no chat templates"):
        lm.chat_template(True)


def test_its_own_command_knows_the_model(pair: Any, tasks: Path, tmp_path: Path) -> None:
    folder = pair("llama").folder
    command = [
        sys.executable,
        "-m",
        "lora_jax.prompting.harness",
        "--model",
        "lora_jax",
        "--model_args",
        f"pretrained={folder}",
        "--include_path",
        str(tasks),
        "--tasks",
        "feel",
        "--output_path",
        str(tmp_path / "out"),
    ]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr
    assert "|feel" in run.stdout
    [found] = (tmp_path / "out").rglob("results_*.json")
    assert json.loads(found.read_text())["results"]["feel"]["acc,none"] >= 0
    command[command.index(f"pretrained={folder}")] = "pretrained=nowhere"
    wrong = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert wrong.returncode == 1
    assert "Traceback" not in wrong.stderr
    assert wrong.stderr.strip().splitlines()[-1].startswith("error: 'nowhere' is neither")
