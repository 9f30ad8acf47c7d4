"""K candidates trained as one computation: one interface, several ways to compute it."""

from engine.work.packs.base import MOMENTUM, Evaluation, Pack, network_of
from engine.work.packs.choose import (
    compiles,
    fused_trouble,
    make_pack,
    pack_kind,
    possible_kinds,
    quickest_kind,
    triton_trouble,
    warm_up,
)

__all__ = [
    "MOMENTUM",
    "Evaluation",
    "Pack",
    "compiles",
    "fused_trouble",
    "make_pack",
    "network_of",
    "pack_kind",
    "possible_kinds",
    "quickest_kind",
    "triton_trouble",
    "warm_up",
]
