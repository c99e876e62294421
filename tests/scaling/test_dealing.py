"""Work dealt to forked processes: the same answers, and what becomes of mistakes, kills and Ctrl-C.

A test's own process has threads and JAX and is not forked, so each script here is a program of its own.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from lora_jax.scaling.progress import Watcher, stand_still

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")
HEAD = """
import os, signal, sys, threading, time, warnings
warnings.simplefilter("error")
from lora_jax.errors import LoraJaxError, ProcessLost
from lora_jax.scaling import dealing
from lora_jax.scaling.progress import Watcher
os.sched_getaffinity = lambda _: set(range(3))
mine = os.getpid()
def check_no_child():
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return
    raise AssertionError("a child is left")
"""


def run(script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", HEAD + script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_answers_come_in_their_order_from_processes_of_their_own() -> None:
    run("""
def work(part, tell):
    tell(part)
    time.sleep(0.1 if part == 0 else 0)  # the first part ends last
    return part, os.getpid()

told = []
answers = dealing.deal(work, range(7), told.append)
assert [part for part, _ in answers] == list(range(7))
assert len({pid for _, pid in answers} - {mine}) == 7
assert sorted(told) == list(range(7))
check_no_child()
""")


@pytest.mark.bits
def test_the_number_of_processes_changes_no_bit() -> None:
    """Of refits of few rows and of many, by one process, two and three, and by threads."""
    run("""
import numpy as np
from lora_jax.scaling.fitting import newton
from lora_jax.scaling.fitting.descent import Limits
from lora_jax.scaling.fitting.problem import pose
from lora_jax.scaling.laws import LAWS
from lora_jax.scaling.tables.table import make_table

forks, start = [], dealing._start
dealing._start = lambda *given: forks.append(1) or start(*given)
for name, rows in (("chinchilla", 8), ("shared-exponent", 120)):
    rng = np.random.default_rng(rows)
    n, d = (np.exp(rng.uniform(low, low + 5, rows)) for low in (17, 21))
    table = make_table("t", n_params=n, n_tokens=d, loss=2 + 400 * n**-0.3 + 900 * d**-0.3)
    problem = pose(LAWS[name], table, "squared")
    data = problem.data
    measured = data.log_loss + 0.004 * rng.standard_normal((300, rows))
    data = newton.Data(data.law, data.features, measured, data.weights)
    begin = data.law.starts(data.features, measured[0], lambda theta: -theta[:, 0], {})[:1]
    found = {}
    for cores in (1, 2, 3):
        os.sched_getaffinity = lambda _: set(range(cores))
        forks.clear(), (told := []).clear()
        found[cores] = newton.solve(
            data, problem.goal, np.repeat(begin, 300, 0), problem.bounds, limits=Limits(8), done=told.append
        )
        assert len(forks) == (0 if cores == 1 else cores), (cores, forks)
        assert sum(told) == 300
    sys.modules["jax"] = None
    found["threads"] = newton.solve(
        data, problem.goal, np.repeat(begin, 300, 0), problem.bounds, limits=Limits(8)
    )
    del sys.modules["jax"]
    assert len(np.unique(found[1].value)) == 300
    for other in found.values():
        for ours, theirs in zip(vars(other).values(), vars(found[1]).values(), strict=True):
            assert (ours == theirs).all()
check_no_child()
""")


@pytest.mark.bits
def test_laws_compared_and_figures_drawn_by_several_processes_are_the_same(tmp_path: Path) -> None:
    run(f"""
from pathlib import Path
import numpy as np
from lora_jax.report.fit.figures import draw_comparison
from lora_jax.report.kit.drawing import save_figures
from lora_jax.scaling.comparing.comparison import compare
from lora_jax.scaling.tables.table import make_table

forks, start = [], dealing._start
dealing._start = lambda *given: forks.append(1) or start(*given)
rng = np.random.default_rng(0)
n, d = (np.exp(rng.uniform(low, low + 5, 24)) for low in (17, 21))
table = make_table("t", n_params=n, n_tokens=d, loss=2 + 400 * n**-0.3 + 900 * d**-0.3)
reports, files = [], []
for cores in (1, 2):
    os.sched_getaffinity = lambda _: set(range(cores))
    forks.clear()
    reports.append(compare(table, ["chinchilla", "power-c", "kaplan"]).report())
    saved = save_figures(list(draw_comparison(reports[-1])), Path({str(tmp_path)!r}) / str(cores))
    assert len(forks) == (0 if cores == 1 else 5), forks
    files.append([path.read_bytes() for one in saved for path in (one.png, one.svg)])
