"""Training on a mesh is training: the same losses on 1 and 8 devices, in 1 and 2 processes, restarted."""

import json
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from jax.sharding import AbstractMesh, AxisType, PartitionSpec

from lora_jax.config import LLAMA, ModelConfig, OptimConfig, RunConfig
from lora_jax.errors import LoraJaxError
from lora_jax.model.declare import declare
from lora_jax.training.mesh import (
    MESH_AXES,
    check_mesh,
    make_mesh,
    mesh_of_devices,
    parse_mesh,
    state_shardings,
    weight_shardings,
)
from lora_jax.training.pretraining import init_pretraining
from tests.compilation import with_devices

PROGRAM = Path(__file__).with_name("steps_on_mesh.py")
MESHES = ["data=8", "fsdp=8", "tensor=2,fsdp=4", "data=2,fsdp=2,tensor=2"]
MODEL: dict[str, Any] = dict(
    d_model=32, n_layers=2, n_heads=4, n_kv_heads=2, vocab_size=64, context=16, **LLAMA
)


def start(n_devices: int, *arguments: str) -> subprocess.Popen[str]:
    environment = with_devices(n_devices) | {"PYTHONPATH": str(PROGRAM.parents[2])}
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def read(process: subprocess.Popen[str]) -> np.ndarray:
    """Return the losses that the program printed, none where it printed none."""
    out, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    told = [line.partition("losses ")[2] for line in out.splitlines() if "losses " in line]
    return np.array([loss for line in told for loss in json.loads(line)])


