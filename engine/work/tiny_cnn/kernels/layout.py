"""The integer table that tells compiled code where everything is: sizes, offsets, addresses.

Compiled code reads ``table[NAME]``; ``engine.work.tiny_cnn.program`` fills it in.
"""

from __future__ import annotations

(
    CONV1,  # number of filters
    CONV2,
    BLOCKS1,  # index in this table: number of blocks, then (block size, address) of each
    BLOCKS2,
    DENSE_COUNT,
    DENSE,  # index in this table: (inputs, outputs, weights, biases, input activation) of each
    CLASSES,
    # offsets of parameters
    WEIGHTS1,
    BIAS1,
    WEIGHTS2,
    BIAS2,
    PARAMETERS,  # their number, rounded up to whole vectors
    USED,  # their number
    # offsets in a thread's work space
    PREPARED2,  # the weights of conv2 and its inputs, as `toom_cook` takes them
    TRANSFORMED2,
    RESPONSES1,  # [CONV1][14][14][lanes] after pooling and ReLU
    PLACES1,  # [CONV1][14][14]: where each maximum was, two masks in the room of one number
    GRADIENTS1,
    RESPONSES2,  # [CONV2][5][5][lanes]
    PLACES2,
    LOGITS,
    LOGIT_GRADIENT,
    SCRATCH,  # 3 vectors
    DENSE_GRADIENT,  # gradients of the dense layers' activations, two buffers
    DENSE_GRADIENT_STEP,
    WEIGHT_LANES,  # gradients of all parameters, one per lane
    GRADIENT,  # summed over lanes
    # addresses of kernels
    TRANSFORM_WEIGHTS,
    TRANSFORM_INPUTS,
    PREPARE,
    CONV_LAYER,
    DENSE_STACK,
    DENSE_FORWARD,
    DENSE_BACKWARD,
    CROSS_ENTROPY,
    FORWARD,
    GROUP_BACKWARD,
    WEIGHT_GRADIENT,
    INPUT_GRADIENTS,  # index in this table: number of kernels, then their addresses
    GATE_GRADIENT,
    UPDATE,
    HEADER,  # number of entries above
) = range(42)
