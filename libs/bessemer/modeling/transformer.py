"""The llama-family decoder over packed tokens: no padding, no batch dimension, one flat row of documents."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses
from torch import Tensor, nn

from bessemer.modeling.attention import document_attention
from bessemer.modeling.balance import Balance
from bessemer.modeling.config import ModelConfig, QueryKeyNorm
from bessemer.modeling.experts import ExpertProjection, SparseFeedForward
from bessemer.modeling.gated import gated_unit
from bessemer.modeling.gradients import gradient_place
from bessemer.modeling.norm import rms_norm
from bessemer.modeling.slots import Slot, block_slots

__all__ = ["Attend", "Block", "Projection", "Transformer", "inverse_frequencies"]

# (q [T, H, D], k [T, K, D], v [T, K, D]) -> [T, H * D]; the second one is told the layer first.
AttendHere = Callable[[Tensor, Tensor, Tensor], Tensor]
Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]


class Projection(nn.Module):
    """Linear maps of the same input computed as one product, with optional low-rank adapters on each."""

    def __init__(self, width: int, parts: dict[str, int], *, bias: bool = False) -> None:
        super().__init__()
        self.parts = parts
        self.weight = nn.Parameter(torch.empty(sum(parts.values()), width))
        self.bias = nn.Parameter(torch.empty(sum(parts.values()))) if bias else None
        self.lora_a: nn.Parameter | None = None
        self.lora_b: nn.Parameter | None = None
        self.scale = 0.0

    def add_adapter(self, rank: int, scale: float, generator: torch.Generator) -> None:
        """Add adapters that change nothing yet: A as nn.Linear would draw it, B zero."""
        width = self.weight.shape[1]
        bound = 1 / math.sqrt(width)
        a = (torch.rand(len(self.parts) * rank, width, generator=generator) * 2 - 1) * bound
        self.lora_a = nn.Parameter(a.to(self.weight.dtype))
        self.lora_b = nn.Parameter(self.weight.new_zeros(self.weight.shape[0], rank))
        self.scale = scale

    def adapter_delta(self) -> Tensor:
        """Return what the adapters add to the weight, in fp32."""
        assert self.lora_a is not None
        assert self.lora_b is not None
        downs = self.lora_a.detach().float().chunk(len(self.parts))
        ups = self.lora_b.detach().float().split_with_sizes(list(self.parts.values()))
        return torch.cat([up @ down for up, down in zip(ups, downs, strict=True)]) * self.scale

    def forward(self, x: Tensor) -> Tensor:
        """Map [T, in] to [T, sum of parts]."""
        y = F.linear(x, self.weight, self.bias)
        if self.lora_a is None or self.lora_b is None:
            return y
        lows = (F.linear(x, self.lora_a) * self.scale).chunk(len(self.parts), -1)
        ups = self.lora_b.split_with_sizes(list(self.parts.values()))
        return y + torch.cat([F.linear(low, up) for low, up in zip(lows, ups, strict=True)], -1)


class FeedForward(nn.Module):
    """The dense gated network."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.gate_up = Projection(width, {"gate": inner, "up": inner})
        self.down = Projection(inner, {"down": width})

    def forward(self, x: Tensor) -> Tensor:
        """Map [T, hidden] to [T, hidden]."""
        out: Tensor = self.down(gated_unit(self.gate_up(x)))
        return out


class Block(nn.Module):
    """One decoder layer: attention and gated feed-forward, each behind a norm."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.config = config
        width, head = config.hidden_size, config.head_dim
        kv = config.num_kv_heads * head
        self.attention_norm = nn.Parameter(torch.ones(width))
        self.qkv = Projection(width, {"q": config.num_heads * head, "k": kv, "v": kv}, bias=config.qkv_bias)
        if config.qk_norm is not QueryKeyNorm.NONE:
            whole = config.qk_norm is QueryKeyNorm.ALL
            self.q_norm = nn.Parameter(torch.ones(config.num_heads * head if whole else head))
            self.k_norm = nn.Parameter(torch.ones(kv if whole else head))
        self.output = Projection(config.num_heads * head, {"o": width})
        self.mlp_norm = nn.Parameter(torch.ones(width))
        self.mlp: FeedForward | SparseFeedForward
        if config.experts is not None and layer in config.experts.layers:
            self.mlp = SparseFeedForward(width, config.experts)
        else:
            self.mlp = FeedForward(width, config.intermediate_size)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, attend: AttendHere) -> Tensor:
        """Map [T, hidden] to [T, hidden]."""
        c = self.config
        qkv = self.qkv(rms_norm(x, self.attention_norm, c.norm_eps))
        qkv = qkv.view(len(x), c.num_heads + 2 * c.num_kv_heads, c.head_dim)
        qk, v = qkv.split_with_sizes([c.num_heads + c.num_kv_heads, c.num_kv_heads], 1)
        if c.qk_norm is not QueryKeyNorm.NONE:
            qk = self._normalise(qk)
        q, k = _Rotation.apply(qk, cos, sin).split_with_sizes([c.num_heads, c.num_kv_heads], 1)  # type: ignore[no-untyped-call]
        x = x + self.output(attend(q, k, v))
        out: Tensor = x + self.mlp(rms_norm(x, self.mlp_norm, c.norm_eps))
        return out

    def _normalise(self, qk: Tensor) -> Tensor:
        c = self.config
        parts = qk.split_with_sizes([c.num_heads, c.num_kv_heads], 1)
        if c.qk_norm is QueryKeyNorm.ALL:
            parts = tuple(part.flatten(1) for part in parts)
        norms = (self.q_norm, self.k_norm)
        parts = tuple(rms_norm(x, norm, c.norm_eps) for x, norm in zip(parts, norms, strict=True))
        return torch.cat([part.view(len(qk), -1, c.head_dim) for part in parts], 1)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn pairs (i, i + D/2) by their angle.

    Shapes: x [T, heads, D]; cos, sin [T, 1, D/2].
    """
    out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    (a, b), (c, d) = x.chunk(2, -1), out.chunk(2, -1)
    torch.mul(a, cos, out=c).addcmul_(b, sin, value=-1)
    torch.mul(b, cos, out=d).addcmul_(a, sin)
    return out


