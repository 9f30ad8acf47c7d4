"""Every kind of model and of prunable layer: slim equals masked, and costs are torch's own."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from engine.catalog import MODELS, ModelInfo
from engine.work.describe import describe_model, with_counts
from engine.work.models import build_model, network_of, slice_plan
from engine.work.models.transformers import transformer_plan, with_free_heads
from engine.work.surgery import (
    SlicePlan,
    candidate_states,
    emptied,
    fitted,
    kept_filters,
    l1_selection,
    slim_state,
    take_network,
)
from engine.work.vision_ops import declare_vision_ops

torch.set_num_threads(1)

# Between them: inner convolutions with norms, a last one into a classifier, residual groups, three
# convolutions to a block, depthwise ones with squeeze and excitation, grouped ones, attention
# heads, neurons, embeddings.
SMALL = ["lenet5", "lenet5@44", "vgg11@16", "resnet20@16", "resnet18@32", "timm:test_vit@32",
         "torchvision:mobilenet_v3_small@32", "timm:test_resnet@32"]  # fmt: skip
LARGE = ["vgg19", "resnet56", "resnet110", "resnet50", "resnet101", "vit-b16", "vit-b16-timm",
         "torchvision:resnext50_32x4d@64", "torchvision:densenet121@64", "timm:resnet26d",
         "torchvision:googlenet@64", "timm:regnetx_002@64"]  # fmt: skip


def _facts(name: str) -> ModelInfo:
    return MODELS.get(name) or describe_model(name)


def _randomised(network: nn.Module, seed: int = 0) -> nn.Module:
    """Non-trivial values everywhere, running statistics and the classifier too."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            noise = torch.randn(tensor.shape, generator=generator)
            if tensor.ndim > 1:
                tensor.copy_(noise * (2 / tensor[0].numel()) ** 0.5)
            else:
                level = 0.0 if "bias" in name or "running_mean" in name else 1.0
                tensor.copy_(level + noise * (0.1 if "var" not in name else 0.05))
    return network.eval()


def _masked(
    state: dict[str, Tensor], plan: SlicePlan, gone: dict[str, list[int]]
) -> dict[str, Tensor]:
    masked = {name: tensor.clone() for name, tensor in state.items()}
    for layer, indices in gone.items():
        for part in plan[layer].following:
            for index in indices if part.dim == 1 else ():
                first = part.offset + index * part.block
                masked[part.tensor][:, first : first + part.block] = 0
    return masked