@pytest.mark.slow
def test_a_mesh_trains_to_the_same_losses() -> None:
    whole, spread = start(1, "", "0", "3", "", ""), start(8, MESHES[-1], "0", "3", "", "")
    np.testing.assert_allclose(read(spread), read(whole), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("mesh", ["fsdp=8", MESHES[-1]])
def test_a_mesh_of_accelerators_trains_to_the_same_losses(mesh: str) -> None:
    """Weights are gathered and embeddings exchanged there, not so on a mesh of CPUs; with either head."""
    none = "", "1", "0", "", "v5e:2x4"
    whole, spread = start(1, "", "0", "3", "", "", *none), start(8, mesh, "0", "3", "", "", *none)
    np.testing.assert_allclose(read(spread), read(whole), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("mesh", ["fsdp=2", MESHES[-1]])
def test_muon_of_sharded_matrices_is_muon(mesh: str) -> None:
    """On fsdp=2 each layer's matrix is on one device; with tensor parallelism it is split."""
    none = "", "1", "0", "muon"
    n_devices = 2 if mesh == "fsdp=2" else 8
    whole, spread = start(1, "", "0", "3", "", "", *none), start(n_devices, mesh, "0", "3", "", "", *none)
    np.testing.assert_allclose(read(spread), read(whole), rtol=1e-5)


@pytest.mark.slow  # starts six programs
def test_checkpoints_move_between_meshes_and_processes(tmp_path: Path) -> None:
    whole = read(start(1, "", "0", "6", "", ""))
    saved = ""
    for number, text in enumerate(MESHES):
        first, saved = saved, str(tmp_path / str(number))
        begin, end = number, number + 1
        losses = read(start(8, text, str(begin), str(end), first, saved))
        np.testing.assert_allclose(losses, whole[begin:end], rtol=1e-5)
    np.testing.assert_allclose(read(start(1, "", "4", "6", saved, "")), whole[4:], rtol=1e-5)


@pytest.mark.slow  # starts five programs
def test_two_processes_train_to_the_same_losses(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    given = (MESHES[-1], "0", "4", "", str(tmp_path), port, "2")
    first, second = (start(4, *given, number) for number in "01")
    losses = read(first)
    assert read(second).size == 0, "both processes write"
    np.testing.assert_allclose(losses, read(start(1, "", "0", "4", "", "")), rtol=1e-5)
    np.testing.assert_allclose(
        read(start(1, "", "4", "6", str(tmp_path), "")), read(start(1, "", "0", "6", "", ""))[4:], rtol=1e-5
    )


def mesh_of(text: str) -> Any:
    """A mesh of devices that are not there: enough to say where an array would lie."""
    return AbstractMesh(tuple(parse_mesh(text).values()), MESH_AXES, (AxisType.Auto,) * 3)


def test_weights_and_their_moments_lie_where_their_axes_say() -> None:
    model = ModelConfig(**MODEL)
    specs, mesh = declare(model), mesh_of("fsdp=4,tensor=2")
    places = weight_shardings(mesh, specs)
    assert places["blocks/attn/q"].spec == PartitionSpec(None, "fsdp", "tensor")
    assert places["blocks/mlp/down"].spec == PartitionSpec(None, "tensor", "fsdp")
    assert places["embed/tokens"].spec == PartitionSpec("tensor", "fsdp")
    state = jax.eval_shape(lambda: init_pretraining(model, OptimConfig(), 0))
    found = state_shardings(mesh, specs, state)
    moments: Any = found.opt_state[1]
    assert found.trainable == moments.mu == moments.nu == places
    assert found.step.spec == moments.count.spec == PartitionSpec()


@pytest.mark.parametrize(
    ("mesh", "shape", "batch", "words"),
    [
        ("tensor=2", {"n_heads": 3, "n_kv_heads": 3, "d_model": 48}, 8, r"3 heads .* in 2 \(tensor=2\)"),
        ("tensor=4", {"n_heads": 4, "n_kv_heads": 2}, 8, r"attn/k has 2 kv_heads .* in 4 \(tensor=4\)"),
        ("fsdp=3", {}, 9, r"has 32 d_model .* in 3 \(fsdp=3\)"),
        ("tensor=2", {"vocab_size": 65}, 8, r"embed/tokens has 65 vocab .* in 2 \(tensor=2\)"),
        ("data=2,fsdp=4", {}, 12, r"batch_size is 12 and the mesh splits it in 8 .* multiple of 8"),
    ],
)
def test_a_mesh_that_does_not_divide_is_refused_with_the_numbers(
    mesh: str, shape: dict[str, int], batch: int, words: str
) -> None:
    run = RunConfig(
        model=ModelConfig(**{**MODEL, "context": 128, **shape}),
        optim=OptimConfig(batch_size=batch),
        n_tokens=10**6,
    )
    with pytest.raises(LoraJaxError, match=words):
        check_mesh(mesh_of(mesh), run)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("data=2,fsdp=4", "of 8 devices and JAX sees 1"),
        ("rows=2", "no axis 'rows'.*such as data=2"),
        ("fsdp=0", "'fsdp', is 0, but it must be a whole number from 1"),
        ("fsdp", "'fsdp', is '', but it must be a whole number from 1"),
        ("fsdp=2,fsdp=4", "'fsdp' twice"),
    ],
)
def test_a_mesh_that_is_not_there_is_refused(text: str, words: str) -> None:
    with pytest.raises(LoraJaxError, match=words):
        make_mesh(text)


def test_without_a_word_all_devices_are_one_mesh() -> None:
    assert dict(make_mesh().shape) == {"data": 1, "fsdp": 1, "tensor": 1}


@dataclass(frozen=True)
class Chip:
    """What JAX reads of a TPU to arrange it. A slice of 4x4 is four machines of 2x2."""

    id: int
    coords: tuple[int, int, int]
    process_index: int
    platform: str = "tpu"
    device_kind: str = "TPU v5 lite"
    core_on_chip: int = 0


def test_a_target_is_arranged_as_the_machine_arranges_itself_with_neighbours_side_by_side() -> None:
    corners = [(x, y) for y in (0, 2) for x in (0, 2)]
    places = [(left + x, low + y) for left, low in corners for y in (0, 1) for x in (0, 1)]
    chips: list[Any] = [Chip(x + 4 * y, (x, y, 0), at // 4) for at, (x, y) in enumerate(places)]
    mesh = mesh_of_devices("data=4,fsdp=4", chips, "tpu-v5e:4x4")
    for row in mesh.devices.reshape(4, 4):
        assert len({chip.coords[0] for chip in row}) == 1 or len({chip.coords[1] for chip in row}) == 1
    assert mesh_of_devices(None, jax.devices(), "this machine") == make_mesh()
