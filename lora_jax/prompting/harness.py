r"""EleutherAI's lm-evaluation-harness with our engine: its model "lora_jax", with or without an adapter.

It needs the extra `harness`. This is the harness's own command, with our model in its list:

    python -m lora_jax.prompting.harness --model lora_jax \
        --model_args pretrained=FOLDER,adapter=FILE --tasks NAME

We handle tokens, empty contexts, truncation and stop strings as its Hugging Face backend does
(lm_eval/models/huggingface.py, version 0.4.13). So scores can be compared. There is one difference. If a
tokenizer puts an end token behind every text (add_eos_token), our contexts and texts stay open, because
nothing follows an end.
"""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lora_jax.errors import LoraJaxError, nearest
from lora_jax.framing import Framing
from lora_jax.generation.adapters import load_engine
from lora_jax.generation.engine import Engine
from lora_jax.generation.generate import generate
from lora_jax.generation.likelihood import Request, score
from lora_jax.generation.sampling import GREEDY, Sampling
from lora_jax.huggingface.adapters.attaching import attach_adapter
from lora_jax.huggingface.pretrained import Pretrained, load_pretrained
from lora_jax.peft.checkpoint import load_adapter

# pyright: reportMissingImports=false
try:
    from lm_eval import utils
    from lm_eval.api.model import TemplateLM
    from lm_eval.api.registry import register_model
    from lm_eval.models.utils import (
        handle_stop_sequences,
        has_bos_prefix,
        normalize_gen_kwargs,
        postprocess_generated_text,
    )
    from tqdm import tqdm
except ImportError as error:
    raise LoraJaxError(
        f"lm-evaluation-harness is not there whole ({error}): install it with the extra harness, such as"
        " pip install 'lora-jax[harness]'."
    ) from None

BATCH_SIZE = 32
MAX_NEW = 256  # new tokens, if a task does not say
ARGUMENTS = (
    "pretrained",
    "adapter",
    "max_length",
    "prefix_token_id",
    "add_bos_token",
    "dtype",
    "batch_size",
)
DTYPES = ("auto", "float32", "bfloat16")
SAMPLED = ("temperature", "top_k", "top_p", "do_sample")
Encoded = tuple[tuple[str, str] | None, list[int], list[int]]  # texts, context, continuation


