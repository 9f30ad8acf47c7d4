"""Seeds derived from the study's seed and what they are for; never from a worker or a clock."""

from __future__ import annotations

import hashlib

_SEED_BITS = 63


def derive_seed(seed: int, *purpose: str | int) -> int:
    """Returns a seed in [0, 2**63) for one purpose, for example ("batches", repeat, epoch).

    Any two purposes give unrelated seeds, and the same purpose always gives the same one: this is
    what makes a candidate's result independent of the order in which candidates are worked on.
    """
    text = "/".join([str(seed), *map(str, purpose)]).encode()
    digest = hashlib.blake2b(text, digest_size=8).digest()
    return int.from_bytes(digest, "little") >> (64 - _SEED_BITS)
