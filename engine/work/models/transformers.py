"""Vision transformers: an attention that can lose heads, and plans written by hand.

The dependency graph cannot follow attention, where one tensor holds queries, keys and values.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from engine.work.surgery import LayerPlan, Slice, SlicePlan
from engine.work.surgery.graph import OUTPUTS
from engine.work.vision_ops import declare_vision_ops


class SelfAttention(nn.Module):
    """torch's MultiheadAttention of a sequence with itself, with a free number of heads.

    torch's own cannot have fewer heads without a narrower embedding. Parameters have its names and
    shapes, so that its states fit.
    """

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        """Takes over the parameters of a torch attention whose batch comes first, no dropout."""
        super().__init__()
        self.in_proj_weight = attention.in_proj_weight
        self.in_proj_bias = attention.in_proj_bias
        self.out_proj = nn.Linear(attention.embed_dim, attention.embed_dim)
        self.out_proj.weight = attention.out_proj.weight
        self.out_proj.bias = attention.out_proj.bias
        self.head_dim = attention.head_dim
        self.num_heads = attention.num_heads

    def follow_shapes(self) -> None:
        """Has the number of heads follow the tensors."""
        self.num_heads = len(self.in_proj_weight) // (3 * self.head_dim)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, need_weights: bool = False
    ) -> tuple[Tensor, None]:
        """Returns the attended sequence (batch, tokens, width); key and value are the query."""
        batch, tokens, _ = query.shape
        mixed = functional.linear(query, self.in_proj_weight, self.in_proj_bias)
        split = mixed.reshape(batch, tokens, 3, self.num_heads, self.head_dim)
        queries, keys, values = split.permute(2, 0, 3, 1, 4).unbind(0)
        seen = functional.scaled_dot_product_attention(queries, keys, values)
        out: Tensor = self.out_proj(seen.transpose(1, 2).flatten(2))
        return out, None


def with_free_heads(network: nn.Module) -> nn.Module:
    """Replaces torch's attentions of a network by `SelfAttention`s; returns the network."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.MultiheadAttention):
                setattr(module, name, SelfAttention(child))
    return network


def attention_plans(network: nn.Module) -> Iterator[LayerPlan]:
    """Walks the attentions of a network whose heads can be pruned, in the order of its modules."""
    declare_vision_ops()
    for name, module in network.named_modules():
        if isinstance(module, SelfAttention):
            yield _heads(name, module, f"{name}.in_proj_weight", f"{name}.in_proj_bias", "out_proj")
        elif _is_plain_timm_attention(module):
            bias = f"{name}.qkv.bias" if module.qkv.bias is not None else None
            yield _heads(name, module, f"{name}.qkv.weight", bias, "proj")


def transformer_plan(network: nn.Module) -> SlicePlan | None:
    """Returns the plan of a vision transformer of torchvision or timm; None for other networks.

    Its embedding dimension (in every block at once), attention heads, and neurons of its MLPs.
    """
    declare_vision_ops()
    parts = _torchvision_parts(network)
    if parts is None:
        parts = _timm_parts(network)
    if parts is None:
        return None
    embedding, neurons, head = parts
    by_name = {plan.layer: plan for plan in (*attention_plans(network), *neurons)}
    order = [name for name, _ in network.named_modules() if name in by_name]
    why = "its outputs are the embedding's dimensions; prune " + embedding.layer
    refused = [(name, why) for name in embedding.members]
    refused.append((head, OUTPUTS))
    return SlicePlan((embedding, *(by_name[name] for name in order)), tuple(refused))


def _heads(name: str, module: Any, weight: str, bias: str | None, projection: str) -> LayerPlan:
    width = int(module.num_heads) * int(module.head_dim)
    head = int(module.head_dim)
    own = [
        Slice(tensor, 0, head, part * width)
        for tensor in (weight, bias)
        if tensor is not None
        for part in range(3)
    ]
    reads = Slice(f"{name}.{projection}.weight", 1, head)
    return LayerPlan(name, int(module.num_heads), tuple(own), (reads,), "heads")


def _is_plain_timm_attention(module: nn.Module) -> bool:
    from timm.layers.attention import Attention

    return (
        isinstance(module, Attention)
        and module.gate is None
        and isinstance(module.norm, nn.Identity)
    )


