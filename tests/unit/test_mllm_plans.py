"""Heads and neurons of vision-language models: the slim network is the masked one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from engine.work.describe import _randomised
from engine.work.mllm.network import Answerer
from engine.work.mllm.plans import dialogue_plan
from engine.work.mllm.samples import Questions
from engine.work.surgery import SlicePlan, candidate_states, emptied, fitted, take_network
from tests.vision_language import IMAGE, WORDS, network_of_kind

torch.set_num_threads(1)

# Tokens of an image, and the shape of its pixels.
_IMAGES = {
    "llava": (16, (3, 28, 28)),
    "tinyllava": (16, (3, 28, 28)),
    "smolvlm": (4, (1, 3, 28, 28)),
    "idefics3": (4, (1, 3, 28, 28)),
}
_TEXT = 9


def questions_for(kind: str, count: int = 2) -> Questions:
    generator = torch.Generator().manual_seed(0)
    tokens, shape = _IMAGES[kind]
    words = torch.randint(4, WORDS - 1, (count, _TEXT), generator=generator)
    image = torch.full((count, tokens), IMAGE)
    asked = torch.zeros(count, tokens + _TEXT, dtype=torch.bool)
    asked[:, -4:] = True
    pixels = torch.randn(count, *shape, generator=generator)
    return Questions(pixels, torch.cat([words[:, :1], image, words[:, 1:]], 1), asked)


def masked_logits(
    network: Answerer, plan: SlicePlan, gone: dict[str, list[int]], questions: Questions
) -> Tensor:
    """Runs the whole network with what the pruned heads and neurons give set to zero."""
    hooks = []
    for layer, filters in gone.items():
        (reads,) = plan[layer].following
        reader = network.get_submodule(reads.tensor.removesuffix(".weight"))
        # Told by the reader's width, not by the plan's block.
        width = reader.in_features // plan[layer].filters

        def mask(_: object, given: tuple[Tensor], width: int = width, gone: list[int] = filters):
            inputs = given[0].clone()
            for index in gone:
                inputs[..., index * width : (index + 1) * width] = 0
            return (inputs,)

        hooks.append(reader.register_forward_pre_hook(mask))
    try:
        with torch.no_grad():
            return network(questions)
    finally:
        for hook in hooks:
            hook.remove()


@pytest.mark.parametrize("kind", sorted(_IMAGES))
def test_slim_is_masked_for_every_kind_of_part(kind):
    network = network_of_kind(kind)
    _randomised(network)
    network.follow_shapes()
    plan = dialogue_plan(network)
    questions = questions_for(kind)
    template = emptied(network_of_kind(kind)).eval()
    kinds = {layer.kind for layer in plan}
    assert kinds == {"heads", "head groups", "neurons"}
    names = [layer.layer for layer in plan]
    whole = masked_logits(network, plan, {}, questions)
    for layers in ([name] for name in names), [names]:
        for some in layers:
            gone = {name: [0, plan[name].filters - 1][: plan[name].filters - 1] for name in some}
            candidate = [tuple(gone[name]) for name in some]
            states = candidate_states(network.state_dict(), plan, some, [candidate])
            slim = fitted(template, take_network(states, 0)).eval()
            with torch.no_grad():
                found = slim(questions)
            expected = masked_logits(network, plan, gone, questions)
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
            assert not torch.allclose(found, whole, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", ["llava", "smolvlm"])
def test_heads_that_share_keys_go_as_a_group(kind):
    network = network_of_kind(kind)
    plan = dialogue_plan(network)
    language = [one for one in plan if one.kind == "head groups"]
    assert [one.filters for one in language] == [3, 3]
    blocks = {part.tensor.split(".")[-2]: part.block for part in language[0].own}
    assert blocks == {"q_proj": 16, "k_proj": 8, "v_proj": 8}


def test_blocks_behind_the_features_that_are_read_are_refused():
    plan = dialogue_plan(network_of_kind("llava"))
    assert {name for name, _ in plan.refused} == {
        "model.vision_tower.encoder.layers.1.self_attn",
        "model.vision_tower.encoder.layers.1.mlp",
    }


def test_shared_embeddings_stay_shared_in_a_slim_network():
    network = network_of_kind("smolvlm")
    assert network.tied
    slim = fitted(emptied(network_of_kind("smolvlm")), network.state_dict())
    assert slim.lm_head.weight is slim.model.get_input_embeddings().weight