class LoraJaxLM(TemplateLM):
    """A model for lm-eval's harness.

    Args:
        pretrained: "smollm2", or a Hugging Face folder.
        adapter: An adapter's .safetensors, or a folder of peft.
        max_length: Tokens that are read at a time, at most the model's context.
        prefix_token_id: What replaces an empty context. By default the tokenizer's bos, otherwise its eos.
        add_bos_token: Whether the tokenizer puts its special tokens in front of a text. None follows the
            tokenizer's own file.
        dtype: Number type of the computation: "auto", "float32" or "bfloat16".
        batch_size: Prompts that are completed at a time, or "auto".
        max_batch_size: Largest batch size for "auto".
        device: Ignored, because the harness names cuda:0 unasked. JAX chooses the device.

    Raises:
        LoraJaxError: Something is missing or does not belong together, the model is an encoder, or an
            argument has no meaning.
    """

    def __init__(
        self,
        pretrained: str,
        adapter: str | None = None,
        max_length: int | None = None,
        prefix_token_id: int | None = None,
        add_bos_token: bool | None = None,
        dtype: str = "auto",
        batch_size: int | str | None = BATCH_SIZE,
        max_batch_size: int | None = None,
        device: str | None = None,
        **others: Any,
    ) -> None:
        super().__init__()
        for name in others:
            raise LoraJaxError(
                f"lora_jax takes no model argument {name!r}{nearest(name, ARGUMENTS)}: leave it out."
            )
        base, self._engine = load_model(str(pretrained), adapter, dtype)
        self._base, self._tokenizer, self._add_special = base, base.tokenizer, add_bos_token
        self._framing = Framing(base.tokenizer)
        self._prefix, self._end_ids = prefix_token_id, find_end_ids(base)
        self.max_length = choose_length(max_length, self._engine)
        self.batch_size = choose_batch_size(batch_size, max_batch_size)

    @property
    def eot_token_id(self) -> int:
        """The token that ends a text."""
        if self._tokenizer.eos_id is None:
            raise LoraJaxError(
                f"the tokenizer of {self._base.folder} has no token that ends a text, and the harness needs"
                " one: name its eos_token in tokenizer_config.json."
            )
        return self._tokenizer.eos_id

    @property
    def prefix_token_id(self) -> int:
        """The token that replaces an empty context."""
        if self._prefix is not None:
            return self._prefix
        return self.eot_token_id if self._tokenizer.bos_id is None else self._tokenizer.bos_id

    @property
    def tokenizer_name(self) -> str:
        """A name of the tokenizer, for the harness's caches."""
        return str(self._base.folder).replace("/", "__")

    def chat_template(self, chat_template: bool | str = False) -> str:
        """Return an empty template.

        Raises:
            LoraJaxError: A template is asked for.
        """
        if chat_template:
            self.apply_chat_template([])
        return ""

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """Refuse to write a chat template.

        Raises:
            LoraJaxError: Always.
        """
        raise LoraJaxError("lora_jax writes no chat templates: leave --apply_chat_template out.")

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        """Return the ids of a text, open at its end. What the tokenizer puts in front is there once."""
        if add_special_tokens is None:
            twice = has_bos_prefix(string, self._tokenizer.decode([self.prefix_token_id], special=True))
            add_special_tokens = not twice and self._add_special is not False
        return self._framing.prompt(string).ids if add_special_tokens else self._framing.plain(string)

    def _loglikelihood_tokens(
        self, requests: Sequence[Encoded], disable_tqdm: bool = False, **_: Any
    ) -> list[tuple[float, bool]]:
        """Return (log-probability in nats, whether it is greedy) for each request.

        Too long ones lose their start.
        """
        cut = [cut_left(context, continuation, self.max_length) for _, context, continuation in requests]
        with tqdm(total=len(cut), disable=disable_tqdm, desc="Likelihoods") as bar:

            def say(done: int, _: int) -> None:
                bar.update(done - bar.n)

            found = score(self._engine, cut, say=say).likelihoods if cut else []
        answers = [(likelihood.logprob, likelihood.is_greedy) for likelihood in found]
        for request, answer in zip(requests, answers, strict=True):
            if request[0] is not None:
                self.cache_hook.add_partial("loglikelihood", request[0], answer)
        return answers

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """Return the log-probability of whole texts, each read in windows of max_length tokens."""
        windows: list[Encoded] = []
        counts = []
        for request in requests:
            pairs = utils.get_rolling_token_windows(
                token_list=self.tok_encode(request.args[0]),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.max_length,
                context_len=1,
            )
            own: list[Encoded] = [(None, *utils.make_disjoint_window(pair)) for pair in pairs]
            windows += own
            counts.append(len(own))
        answers = iter(self._loglikelihood_tokens(windows, disable_tqdm))
        totals = [sum(next(answers)[0] for _ in range(count)) for count in counts]
        for request, total in zip(requests, totals, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, total)
        return totals

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Return the text that the model writes after each context, up to the first of its stop strings."""
        groups: dict[str, list[int]] = {}
        for number, request in enumerate(requests):
            groups.setdefault(json.dumps(request.args[1], sort_keys=True), []).append(number)
        found: dict[int, str] = {}
        with tqdm(total=len(requests), disable=disable_tqdm, desc="Texts") as bar:
            for numbers in groups.values():
                contexts = [requests[number].args[0] for number in numbers]
                found |= zip(numbers, self._write(contexts, requests[numbers[0]].args[1]), strict=True)
                bar.update(len(numbers))
        for number, request in enumerate(requests):
            self.cache_hook.add_partial("generate_until", request.args, found[number])
        return [found[number] for number in range(len(requests))]

    def _write(self, contexts: Sequence[str], wanted: dict[str, Any]) -> list[str]:
        wanted = dict(normalize_gen_kwargs(wanted, MAX_NEW))
        n_new, stop = wanted.pop("max_gen_toks"), wanted.pop("until")
        sampling = choose_sampling(wanted)
        room = self.max_length - n_new
        if room < 1:
            raise LoraJaxError(
                f"{n_new} new tokens are asked for, and {self.max_length} are read at a time, the prompt's"
                " among them: lower max_gen_toks."
            )
        stop = handle_stop_sequences(stop, eos=self._tokenizer.decode([self.eot_token_id], special=True))
        prompts = [(self.tok_encode(text) or [self.prefix_token_id])[-room:] for text in contexts]
        completions = generate(
            self._engine,
            prompts,
            n_new,
            sampling=sampling,
            end_ids=self._end_ids,
            stop=[text for text in stop if text],
            batch_size=self.batch_size,
            decode=lambda ids: self._tokenizer.decode(ids, special=True),
        )
        texts = [self._tokenizer.decode(completion.tokens) for completion in completions]
        return [postprocess_generated_text(text, stop, think_end_token=None) for text in texts]


# Call it here and not as a decorator. Without lm-eval, a type checker would lose the class's type.
register_model("lora_jax")(LoraJaxLM)


def load_model(pretrained: str, adapter: str | None, dtype: Any = "auto") -> tuple[Pretrained, Engine]:
    """Return a base, and an engine of it with the adapter.

    Raises:
        LoraJaxError: Something is missing, or the two do not belong together.
    """
    if dtype not in DTYPES:
        raise LoraJaxError(f"dtype is {dtype!r}{nearest(str(dtype), DTYPES)}: choose among {DTYPES}.")
    base = load_pretrained(pretrained)
    config = replace(base.config, compute_dtype=dtype)
    if adapter is None:
        return base, load_engine(config, base.params)
    path = Path(adapter).expanduser()
    if not path.exists():
        raise LoraJaxError(f"there is no adapter {path}: give a .safetensors of a run, or a peft folder.")
    if path.is_dir():
        found = attach_adapter(path, replace(base, config=config))
        model, weights = found.base.config, found.base.params
        return base, load_engine(model, weights, [(found.method, found.trainable)])
    return base, load_engine(config, base.params, [load_adapter(path, base.fingerprint, config)])


def cut_left(context: Sequence[int], continuation: Sequence[int], max_length: int) -> Request:
    """Return a request of at most max_length tokens besides the last.

    The first tokens of the context are dropped.

    Raises:
        LoraJaxError: The continuation alone is longer.
    """
    if len(continuation) > max_length:
        raise LoraJaxError(
            f"a continuation has {len(continuation)} tokens, and {max_length} are read at a time: raise"
            " max_length, or choose a model with a longer context."
        )
    return Request(context[-(max_length + 1 - len(continuation)) :], continuation)


def find_end_ids(base: Pretrained) -> list[int]:
    """Return the tokens that end a generated text."""
    return list(base.tokenizer.end_ids)


def choose_sampling(wanted: dict[str, Any]) -> Sampling:
    """Return how tokens are drawn, from the harness's arguments.

    Raises:
        LoraJaxError: We do not know an argument.
    """
    for name in wanted:
        if name not in SAMPLED:
            raise LoraJaxError(
                f"lora_jax knows no generation argument {name!r}{nearest(name, SAMPLED)}: leave it out of the"
                " task's generation_kwargs."
            )
    temperature = float(wanted.get("temperature", 1.0))
    if not wanted.get("do_sample") or temperature == 0:
        return GREEDY
    return Sampling(temperature, wanted.get("top_k"), wanted.get("top_p"))


def choose_length(max_length: int | None, engine: Engine) -> int:
    """Return how many tokens are read at a time: as asked, otherwise the whole context.

    Raises:
        LoraJaxError: The number does not fit the model's context.
    """
    if max_length is None:
        return engine.room
    if not 1 <= int(max_length) <= engine.room:
        raise LoraJaxError(
            f"max_length is {max_length}, but it must lie from 1 to the {engine.room} tokens of the model's"
            " context: change it."
        )
    return int(max_length)


def choose_batch_size(batch_size: int | str | None, most: int | None) -> int:
    """Return how many prompts are completed at a time. "auto" is BATCH_SIZE, at most `most`.

    Likelihoods choose their own batches by size.

    Raises:
        LoraJaxError: It is no whole number from 1 and not "auto".
    """
    if batch_size is None or str(batch_size).startswith("auto"):
        return min(BATCH_SIZE, most or BATCH_SIZE)
    if not str(batch_size).isdigit() or int(batch_size) < 1:
        raise LoraJaxError(
            f"batch_size is {batch_size!r}, but it must be a whole number from 1 or auto: change it."
        )
    return int(batch_size)


def main(arguments: Sequence[str] | None = None, run: Callable[[], None] | None = None) -> int:
    """Run the harness's own command with our model in its list. A user's mistake becomes one line."""
    from lm_eval.__main__ import cli_evaluate

    if arguments is not None:
        sys.argv = ["lm_eval", *arguments]
    try:
        (run or cli_evaluate)()
    except LoraJaxError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