def _neurons(first: str, second: str, network: Any) -> LayerPlan:
    width = network.get_submodule(first).out_features
    own = (Slice(f"{first}.weight", 0), Slice(f"{first}.bias", 0))
    return LayerPlan(first, int(width), own, (Slice(f"{second}.weight", 1),), "neurons")


def _torchvision_parts(network: Any) -> tuple[LayerPlan, list[LayerPlan], str] | None:
    from torchvision.models import VisionTransformer

    if not isinstance(network, VisionTransformer):
        return None
    blocks = [f"encoder.layers.{name}" for name, _ in network.encoder.layers.named_children()]
    own = [Slice("conv_proj.weight", 0), Slice("conv_proj.bias", 0)]
    own += [Slice("class_token", 2), Slice("encoder.pos_embedding", 2)]
    following: list[Slice] = []
    members = []
    for block in blocks:
        for made in (f"{block}.self_attention.out_proj", f"{block}.mlp.3"):
            own += [Slice(f"{made}.weight", 0), Slice(f"{made}.bias", 0)]
            members.append(made)
        for norm in (f"{block}.ln_1", f"{block}.ln_2"):
            following += [Slice(f"{norm}.weight", 0), Slice(f"{norm}.bias", 0)]
        following.append(Slice(f"{block}.self_attention.in_proj_weight", 1))
        following.append(Slice(f"{block}.mlp.0.weight", 1))
    following += [Slice("encoder.ln.weight", 0), Slice("encoder.ln.bias", 0)]
    following.append(Slice("heads.head.weight", 1))
    width = int(network.hidden_dim)
    embedding = LayerPlan(
        "conv_proj", width, tuple(own), tuple(following), "dimensions", tuple(members)
    )
    neurons = [_neurons(f"{block}.mlp.0", f"{block}.mlp.3", network) for block in blocks]
    return embedding, neurons, "heads.head"


def _exactly(value: object, kind: type) -> bool:
    return type(value) is kind


def _timm_parts(network: Any) -> tuple[LayerPlan, list[LayerPlan], str] | None:
    from timm.models.vision_transformer import Block, VisionTransformer

    # Subclasses compute otherwise.
    plain = _exactly(network, VisionTransformer) and all(
        _exactly(block, Block) and _is_plain_timm_attention(block.attn) for block in network.blocks
    )
    if not plain:
        return None
    if network.attn_pool is not None or not isinstance(network.head, nn.Linear):
        return None
    state = network.state_dict()
    width = int(network.embed_dim)
    own = [Slice("patch_embed.proj.weight", 0), Slice("patch_embed.proj.bias", 0)]
    own += [Slice(name, 2) for name in ("cls_token", "reg_token", "pos_embed")]
    following: list[Slice] = []
    members = []
    neurons = []
    for place in range(len(network.blocks)):
        block = f"blocks.{place}"
        for made in (f"{block}.attn.proj", f"{block}.mlp.fc2"):
            own += [Slice(f"{made}.weight", 0), Slice(f"{made}.bias", 0)]
            members.append(made)
        for norm in ("norm1", "norm2"):
            following += [Slice(f"{block}.{norm}.{part}", 0) for part in ("weight", "bias")]
        following += [Slice(f"{block}.{scale}.gamma", 0) for scale in ("ls1", "ls2")]
        following += [Slice(f"{block}.{reader}.weight", 1) for reader in ("attn.qkv", "mlp.fc1")]
        if isinstance(network.blocks[place].mlp.norm, nn.Identity):
            neurons.append(_neurons(f"{block}.mlp.fc1", f"{block}.mlp.fc2", network))
    for norm in ("norm_pre", "norm", "fc_norm"):
        following += [Slice(f"{norm}.weight", 0), Slice(f"{norm}.bias", 0)]
    following.append(Slice("head.weight", 1))

    def there(slices: list[Slice]) -> tuple[Slice, ...]:
        return tuple(part for part in slices if part.tensor in state)

    embedding = LayerPlan(
        "patch_embed.proj", width, there(own), there(following), "dimensions", tuple(members)
    )
    return embedding, neurons, "head"
