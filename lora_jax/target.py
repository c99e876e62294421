"""What a program is compiled for: the platform, and the kind, number and data sheet of devices."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from lora_jax.errors import LoraJaxError, nearest
from lora_jax.ranges import whole

SIZES = whole(1, 2**20)  # devices along one axis of a target


@dataclass(frozen=True)
class Device:
    """An accelerator by its data sheet.

    Attributes:
        platform: Its name in JAX: gpu or tpu.
        jax_kind: What JAX calls such a device, or the beginning or a part of that, in small letters.
        peak_flops: Dense bfloat16 FLOPs per second.
        memory_bytes: Bytes of its memory.
        bandwidth: Bytes per second between its memory and its cores.
        clock_hz: Cycles per second of a TPU's core: the peak over what its matrix units do in a cycle.
        link_bandwidth: Bytes per second that it receives from its neighbours. It sends as many. This is half
            of what data sheets add up (NVLink of a GPU, the links of a TPU's torus).
        n_joined: The most devices that these links join: the GPUs of one machine, or the chips of the largest
            slice.
        network_bandwidth: Bytes per second that a GPU receives from other machines, by its network card in
            NVIDIA's own machines. It sends as many. None for TPUs, where more chips than a slice are not one
            target.
        n_axes: Axes of the torus that a slice is cut from. 1 for GPUs, which only have a number.
        capability: NVIDIA's compute capability. None for every other device.
    """

    platform: str
    jax_kind: str
    peak_flops: float
    memory_bytes: float
    bandwidth: float
    clock_hz: float
    link_bandwidth: float
    n_joined: int
    network_bandwidth: float | None = None
    n_axes: int = 1
    capability: tuple[int, int] | None = None


# The network of a machine: NVIDIA DGX A100, H100 and H200 have a card for each of eight GPUs, of 200, 400 and
# 400 Gbit/s (InfiniBand HDR, NDR, NDR), by their user guides. The largest slices are those of Google Cloud's
# pages of TPU v4, v5e, v5p and v6e.
DEVICES: Mapping[str, Device] = {
    "a100-80gb": Device("gpu", "a100", 312e12, 80e9, 2.039e12, 1.41e9, 300e9, 8, 25e9, capability=(8, 0)),
    "h100-80gb": Device("gpu", "h100", 989e12, 80e9, 3.35e12, 1.98e9, 450e9, 8, 50e9, capability=(9, 0)),
    "h200": Device("gpu", "h200", 989e12, 141e9, 4.8e12, 1.98e9, 450e9, 8, 50e9, capability=(9, 0)),
    "tpu-v4": Device("tpu", "tpu v4", 275e12, 32e9, 1.228e12, 1.05e9, 150e9, 4096, n_axes=3),
    "tpu-v5e": Device("tpu", "tpu v5 lite", 197e12, 16e9, 0.819e12, 1.5e9, 100e9, 256, n_axes=2),
    # this must follow v5e, whose kind begins in the same way
    "tpu-v5p": Device("tpu", "tpu v5", 459e12, 95e9, 2.765e12, 1.75e9, 300e9, 6144, n_axes=3),
    "tpu-v6e": Device("tpu", "tpu v6 lite", 918e12, 32e9, 1.638e12, 1.75e9, 224e9, 256, n_axes=2),
}


@dataclass(frozen=True)
class Target:
    """What a program is compiled for. It is hashable, because the key of every cache of programs holds it.

    Attributes:
        platform: Its name in JAX: cpu, gpu or tpu.
        kind: A name of DEVICES, or what JAX calls a device that is not among them.
        topology: Devices along each axis: (8,) for eight GPUs, (4, 4) for a slice of sixteen TPUs.
        capability: NVIDIA's compute capability. None for every other device.
    """

    platform: str
    kind: str
    topology: tuple[int, ...] = (1,)
    capability: tuple[int, int] | None = None

    @property
    def n_devices(self) -> int:
        """The number of devices."""
        return math.prod(self.topology)

    @property
    def n_hosts(self) -> int:
        """The number of machines with slower links between them. It is 1 for a slice of TPUs."""
        return -(-self.n_devices // self.device.n_joined)

    @property
    def device(self) -> Device:
        """The data sheet of one device.

        Raises:
            LoraJaxError: We have no data sheet of this kind.
        """
        if self.kind not in DEVICES:
            raise LoraJaxError(
                f"no data sheet is known for {self.kind!r}: name one of {', '.join(sorted(DEVICES))}."
            )
        return DEVICES[self.kind]

    @property
    def name(self) -> str:
        """The target as `parse_target` reads it: "h100-80gb:8" or "tpu-v5e:4x4"."""
        return f"{self.kind}:{'x'.join(map(str, self.topology))}"


def name_device(text: str) -> str:
    """Return the name of DEVICES that a text means. It may be the part before a hyphen: h100 means h100-80gb.

    Capitals, spaces and underscores make no difference, and v5e means tpu-v5e.

    Raises:
        LoraJaxError: The text means no device, or several.
    """
    wanted = re.sub(r"[\s_]+", "-", text.strip().lower())
    for spelling in (wanted, f"tpu-{wanted}"):
        if spelling in DEVICES:
            return spelling
    found = [name for name in DEVICES if name.startswith(f"{wanted}-")]
    if len(found) > 1:
        raise LoraJaxError(f"the device {text!r} may be {' or '.join(found)}: name one of them.")
    if not found:
        short = {name.removeprefix("tpu-") for name in DEVICES}
        raise LoraJaxError(f"unknown device {text!r}{nearest(wanted, {*DEVICES, *short})}.")
    return found[0]


def find_device(text: str) -> Device:
    """Return the device that a text means.

    Raises:
        LoraJaxError: The text means no device, or several.
    """
    return DEVICES[name_device(text)]


def one_of(device: Device) -> Target:
    """Return the target that is a single device.

    Args:
        device: A data sheet of DEVICES.
    """
    name = next(name for name, known in DEVICES.items() if known is device)
    return Target(device.platform, name, (1,) * device.n_axes, device.capability)


def device_of(target: Target) -> Device | None:
    """Return the data sheet of a target's devices, which JAX may have named. None if we have none."""
    if target.kind in DEVICES:
        return DEVICES[target.kind]
    return next((device for device in DEVICES.values() if device.jax_kind in target.kind), None)


def parse_target(text: str) -> Target:
    """Read a target. "h100" is one GPU, "h100:8" is eight, "v5e:4x4" and "v5p:2x2x1" are slices of TPUs.

    Raises:
        LoraJaxError: The device is unknown, or such devices do not have this shape.
    """
    kind, colon, shape = text.partition(":")
    name = name_device(kind)
    device = DEVICES[name]
    if not colon and device.n_axes == 1:
        shape = "1"
    sizes = shape.split("x")
    if len(sizes) != device.n_axes or not all(re.fullmatch(r"[0-9]+", size) for size in sizes):
        example = {1: "8, which are eight devices", 2: "4x4", 3: "2x2x1"}[device.n_axes]
        wanted = "a number" if device.n_axes == 1 else f"the {device.n_axes} sides of a slice"
        raise LoraJaxError(f"the target {text!r} needs {wanted} after the colon: write {kind}:{example}.")
    topology = tuple(SIZES.read(f"--target, a side of {text!r},", size) for size in sizes)
    target = Target(device.platform, name, topology, device.capability)
    _check_number(target)
    return target


def _check_number(target: Target) -> None:
    """Refuse a number of devices for whose links we have no rule."""
    n, joined = target.n_devices, target.device.n_joined
    if target.platform == "tpu" and n > joined:
        raise LoraJaxError(
            f"the target {target.name} is {n:,} chips, and the largest slice of {target.kind} has"
            f" {joined:,}: name a slice, as several of them have no price here."
        )
    if target.platform == "gpu" and n > joined and n % joined:
        raise LoraJaxError(
            f"the target {target.name} is {n:,} GPUs, and several machines have {joined} each: choose a"
            f" multiple of {joined}."
        )
