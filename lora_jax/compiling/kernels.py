"""The FLOPs of custom kernels.

XLA's text does not say them, so we read them from the shapes of the operands.
"""

import math
import re

from lora_jax.compiling.hlo import Computation, Instruction

CUDNN_ATTENTION, CUBLAS, TPU_KERNEL = "__cudnn$fmha", "__cublas", "tpu_custom_call"
# Forward there are two products: queries with keys, and weights with values. Backward there are five.
FORWARD_PRODUCTS, BACKWARD_PRODUCTS = 2, 5
# Splash attention's kernels, by the word in their names. Each of the two backward kernels computes the scores
# and the weights' gradient. Then one computes dq, and the other dk and dv.
SPLASH_PRODUCTS = {"fwd": 2, "dq": 3, "dkv": 4}
SPLASH = r"splash_m[hq]a_(fwd|dq|dkv)"


def kernel_target(instruction: Instruction) -> str | None:
    """Return the name of the custom kernel that an instruction calls. None if it calls none."""
    if instruction.opcode != "custom-call":
        return None
    return instruction.attribute(r'custom_call_target="([^"]+)"')


def is_attention(instruction: Instruction) -> bool:
    """Is it a kernel that attends without holding the scores?"""
    target = kernel_target(instruction) or ""
    return target.startswith(CUDNN_ATTENTION) or _splash_phase(instruction) is not None


def count_kernel_flops(computation: Computation, instruction: Instruction) -> float | None:
    """Return the FLOPs of a custom kernel's products. None for a kernel whose FLOPs we cannot read."""
    target = kernel_target(instruction) or ""
    if target.startswith(CUDNN_ATTENTION):
        return _cudnn_flops(computation, instruction, "Backward" in target)
    if target.startswith(CUBLAS):
        found = instruction.attribute(r'"lhs_contracting_dimensions":\[([^\]]*)\]') or ""
        return product_flops(computation, instruction, [int(at) for at in re.findall(r"\d+", found)])
    phase = _splash_phase(instruction)
    return None if phase is None else _splash_flops(computation, instruction, SPLASH_PRODUCTS[phase])


def product_flops(computation: Computation, instruction: Instruction, contracted: list[int]) -> float:
    """Return the FLOPs of one product: two for each multiplication with its addition."""
    left = computation[instruction.operands[0]].arrays[0]
    depth = math.prod(left.shape[at] for at in contracted)
    return 2.0 * instruction.arrays[0].size * depth


def _splash_phase(instruction: Instruction) -> str | None:
    if kernel_target(instruction) != TPU_KERNEL:
        return None
    found = re.search(SPLASH, f"{instruction.name} {instruction.text}")
    return None if found is None else found[1]


def _cudnn_flops(computation: Computation, instruction: Instruction, is_backward: bool) -> float:
    """Return the FLOPs of cuDNN's attention, whose operands are (B, T, H, K). A causal one takes half."""
    B, T, H, K = computation[instruction.operands[0]].arrays[0].shape
    S = computation[instruction.operands[1]].arrays[0].shape[1]
    products = BACKWARD_PRODUCTS if is_backward else FORWARD_PRODUCTS
    share = 0.5 if "CAUSAL" in instruction.text else 1.0
    return share * products * 2.0 * B * H * T * S * K


def _splash_flops(computation: Computation, instruction: Instruction, products: int) -> float:
    """Return the FLOPs of a splash kernel. Its first real operands are q (..., H, T, K) and k (..., S, K).

    A causal kernel has a table of blocks (1, n, n) of small whole numbers. It computes the blocks up to the
    diagonal as a whole: (n + 1) / 2n of all, which is more than half.
    """
    shapes = [computation[name].arrays[0] for name in instruction.operands if name in computation]
    q, k = [array.shape for array in shapes if array.dtype in ("bf16", "f16", "f32")][:2]
    tables = [array.shape for array in shapes if array.dtype in ("s8", "s16") and len(array.shape) == 3]
    n = tables[0][-1] if tables else 0
    share = (n + 1) / (2 * n) if n else 1.0
    return share * products * 2.0 * math.prod(q) * k[-2]