class _Rotation(torch.autograd.Function):
    """The gradient of a rotation is the rotation back: nothing is kept but the angles."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return rotate(x, cos, sin)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return rotate(grad, cos, -sin), None, None


class _Lookup(torch.autograd.Function):
    """Rows of the embedding; adds to its gradient in place, where autograd would make one of the whole vocabulary."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, ids: Tensor) -> Tensor:
        ctx.weight, ctx.ids = weight, ids
        return F.embedding(ids, weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None]:
        into, returned = gradient_place(ctx.weight)
        into.index_add_(0, ctx.ids, grad)
        return returned, None


class Transformer(nn.Module):
    """Decoder whose parameters map one to one to Hugging Face tensors (`slots`)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Parameter(torch.empty(config.vocab_size, config.hidden_size))
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.num_layers))
        self.norm = nn.Parameter(torch.ones(config.hidden_size))
        self.untied_head = None if config.tie_embeddings else nn.Parameter(torch.empty_like(self.embedding))
        self.register_buffer("inverse_frequencies", inverse_frequencies(config), persistent=False)

    @property
    def head(self) -> Tensor:
        """The output weight, [V, hidden]; the embedding itself when tied."""
        return self.embedding if self.untied_head is None else self.untied_head

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the weights."""
        return self.embedding.dtype

    def forward(self, ids: Tensor, positions: Tensor, lengths: list[int]) -> Tensor:
        """Return the hidden states of packed documents, [T, hidden]; `lengths` sum to T."""
        return self.hidden(ids, positions, lambda _layer, q, k, v: document_attention(q, k, v, lengths))

    def hidden(self, ids: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        """Return the final hidden states [T, hidden], with attention done by `attend`."""
        frequencies = self.get_buffer("inverse_frequencies")
        angles = positions[:, None, None].to(torch.float32) * frequencies
        cos, sin = angles.cos().to(self.dtype), angles.sin().to(self.dtype)
        x: Tensor = _Lookup.apply(self.embedding, ids)  # type: ignore[no-untyped-call]
        for layer, block in enumerate(self.blocks):
            x = block(x, cos, sin, lambda q, k, v, layer=layer: attend(layer, q, k, v))
        return rms_norm(x, self.norm, self.config.norm_eps)

    def logits(self, hidden: Tensor) -> Tensor:
        """Map hidden states [T, hidden] to logits [T, V]."""
        return F.linear(hidden, self.head)

    def projections(self) -> Iterator[tuple[str, Projection | ExpertProjection]]:
        """Yield all linear maps with their parameter prefix; routers are none."""
        for name, module in self.named_modules():
            if isinstance(module, Projection | ExpertProjection):
                yield name, module

    def balances(self) -> list[Balance]:
        """Return the load of each layer that has experts."""
        return [module for module in self.modules() if isinstance(module, Balance)]

    def slots(self) -> Iterator[Slot]:
        """Yield where every Hugging Face tensor lives, in the order of the layers."""
        vocabulary, width = self.config.vocab_size, self.config.hidden_size
        yield Slot("model.embed_tokens.weight", "embedding", 0, vocabulary)
        for i in range(self.config.num_layers):
            yield from block_slots(self.config, self.get_submodule(f"blocks.{i}"), i)
        yield Slot("model.norm.weight", "norm", 0, width)
        if self.untied_head is not None:
            yield Slot("lm_head.weight", "untied_head", 0, vocabulary)


def inverse_frequencies(config: ModelConfig) -> Tensor:
    """Return the rotary angle per position of each pair of dimensions, [D/2] in fp32."""
    exponents = torch.arange(0, config.head_dim, 2, dtype=torch.int64).float() / config.head_dim
    frequencies = 1.0 / config.rope_theta**exponents
    scaling = config.rope_scaling
    if scaling is None:
        return frequencies
    wavelengths = 2 * math.pi / frequencies
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    smooth = ((scaling.original_context / wavelengths - low) / (high - low)).clamp(0, 1)
    return (1 - smooth) * frequencies / scaling.factor + smooth * frequencies
