"""Compiles every Triton kernel for a GPU that need not be there, given its compute capability.

`python -m tests.kernel_compilation 90`; without Triton's interpreter, so in a process of its own.
"""

from __future__ import annotations

import sys
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from engine.work.tiny_cnn_gpu import convolutions, head
from engine.work.tiny_cnn_gpu.program import DEFAULT_TILES as TILES

# Of LeNet5-Mini with five of conv1's filters: three fully connected layers of at most 16 outputs,
# batches of 256.
CONSTANTS = {
    "FILTERS": 5,
    "CHANNELS": 5,
    "ROOM": 256,
    "SLICE": TILES.slice,
    "DEPTH": TILES.depth,
    "LAYERS": 3,
    "WIDTH": 16,
}
BLOCKS = {
    "convolve": TILES.cells,
    "input_gradient": TILES.cells,
    "weight_gradient": TILES.lanes,
    "descend": TILES.parameters,
}
CONV1, CONV2 = {"SHARED": True, "SIDE": 32}, {"SHARED": False, "SIDE": 14}
WARPS = {"weight_gradient": 1}
KERNELS: list[tuple[Any, dict[str, Any]]] = [
    (convolutions.gather, {}),
    (convolutions.convolve, CONV1),
    (convolutions.convolve, CONV2),
    (head.head_forward, {"TRAINING": True}),
    (head.head_forward, {"TRAINING": False}),
    (head.head_backward, {}),
    (convolutions.weight_gradient, CONV2),
    (convolutions.input_gradient, {}),
    (convolutions.weight_gradient, CONV1),
    (head.descend, {}),
]
TYPES = {
    "order": "*i64",
    "labels": "*i64",
    "winners": "*i8",
    "winners1": "*i8",
    "winners2": "*i8",
    "layout": "*i32",
    "losses": "*fp64",
    "hits": "*i32",
    "momentum": "fp32",
    "decay": "fp32",
    **dict.fromkeys(("count", "span", "filters", "channels", "offset", "size", "slices"), "i32"),
}


def main() -> None:
    """Print the name of every kernel that compiled."""
    capability = int(sys.argv[1])
    for kernel, more in KERNELS:
        known: dict[str, Any] = {**CONSTANTS, **more, "BLOCK": BLOCKS.get(kernel.__name__)}
        constants = {name: known[name] for name in kernel.arg_names if name.isupper()}
        signature = {
            name: "constexpr" if name in constants else TYPES.get(name, "*fp32")
            for name in kernel.arg_names
        }
        source = ASTSource(
            fn=kernel,
            signature=signature,
            constexprs={(kernel.arg_names.index(k),): v for k, v in constants.items()},
            attrs={},
        )
        options = {"num_warps": WARPS.get(kernel.__name__, 4)}
        target = GPUTarget("cuda", capability, 32)
        compiled = triton.compile(source, target=target, options=options)
        assert compiled.asm["cubin"]
        print(kernel.__name__)


if __name__ == "__main__":
    main()