assert repr(reports[0]) == repr(reports[1])
assert files[0] == files[1]
check_no_child()
""")


def test_a_killed_child_is_a_sentence_and_leaves_no_process() -> None:
    said = run("""
def work(part, tell):
    if part == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)

begun = time.monotonic()
try:
    dealing.deal(work, range(3))
except ProcessLost as lost:
    print(lost)
assert time.monotonic() - begun < 20, "the others are not waited for"
check_no_child()
""")
    assert "ended by SIGKILL before its answer was there" in said
    assert "run the same command again" in said


def test_what_a_child_raises_is_raised_here() -> None:
    run("""
def work(part, tell):
    if part == 2:
        raise LoraJaxError("give more rows.")
    time.sleep(60)

try:
    dealing.deal(work, range(3))
except LoraJaxError as error:
    assert str(error) == "give more rows."
else:
    raise AssertionError
check_no_child()
""")


def test_a_process_with_other_threads_or_with_jax_is_not_forked() -> None:
    """But one with a thread that only shows progress is, and its warning of Python 3.12 is not shown."""
    run("""
def where(part, tell):
    return os.getpid()

def forks():
    return set(dealing.deal(where, range(3))) != {mine}

assert forks()
watcher = Watcher(lambda: 0.001, 0.001)
watcher.start()
assert all(forks() for _ in range(20))
ended = threading.Event()
thread = threading.Thread(target=ended.wait)
thread.start()
assert not forks()
ended.set()
thread.join()
assert forks()
sys.modules["jax"] = None
assert not forks()
del sys.modules["jax"]
inside = dealing.deal(lambda part, tell: dealing.may_fork(), range(2))
assert inside == [False, False], "a child deals nothing"
os.sched_getaffinity = lambda _: {0}
assert not forks()
watcher.end()
""")


def test_a_watcher_stands_still_and_goes_on() -> None:
    looks: list[float] = []

    def look() -> float:
        looks.append(time.monotonic())
        return 0.001

    watcher = Watcher(look, 0.001)
    watcher.start()
    with stand_still():
        seen = len(looks)
        time.sleep(0.1)
        assert len(looks) == seen
    time.sleep(0.1)
    assert len(looks) > seen
    watcher.end()
    watcher.join()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM], ids=lambda s: s.name)
def test_a_signal_ends_a_fit_and_its_processes_with_one_line(signum: signal.Signals, tmp_path: Path) -> None:
    """As Ctrl-C sends it, to the whole group, while the refits run in children."""
    n = np.geomspace(1e7, 1e10, 8)
    loss = (1.8 + 480 * n**-0.35 + 2100 * (20 * n) ** -0.37) * np.exp(0.005 * np.cos(9 * np.arange(8)))
    rows = [f"{a!r},{20 * a!r},{b!r}" for a, b in zip(n.tolist(), loss.tolist(), strict=True)]
    (tmp_path / "runs.csv").write_text("\n".join(["n_params,n_tokens,loss", *rows]) + "\n")
    start = (
        "import os, sys\nos.sched_getaffinity = lambda _: {0, 1}\n"
        "from lora_jax.cli import main\nsys.exit(main())"
    )
    words = ["fit", str(tmp_path / "runs.csv"), "--law", "chinchilla", "--bootstrap", "100000"]
    program = subprocess.Popen(
        [sys.executable, "-c", start, *words],
        cwd=ROOT,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    children: list[int] = []
    until = time.monotonic() + 300
    while len(children) < 2 and program.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
        listed = Path(f"/proc/{program.pid}/task/{program.pid}/children")
        children = [int(pid) for pid in listed.read_text().split()] if listed.exists() else []
    if len(children) < 2:
        program.kill()
    assert len(children) == 2, program.communicate()
    time.sleep(0.2)
    os.killpg(program.pid, signum)
    out, err = program.communicate(timeout=60)
    assert program.returncode == 128 + signum
    assert out == ""
    *progress, line = err.splitlines()
    assert f"stopped by {signum.name}" in line
    seen = [words for words in progress if "L(N,D)" not in words and words != "starting"]
    assert seen == [], "a busy machine shows its progress, and nobody a stack trace"
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)
