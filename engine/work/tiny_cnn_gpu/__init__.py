"""The LeNet family on a CUDA device: many candidates as one computation, in Triton kernels.

Importing this needs no Triton; computing does.
"""

from __future__ import annotations

from engine.work.tiny_cnn_gpu.availability import available, trouble

__all__ = ["available", "trouble"]
