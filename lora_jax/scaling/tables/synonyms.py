"""Other people's names for N, D, C and the loss, with units: `num_params`, `tokens (B)`, `GFLOPs`."""

import math
import re
from dataclasses import dataclass

from lora_jax.scaling.tables.columns import KNOWN, UNIT_SPELLINGS
from lora_jax.scaling.tables.units import PLAIN, Unit, read_factor

# exact names, in lower case with one underscore between words. The user maps other names by hand.
SYNONYMS = {
    "n_params": (
        "params", "parameters", "n_parameters", "nparams", "num_params", "num_parameters", "param_count",
        "params_count", "parameter_count", "model_size", "model_params", "model_parameters", "N",
    ),
    "n_params_total": (
        "params_total", "total_params", "total_parameters", "num_params_total", "num_total_params",
    ),
    "non_embedding": (
        "params_non_embedding", "non_embedding_params", "non_embedding_parameters", "n_params_non_embedding",
        "num_non_embedding_params", "n_non_embedding", "n_non_embed", "params_no_embed", "n_no_embed",
        "non_emb_params", "params_non_emb",
    ),
    "n_tokens": (
        "tokens", "total_tokens", "train_tokens", "training_tokens", "trained_tokens", "num_tokens",
        "token_count", "tokens_seen", "tokens_trained", "num_train_tokens", "n_train_tokens", "D",
    ),
    "flops": (
        "flop", "compute", "total_flops", "total_flop", "train_flops", "training_flops", "train_flop",
        "training_flop", "flops_total", "num_flops", "n_flops", "total_compute", "train_compute",
        "training_compute", "compute_budget", "flops_budget", "C",
    ),
    "loss": (
        "val_loss", "valid_loss", "validation_loss", "eval_loss", "test_loss", "final_loss",
        "final_val_loss", "final_eval_loss", "L",
    ),
    "trainable_params": (
        "n_trainable", "trainable", "num_trainable", "trainable_parameters", "n_trainable_params",
        "num_trainable_params", "num_trainable_parameters",
    ),
    "finetune_tokens": (
        "finetuning_tokens", "fine_tuning_tokens", "fine_tune_tokens", "ft_tokens", "n_finetune_tokens",
    ),
    "pretraining_tokens": ("pretrain_tokens", "pretrained_tokens", "pre_training_tokens", "base_tokens"),
    "bits": ("bits_per_byte", "bpb", "val_bpb", "eval_bpb", "test_bpb", "final_bpb"),
}  # fmt: skip
STANDS_FOR = {"non_embedding": "n_params"}  # groups that are not named after our column
COUNTED = ("n_params", "n_params_with_head", "n_params_total", "n_tokens", "flops")
_LETTERS = {"N": "n_params", "D": "n_tokens", "C": "flops", "L": "loss"}
_WORDS = {name: group for group, names in SYNONYMS.items() for name in names if len(name) > 1} | {
    name: name for name in (*COUNTED, "loss")
}
_RATES = ("throughput", "perf", "speed", "timing", "performance")
_FLOPS_NAME = re.compile(
    r"(?:total|train|training|model)?_?((?:[kmgtpezy]|kilo|mega|giga|tera|peta|exa|zetta)_?flops?)"
)
_LOG = re.compile(r"(log10|log_10|lg|log2|log_2|loge|ln|log)(?:[ _]+|(?=[(\[]))[(\[]?\s*(.+?)\s*[)\]]?")
_LOG_AFTER = re.compile(r"(.+?)(?:\s*[(\[]\s*(log10|lg|log2|ln|log)\s*[)\]]|[ _](log10|log2|ln|log))")
_BASES = {"log10": 10.0, "log_10": 10.0, "lg": 10.0, "log2": 2.0, "log_2": 2.0, "loge": math.e, "ln": math.e}


@dataclass(frozen=True)
class Meaning:
    """What a column's name means.

    Attributes:
        group: A group of SYNONYMS, or one of our own names.
        unit: Unit of the cells.
        loss_unit: Unit of a loss, if the name states it, as in "loss (bits/byte)".
    """

    group: str
    unit: Unit = PLAIN
    loss_unit: str | None = None

    @property
    def ours(self) -> str:
        """Our name for the column."""
        return STANDS_FOR.get(self.group, self.group)


def meaning_of(header: str) -> Meaning | None:
    """Return what a column's name means.

    None if we do not know. The last part of a path counts, as in `eval/loss`.
    """
    found = _mean(header)
    if found is None and "/" in header:
        *path, last = header.split("/")
        found = _mean(last)
        if found is not None and found.group not in SYNONYMS:
            return None  # `optim/learning_rate` may be one of several
        if found is not None and found.group == "flops" and "total" not in last.lower():
            named = {word for part in path for word in re.split(r"[_\W]+", part.lower())}
            if named & set(_RATES):  # throughput/tflops is a rate
                return None
    return found


