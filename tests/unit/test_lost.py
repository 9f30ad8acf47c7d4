"""What a candidate lost, in words."""

from engine.lost import lost_lines
from engine.presets import QUICK

FILTERS = {"layers": ["conv1", "conv2"], "spec": {"granularity": "filters"}}


def test_filters_are_named_up_to_a_length() -> None:
    lines = lost_lines(FILTERS, [[1, 4], list(range(30))])
    assert lines[0] == "conv1 without 1,4"
    assert lines[1].endswith(",22,23 and 6 more")


def test_an_imported_candidate_that_does_not_say_has_no_lines() -> None:
    assert lost_lines({**FILTERS, "spec": None}, [[], []]) == []


def test_masks_are_told_by_seed_and_checksum() -> None:
    spec = QUICK.spec.with_(granularity="weights", candidates=2)
    config = {"layers": ["conv1"], "spec": spec.to_json()}
    (record,) = spec.space[1]
    (line,) = lost_lines(config, [record])
    seed, checksum = line.removeprefix("conv1 by a mask of seed ").split(", checksum ")
    assert int(seed) == sum(word << 16 * place for place, word in enumerate(record[:4]))
    assert bytes.fromhex(checksum) == b"".join(word.to_bytes(2, "little") for word in record[4:])
    (smallest,) = lost_lines(config, [[0, 0, 0, 0, *record[4:]]])
    assert smallest == f"conv1 by a mask of the smallest weights, checksum {checksum}"
    # Files come from strangers.
    assert lost_lines(config, [[1, 2, 3]]) == ["conv1 by a mask that cannot be read"]