def _candidate(plan: SlicePlan, layers: list[str], seed: int) -> dict[str, list[int]]:
    draw = random.Random(seed)
    return {
        name: sorted(draw.sample(range(plan[name].filters), plan[name].filters // 2))
        for name in layers
    }


def _check(info: ModelInfo, candidates: int) -> None:
    plan = slice_plan(info, 10)
    dense = _randomised(build_model(info, 10))
    state = dense.state_dict()
    images = torch.randn(
        2, info.channels, info.size, info.size, generator=torch.Generator().manual_seed(1)
    )
    # Leaving out dimensions of an embedding changes what the norms compute: tested by itself.
    layers = [layer.name for layer in info.layers if layer.kind != "dimensions"]
    with torch.no_grad():
        whole = dense(images)
        for seed in range(candidates):
            # All layers at once, then ever fewer.
            some = layers if seed == 0 else random.Random(seed).sample(layers, 1 + len(layers) // 3)
            gone = _candidate(plan, some, seed)
            kept = {name: kept_filters(plan[name].filters, list(g)) for name, g in gone.items()}
            slim = network_of(info, 10, slim_state(state, plan, kept)).eval()
            expected = torch.func.functional_call(dense, _masked(state, plan, gone), (images,))
            scale = expected.abs().max()
            torch.testing.assert_close(slim(images) / scale, expected / scale, rtol=0, atol=1e-4)
            assert not torch.allclose(expected / scale, whole / scale, atol=1e-3)


def _check_costs(info: ModelInfo) -> None:
    thirds = {layer.name: max(1, layer.filters // 3) for layer in info.layers}
    for kept, classes in (({}, 10), (thirds, 10), ({}, 7)):
        network = build_model(info, classes, kept).eval()
        images = torch.zeros(1, info.channels, info.size, info.size)
        # Of the ways to compute attention torch counts this one.
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            network(images)
        multiply_adds, parameters = info.count(kept, classes)
        assert parameters == sum(p.numel() for p in network.parameters())
        assert 2 * multiply_adds == counter.get_total_flops()


@pytest.mark.parametrize("name", SMALL)
def test_a_slim_network_equals_the_masked_whole_one(name: str) -> None:
    _check(_facts(name), candidates=3)


@pytest.mark.parametrize("name", SMALL)
def test_costs_are_those_that_torch_counts(name: str) -> None:
    _check_costs(_facts(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_so_it_is_for_large_models(name: str) -> None:
    info = _facts(name)
    _check(info, candidates=2)
    _check_costs(info)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(MODELS))
def test_the_shipped_facts_are_those_of_the_models(name: str) -> None:
    if MODELS[name].family == "mllm":
        pytest.importorskip("transformers", reason="transformers is not installed")
    assert with_counts(MODELS[name]) == MODELS[name]


def test_the_shipped_facts_of_small_models_are_right() -> None:
    for name in ("lenet5-mini-d9", "resnet20"):
        assert with_counts(MODELS[name]) == MODELS[name]


class _Grouped(nn.Module):
    """Convolutions of several groups, as in ResNeXt, between ordinary ones."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(1, 12, 3), nn.BatchNorm2d(12)
        self.grouped, self.second_norm = nn.Conv2d(12, 12, 3, groups=4), nn.BatchNorm2d(12)
        self.last = nn.Conv2d(12, 5, 2)

    def forward(self, images: Tensor) -> Tensor:
        maps = functional.relu(self.norm(self.first(images)))
        maps = functional.relu(self.second_norm(self.grouped(maps)))
        return self.last(maps).mean((2, 3))


def _equals_masked(make: Callable[[], nn.Module], plan: SlicePlan, gone: dict[str, list[int]],
                   images: Tensor) -> nn.Module:  # fmt: skip
    dense = _randomised(make())
    state = dense.state_dict()
    kept = {name: kept_filters(plan[name].filters, list(g)) for name, g in gone.items()}
    slim = fitted(emptied(make()), slim_state(state, plan, kept)).eval()
    expected = torch.func.functional_call(dense, _masked(state, plan, gone), (images,))
    torch.testing.assert_close(slim(images), expected, rtol=1e-4, atol=1e-4)
    return slim


def test_whole_groups_of_a_grouped_convolution_are_pruned() -> None:
    from engine.work.surgery import plan_from_graph

    plan = plan_from_graph(_Grouped(), torch.zeros(1, 1, 8, 8), ["first"])
    assert (plan["first"].kind, plan["first"].filters) == ("groups", 4)
    slim = _equals_masked(_Grouped, plan, {"first": [0, 2]}, torch.randn(3, 1, 8, 8))
    assert slim.grouped.groups == 2
    assert slim.grouped.weight.shape == (6, 3, 3, 3)


def _small_torchvision_vit() -> nn.Module:
    declare_vision_ops()
    from torchvision.models import VisionTransformer

    vit = VisionTransformer(32, 16, num_layers=2, num_heads=4, hidden_dim=32, mlp_dim=48,
                            num_classes=5)  # fmt: skip
    return with_free_heads(vit)


def test_heads_and_neurons_of_torchvisions_transformer() -> None:
    plan = transformer_plan(_small_torchvision_vit())
    assert plan is not None
    head, neurons = (f"encoder.layers.encoder_layer_1.{x}" for x in ("self_attention", "mlp.0"))
    assert (plan[head].kind, plan[head].filters) == ("heads", 4)
    assert (plan[neurons].kind, plan[neurons].filters) == ("neurons", 48)
    gone = {head: [0, 3], neurons: list(range(0, 48, 3))}
    images = torch.randn(3, 3, 32, 32)
    slim = _equals_masked(_small_torchvision_vit, plan, gone, images)
    assert slim.get_submodule(head).num_heads == 2


def test_our_attention_is_torchs() -> None:
    torch.manual_seed(0)
    theirs = nn.MultiheadAttention(32, 4, batch_first=True)
    holder = nn.ModuleDict({"a": theirs})
    sequence = torch.randn(2, 5, 32)
    expected, _ = theirs(sequence, sequence, sequence, need_weights=False)
    names = set(holder.state_dict())
    ours = with_free_heads(holder)
    found, _ = ours["a"](sequence, sequence, sequence, need_weights=False)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert set(ours.state_dict()) == names


class _NormOfSome(nn.Module):
    """A layer norm whose statistics are over some dimensions; the others come out as zeros."""

    def __init__(self, norm: nn.LayerNorm, kept: list[int]) -> None:
        super().__init__()
        self.norm, self.kept = norm, kept

    def forward(self, values: Tensor) -> Tensor:
        out = torch.zeros_like(values)
        some = values[..., self.kept]
        out[..., self.kept] = functional.layer_norm(
            some, (len(self.kept),), self.norm.weight[self.kept], self.norm.bias[self.kept],
            self.norm.eps,
        )  # fmt: skip
        return out


@pytest.mark.parametrize("which", ["torchvision", "timm"])
def test_an_embedding_is_pruned_in_every_block_at_once(which: str) -> None:
    """The whole network computes the same where its norms look at the dimensions that stay."""
    info = describe_model("timm:test_vit@32") if which == "timm" else None
    make = _small_torchvision_vit if info is None else lambda: build_model(info, 5)
    dense = _randomised(make())
    plan = transformer_plan(dense)
    assert plan is not None
    embedding = next(iter(plan))
    assert embedding.kind == "dimensions"
    kept = sorted(random.Random(0).sample(range(embedding.filters), embedding.filters // 2))
    slim = fitted(emptied(make()), slim_state(dense.state_dict(), plan, {embedding.layer: kept}))
    for name, module in list(dense.named_modules()):
        if isinstance(module, nn.LayerNorm):
            dense.set_submodule(name, _NormOfSome(module, kept))
    images = torch.randn(3, 3, 32, 32)
    torch.testing.assert_close(slim.eval()(images), dense(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["resnet18@32", "timm:test_vit@32"])
def test_released_wiring_is_the_correct_one_for_l1s_choice_alone(name: str) -> None:
    info = _facts(name)
    plan = slice_plan(info, 10)
    state = _randomised(build_model(info, 10)).state_dict()
    # Residual groups, heads, neurons and an embedding among them.
    layers = [layer.name for layer in info.layers][:5]
    choice = [l1_selection(state, plan[layer], plan[layer].filters // 2) for layer in layers]
    other = list(_candidate(plan, layers, 3).values())
    both = {
        wiring: candidate_states(state, plan, layers, [choice, other], wiring)
        for wiring in ("correct", "released")
    }
    same = [
        all(torch.equal(both["correct"][key][i], both["released"][key][i]) for key in state)
        for i in (0, 1)
    ]
    assert same == [True, False]
    images = torch.randn(2, 3, 32, 32)
    for states in both.values():
        assert network_of(info, 10, take_network(states, 1)).eval()(images).isfinite().all()


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("resnet18@32", "conv1", "layer3.1.conv1"),
        ("vgg11@16", "features.0", "features.25"),
        ("torchvision:mobilenet_v3_small@32", "features.0.0", "features.5.block.0.0"),
        ("torchvision:alexnet@64", "features.3", "features.10"),
    ],
)
def test_torch_pruning_takes_out_the_same(name: str, first: str, second: str) -> None:
    """Its own surgery, module by module, as a check that shares none of ours."""
    declare_vision_ops()
    import torch_pruning

    info = _facts(name)
    plan = slice_plan(info, 10)
    gone = {first: list(range(3)), second: list(range(1, plan[second].filters, 2))}
    theirs = _randomised(build_model(info, 10))
    kept = {layer: kept_filters(plan[layer].filters, some) for layer, some in gone.items()}
    ours = slim_state(theirs.state_dict(), plan, kept)
    example = torch.zeros(1, info.channels, info.size, info.size)
    graph = torch_pruning.DependencyGraph().build_dependency(theirs, example)
    prune = torch_pruning.prune_conv_out_channels
    for layer, some in gone.items():
        graph.get_pruning_group(theirs.get_submodule(layer), prune, idxs=some).prune()
    state = theirs.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in ours.items())


def test_what_cannot_be_pruned_says_why() -> None:
    reasons = dict(MODELS["resnet20"].refused)
    assert "zeros" in reasons["layer2.0.conv2"]
    assert "outputs" in reasons["linear"]
    assert "embedding" in dict(MODELS["vit-b16"].refused)["encoder.layers.encoder_layer_3.mlp.3"]