def unit_of_name(header: str, ours: str) -> Unit:
    """Return the unit that the name of a mapped column states. It is plain if the name states none."""
    found = meaning_of(header)
    if found is not None and (found.ours == ours or {found.ours, ours} <= set(COUNTED[:3])):
        return found.unit
    if ours not in COUNTED:
        return PLAIN
    bracket = _in_brackets(header)
    factor = None if bracket is None else read_factor(bracket[1], ours == "flops")
    if factor is None:
        words = re.fullmatch(
            r".*?[ _](?:in[ _])?(thousand|million|billion|trillion)s?", header.strip().lower()
        )
        factor = None if words is None else read_factor(words[1])
    return PLAIN if factor is None else Unit(factor)


def _mean(header: str) -> Meaning | None:
    text = header.strip()
    if text in _LETTERS:
        return Meaning(_LETTERS[text])
    letter = re.fullmatch(r"(log10|log2|lg|ln|log)([NDC])", text)
    if letter is not None:
        return Meaning(_LETTERS[letter[2]], Unit(base=_BASES.get(letter[1], math.nan)))
    log = _LOG.fullmatch(text.lower()) or _LOG_AFTER.fullmatch(text.lower())
    if log is not None and log.re is _LOG:
        kind, start, end = log[1], log.start(2), log.end(2)
    elif log is not None:
        kind, start, end = log[2] or log[3], log.start(1), log.end(1)
    else:
        return _mean_linear(text)
    inner = _mean_linear(text[start:end])
    if inner is None or inner.ours not in COUNTED:
        return None
    return Meaning(inner.group, Unit(inner.unit.factor, _BASES.get(kind, math.nan)))


def _mean_linear(text: str) -> Meaning | None:
    if text in _LETTERS:
        return Meaning(_LETTERS[text])
    words = _normalise(text)
    if words in _WORDS:
        return Meaning(_WORDS[words])
    if text.lower() in KNOWN:
        return Meaning(text.lower())
    factor = read_factor(text, flops=True) if "day" in words or "hour" in words else None
    if factor is not None:
        return Meaning("flops", Unit(factor))
    flops = _FLOPS_NAME.fullmatch(words)
    if flops is not None:
        factor = read_factor(flops[1].replace("_", ""), flops=True)
        return None if factor is None else Meaning("flops", Unit(factor))
    for noun, unit in _divisions(text, words):
        group = _LETTERS.get(noun) or _WORDS.get(_normalise(noun))
        if group == "loss" and unit.lower() in UNIT_SPELLINGS:
            return Meaning(group, loss_unit=UNIT_SPELLINGS[unit.lower()])
        if group is not None and group != "loss":
            factor = read_factor(unit, flops=group == "flops")
            if factor is not None:
                return Meaning(group, Unit(factor))
    return None


def _divisions(text: str, words: str) -> list[tuple[str, str]]:
    """Return the ways to divide a name into a noun and a unit, the most certain first."""
    bracket = _in_brackets(text)
    found = [bracket] if bracket is not None else []
    found += [m for sign in (",", " in ", "/") if (m := tuple(text.rsplit(sign, 1))) and len(m) == 2]
    parts = words.split("_")
    found += [("_".join(parts[:i]), "_".join(parts[i:])) for i in range(len(parts) - 1, 0, -1) if i > 0]
    before = re.fullmatch(
        r"((?:thousand|million|billion|trillion)s?_|[kmbgt](?=params|tokens))(?:of_)?(.+)", words
    )
    if before is not None:
        found.append((before[2], before[1].strip("_")))
    return [(noun, unit.removeprefix("in_")) for noun, unit in found if noun]


def _in_brackets(text: str) -> tuple[str, str] | None:
    found = re.fullmatch(r"(.*?)[\s_]*[(\[{]\s*(.+?)\s*[)\]}]", text.strip())
    return None if found is None or not found[1] else (found[1], found[2])


def _normalise(text: str) -> str:
    """Return a name in lower case with one underscore between words: "Total Tokens" becomes total_tokens."""
    text = re.sub(r"^\s*(?:#|number[ _]of|no\.?[ _]of|num[ _]of)[ _]*", "", text, flags=re.IGNORECASE)
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", text.strip())
    return re.sub(r"[\s\-._()\[\]{}]+", "_", apart).lower().strip("_")
