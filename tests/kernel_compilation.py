"""Compiles every Triton kernel for a GPU that need not be there, given its compute capability.

`python -m tests.kernel_compilation 90`; without Triton's interpreter, so in a process of its own.
The launches are those of a step, told to compile and not to launch, so that their arguments are
checked, too. A line for each kernel: registers a thread, bytes a thread that its registers did not
suffice for, bytes of shared memory, and its name.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

from engine.work.tiny_cnn.architecture import Architecture
from engine.work.tiny_cnn_gpu.program import Program

# LeNet5-Mini with five of conv1's filters.
NETWORK = Architecture(conv1=5, conv2=10, conv3=10, dense=(10, 10))
BATCH = 256


class _NoDevice:
    """Says what would be compiled for. Nothing can be launched."""

    def __init__(self, capability: int) -> None:
        self._capability = capability

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", self._capability, 32)

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0


def main() -> None:
    """Print a line for every kernel, and `then` before those that later steps need."""
    driver.set_active(_NoDevice(int(sys.argv[1])))
    run, seen = JITFunction.run, set()

    def compile_only(self: Any, *args: Any, grid: Any, warmup: bool, **more: Any) -> Any:
        compiled = run(self, *args, grid=grid, warmup=True, **more)
        if compiled.hash not in seen:
            seen.add(compiled.hash)
            print(*_resources(compiled.asm["cubin"]), compiled.metadata.shared, self.__name__)
        return compiled

    JITFunction.run = compile_only
    images, labels = torch.zeros(BATCH, 1, 32, 32), torch.zeros(BATCH, dtype=torch.int64)
    order, rate = torch.zeros(2 * BATCH, dtype=torch.int64), torch.zeros(())
    program = Program(NETWORK, torch.zeros(2, NETWORK.size), BATCH)
    program.step(images, labels, order[:BATCH], rate, 0.9, 1e-4)
    program.evaluate(images, labels)
    print("then")
    # Short batches, batches anywhere in an order, and one candidate alone.
    single = Program(NETWORK, torch.zeros(1, NETWORK.size), BATCH)
    for each in (program, single):
        for count in (96, 17, 1):
            each.step(images, labels, order[3 : 3 + count], rate, 0.9, 1e-4)


def _resources(cubin: bytes) -> tuple[int, int]:
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    path = Path("kernel.cubin")
    path.write_bytes(cubin)
    said = subprocess.run(
        [tool, "-res-usage", path], capture_output=True, text=True, check=True
    ).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+) SHARED:\d+ LOCAL:(\d+)", said)
    assert found, said
    registers, stack, local = (int(number) for number in found.groups())
    return registers, stack + local


if __name__ == "__main__":
    main()
