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

# Of LeNet5-Mini: three fully connected layers, and at most 16 filters and outputs.
CONSTANTS = {
    "FILTERS": 16,
    "CHANNELS": 16,
    "SLICE": TILES.slice,
    "DEPTH": TILES.depth,
    "LAYERS": 3,
    "WIDTH": 16,
}
BLOCKS = {
    "conv1_forward": TILES.cells,
    "conv2_forward": TILES.cells,
    "conv2_input_gradient": TILES.cells,
    "conv2_weight_gradient": TILES.positions,
    "conv1_weight_gradient": TILES.positions,
    "descend": TILES.parameters,
}
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
    **dict.fromkeys(("count", "room", "filters", "channels", "offset", "size", "slices"), "i32"),
}


def main() -> None:
    """Print the name of every kernel that compiled."""
    capability = int(sys.argv[1])
    kernels = [(getattr(convolutions, name), {}) for name in BLOCKS if name != "descend"]
    kernels += [(head.head_forward, {"TRAINING": training}) for training in (True, False)]
    kernels += [(head.head_backward, {}), (head.descend, {})]
    for kernel, more in kernels:
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
        compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32))
        assert compiled.asm["cubin"]
        print(kernel.__name__)


if __name__ == "__main__":
    main()
