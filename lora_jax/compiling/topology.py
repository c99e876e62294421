"""Devices that are not here, as XLA's compilers know them: what they need, and their descriptions."""

import importlib.util
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lora_jax.errors import LoraJaxError
from lora_jax.target import Target

# The modules that compile for a platform; lora_jax/extras.py has the extras that install them.
NEEDED: Mapping[str, Sequence[str]] = {
    "tpu": ("libtpu",),
    "gpu": ("jax_cuda12_plugin", "jax_plugins.xla_cuda12", "nvidia.cudnn"),
}
# With these no device is asked for. Otherwise a TPU's compiler would wait for a service of Google's cloud
# that names its slice. The compilation cache is only for devices that are here.
ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "JAX_ENABLE_COMPILATION_CACHE": "false",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # another process may compile beside this one
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_STDERR_LOG_LEVEL": "3",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}


@dataclass(frozen=True)
class _Cores:
    """What XLA asks about a GPU (its GpuTargetConfigProto) that lora_jax/target.py does not have."""

    name: str
    n_cores: int
    fpus_per_core: int
    shared_memory_per_core: int
    shared_memory_per_block: int
    l2_cache_bytes: int
    memory_bytes: int


GPUS: Mapping[str, _Cores] = {
    "a100-80gb": _Cores("NVIDIA A100-SXM4-80GB", 108, 64, 167936, 166912, 41943040, 84987740160),
    "h100-80gb": _Cores("NVIDIA H100 80GB HBM3", 132, 128, 233472, 232448, 52428800, 84929347584),
    "h200": _Cores("NVIDIA H200", 132, 128, 233472, 232448, 62914560, 150110011392),
}


def require_compiler(target: Target) -> None:
    """Check that the packages that compile for a target are here.

    Raises:
        ModuleNotFoundError: One is missing.
    """
    for module in NEEDED[target.platform]:
        if not _is_here(module):
            raise ModuleNotFoundError(f"No module named {module!r}", name=module)


def _is_here(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # its parent is missing
        return False


def environment() -> dict[str, str]:
    """Return the environment of a process that compiles. It must be set before JAX is imported."""
    return {**os.environ, **ENVIRONMENT}


def target_devices(target: Target) -> Sequence[Any]:
    """Return the devices of a target. Programs can be compiled for them but not run on them.

    Raises:
        LoraJaxError: The compiler does not know such a slice.
    """
    from jax.errors import JaxRuntimeError
    from jax.experimental import topologies

    try:
        if target.platform == "gpu":
            shape = f"1x{target.n_hosts}x{target.n_devices // target.n_hosts}"
            found = topologies.get_topology_desc(
                "", platform="cuda", target_config=describe_gpu(target), topology=shape
            )
        else:
            name = target.name.removeprefix("tpu-")
            found = topologies.get_topology_desc(name, platform="tpu", **_slice_options(target))
    except (JaxRuntimeError, NotImplementedError) as error:
        told = " ".join(str(error).split())[:300]
        raise LoraJaxError(
            f"the compiler knows no target {target.name} ({told}): choose another number or another shape of"
            " the slice."
        ) from error
    if len(found.devices) != target.n_devices:
        raise LoraJaxError(
            f"the compiler takes {target.name} for {len(found.devices)} devices: choose another shape of the"
            " slice."
        )
    return found.devices


def _slice_options(target: Target) -> dict[str, Any]:
    """Return what libtpu has to know about a slice beside its name."""
    options: dict[str, Any] = {}
    if target.n_devices == 1:  # otherwise libtpu assumes four chips on a host
        options["chips_per_host_bounds"] = (1, 1, 1)
    if target.device.n_axes == 3:  # v4 and v5p, where JAX shows a chip's two cores as one device
        options["chip_config_name"] = "megacore"
    return options


def describe_gpu(target: Target) -> str:
    """Return the text of XLA's description of a GPU. The compiler chooses tiles and kernels by it."""
    cores, device = GPUS[target.kind], target.device
    major, minor = target.capability or (0, 0)
    feature = " feature_extension: ACCELERATED_FEATURES" if major >= 9 else ""
    return (
        "gpu_device_info { threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152"
        f" shared_memory_per_core: {cores.shared_memory_per_core} threads_per_core_limit: 2048"
        f" core_count: {cores.n_cores} fpus_per_core: {cores.fpus_per_core}"
        " block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535"
        f" memory_bandwidth: {device.bandwidth:.0f} l2_cache_size: {cores.l2_cache_bytes}"
        f" clock_rate_ghz: {device.clock_hz / 1e9:.2f} device_memory_size: {cores.memory_bytes}"
        f" shared_memory_per_block_optin: {cores.shared_memory_per_block}"
        f" cuda_compute_capability {{ major: {major} minor: {minor}{feature} }}"
        " registers_per_core_limit: 65536 registers_per_block_limit: 65536 }"
        ' platform_name: "CUDA" dnn_version_info { major: 9 minor: 8 } runtime_version { major: 12 minor: 9 }'
        f' device_description_str: "{cores.name}"'
    )
