"""Configs of experiments that raise, exit, return nonsense, or are fine."""

from pathlib import Path
from random import Random

from tests.faults.answers import ask
from tests.faults.make_inputs import Input
from tests.faults.spoil import NASTY_TEXTS, hurt_bytes

PIECES = """
raise SystemExit(0)
import sys; sys.exit(3)
raise ValueError('a' * 9999)
1 / 0
def f(: pass
raise KeyError
import nothing_of_this_name
__doc__ = 7
DEVICE = 7
DEVICE = 'tpu-v99'
runs = 5
raise RecursionError('deep')
raise MemoryError
raise GeneratorExit
raise StopIteration
def runs(): return runs()
assert False
x = {}['y']
open('/nowhere/at/all')
raise OSError(2, 'no', 'x')
raise BrokenPipeError
raise UnicodeDecodeError('a', b'', 0, 1, 'b')
raise type('B', (BaseException,), {})('x')
""".strip().split("\n")
RETURNS = """
None
5
'runs'
[]
[None]
{}
iter([])
(x for x in [1, 2])
[RunConfig]
RunConfig
lambda: 1
object()
float('nan')
(1 / 0 for _ in [1])
range(10)
[good(), 5]
good()
[good()]
[good(n_tokens=-1)]
[good(n_tokens=0.5)]
[good(seed='a')]
[good(model=None)]
[good(optim=3)]
[good(n_tokens=10**400)]
[good(data=[])]
iter(int, 1)
[good(seed=-1)]
[good(n_tokens=float('inf'))]
""".strip().split("\n")
FINE = ("[good(n_tokens=262144)]", "(good(seed=i) for i in range(3))", "[good()]")
CONFIG = '''"""What?"""
from lora_jax.config import DataConfig, ModelConfig, OptimConfig, RunConfig
def good(**changes):
    model = ModelConfig(d_model=16, n_layers=1, n_heads=2, vocab_size=256, context=128)
    fields = dict(model=model, optim=OptimConfig(), data=DataConfig(), n_tokens=131072, seed=0)
    return RunConfig(**(fields | changes))
def runs():
    return RETURNED
'''


def config_input(rng: Random, folder: Path) -> Input:
    text = CONFIG.replace("RETURNED", rng.choice(RETURNS if rng.random() < 0.6 else FINE))
    if rng.random() < 0.3:
        lines = text.split("\n")
        lines.insert(rng.choice((2, len(lines))), rng.choice(PIECES))
        text = "\n".join(lines)
    if rng.random() < 0.2:
        text = text.replace("    return ", f"    {rng.choice(PIECES).replace(chr(10), '; ')}\n    return ")
    path = folder / rng.choice(("c.py",) * 9 + ("c", "c c.py", "...py"))
    path.write_bytes(hurt_bytes(rng, text.encode()) if rng.random() < 0.15 else text.encode())
    overrides = [f"{rng.choice(('n_tokens', 'seed', 'optim.batch_size', 'x'))}={rng.choice(NASTY_TEXTS)}"]
    argv = ["plan", str(path), *(overrides if rng.random() < 0.3 else [])]
    return Input(f"{argv} of {text[-200:]!r}", lambda: ask(argv))
