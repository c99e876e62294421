"""Commands that run experiments, asked what they would do: configs of three kinds, and every option."""

import re
from collections.abc import Mapping
from pathlib import Path
from random import Random

from tests.faults.answers import ask
from tests.faults.make_configs import CONFIG, PIECES
from tests.faults.make_inputs import Input, list_options
from tests.faults.spoil import NASTY_TEXTS, hurt_bytes

FINETUNE = '''"""What?"""
from lora_jax.config import TaskConfig
from lora_jax.finetuning.config import FinetuneSweep, TuneConfig
from lora_jax.peft.methods.lora import LoRA
from lora_jax.peft.methods.subset import NormTuning
def sweep():
    return FinetuneSweep(
        base=BASE,
        task=TaskConfig(name=TASK, max_tokens=16),
        methods={"LoRA": LoRA(rank=2, targets=("q", "v")), "norms": NormTuning()},
        rates={"LoRA": (1e-3, 3e-3), "norms": (1e-2,)},
        optim=TuneConfig(batch_size=4, epochs=1, evaluations=1),
        seeds=(0, 1),
    )
'''
STUDY = '''"""What?"""
from lora_jax.config import TaskConfig
from lora_jax.finetuning.config import TuneConfig
from lora_jax.finetuning.study import Arm, FinetuneStudy
from lora_jax.peft.methods.lora import LoRA
from lora_jax.peft.methods.subset import Full
def study():
    return FinetuneStudy(
        bases={"small": BASE},
        arms=(
            Arm(
                task=TaskConfig(name=TASK, max_tokens=16),
                n_train=(4, 6),
                methods={"full": Full(), "LoRA": LoRA(rank=2, targets=("all",))},
                rates={"full": (1e-3,), "LoRA": (1e-3, 3e-3)},
                optim=TuneConfig(batch_size=2, epochs=1, evaluations=1),
                seeds=(0, 1),
            ),
        ),
    )
'''
INCONTEXT = '''"""What?"""
from lora_jax.prompting.incontext.config import InContextConfig, ShotPlan, TaskPlan
from lora_jax.prompting.prompt import Prompt
def comparison():
    prompt = Prompt("{text} is:", ("good", "bad"))
    return InContextConfig(
        tasks={"films": TaskPlan(name=TASK, prompt=prompt, n_dev=6, n_test=6, max_tokens=16)},
        shots=(ShotPlan(base=BASE, ks=(0, 1), draws=(0, 1)),),
    )
'''
DRIVERS = {
    "scaling": (
        CONFIG.replace("RETURNED", "[good()]"),
        ("n_tokens", "seed", "optim.batch_size", "data.seq_len"),
    ),
    "finetune": (
        FINETUNE,
        ("seeds", "base", "optim.batch_size", "optim.epochs", "task.name", "task.max_tokens"),
    ),
    "finetune_laws": (STUDY, ()),
    "incontext": (INCONTEXT, ()),
}
WRITES = {"--out", "--report"}  # where it writes is ours to say; a report wants runs


def drive_input(rng: Random, folder: Path, places: Mapping[str, Path]) -> Input:
    """Return a command's dry run with one thing or two wrong: a value, a line, the bytes, an option."""
    name = rng.choice(list(DRIVERS))
    text, fields = DRIVERS[name]
    text = text.replace("BASE", repr(str(places["base"]))).replace("TASK", repr(f"files:{places['task']}"))
    said = rng.choice((_spoil_value, _spoil_value, _insert_line, _leave))(rng, text)
    path = folder / "c.py"
    path.write_bytes(hurt_bytes(rng, said.encode()) if rng.random() < 0.1 else said.encode())
    argv = [name, str(path)]
    if fields and rng.random() < 0.4:
        argv.append(f"{rng.choice((*fields, 'x'))}={_nasty(rng)}")
    if rng.random() < 0.4:
        actions = [action for command, action in list_options() if command == name and action.option_strings]
        action = rng.choice([one for one in actions if not {*one.option_strings} & WRITES])
        argv += [action.option_strings[0]] if action.nargs == 0 else [action.option_strings[0], _nasty(rng)]
    argv += ["--dry-run", "--out", str(folder / "o")]
    return Input(f"{argv} of {said[-900:]!r}", lambda: ask(argv))


def _nasty(rng: Random) -> str:
    return rng.choice(NASTY_TEXTS).replace("\0", "")


def _leave(rng: Random, text: str) -> str:
    return text


def _spoil_value(rng: Random, text: str) -> str:
    """Give one of the arguments of the configuration another value."""
    spots = list(re.finditer(r"(?<=[a-z]=)(\d+|'[^']*'|\([^()]*\)|None)", text))
    spot = rng.choice(spots)
    value = rng.choice(
        ("-1", "0", "None", "10**400", "float('nan')", "''", "[]", "{}", "0.5", "(0, 0)", "True", "object()")
    )
    return text[: spot.start()] + value + text[spot.end() :]


def _insert_line(rng: Random, text: str) -> str:
    return text.replace("    return ", f"    {rng.choice(PIECES)}\n    return ")
