"""The llama-family decoder over packed tokens: no padding, no batch dimension, one flat row of documents."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses
from torch import Tensor, nn

from bessemer.modeling.attention import document_attention
from bessemer.modeling.config import ModelConfig

__all__ = ["Attend", "Block", "Projection", "Slot", "Transformer", "inverse_frequencies"]

# (q [T, H, D], k [T, K, D], v [T, K, D]) -> [T, H * D]; the second one is told the layer first.
AttendHere = Callable[[Tensor, Tensor, Tensor], Tensor]
Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]


class Slot(NamedTuple):
    """Where one Hugging Face tensor lives: rows `start:end` of parameter `parameter`."""

    name: str
    parameter: str
    start: int
    end: int


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


class Block(nn.Module):
    """One decoder layer: attention and gated feed-forward, each behind a norm."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        width, head, inner = config.hidden_size, config.head_dim, config.intermediate_size
        kv = config.num_kv_heads * head
        self.attention_norm = nn.Parameter(torch.ones(width))
        self.qkv = Projection(width, {"q": config.num_heads * head, "k": kv, "v": kv}, bias=config.qkv_bias)
        self.output = Projection(config.num_heads * head, {"o": width})
        self.mlp_norm = nn.Parameter(torch.ones(width))
        self.gate_up = Projection(width, {"gate": inner, "up": inner})
        self.down = Projection(inner, {"down": width})

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, attend: AttendHere) -> Tensor:
        """Map [T, hidden] to [T, hidden]."""
        c = self.config
        qkv = self.qkv(F.rms_norm(x, (c.hidden_size,), self.attention_norm, c.norm_eps))
        qkv = qkv.view(len(x), c.num_heads + 2 * c.num_kv_heads, c.head_dim)
        qk, v = qkv.split_with_sizes([c.num_heads + c.num_kv_heads, c.num_kv_heads], 1)
        q, k = _Rotation.apply(qk, cos, sin).split_with_sizes([c.num_heads, c.num_kv_heads], 1)  # type: ignore[no-untyped-call]
        x = x + self.output(attend(q, k, v))
        gate, up = self.gate_up(F.rms_norm(x, (c.hidden_size,), self.mlp_norm, c.norm_eps)).chunk(2, -1)
        out: Tensor = x + self.down(F.silu(gate) * up)
        return out


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
    def backward(ctx: Any, grad: Tensor) -> tuple[None, None]:
        if ctx.weight.grad is None:
            ctx.weight.grad = torch.zeros_like(ctx.weight)
        ctx.weight.grad.index_add_(0, ctx.ids, grad)
        return None, None


class Transformer(nn.Module):
    """Decoder whose parameters map one to one to Hugging Face tensors (`slots`)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Parameter(torch.empty(config.vocab_size, config.hidden_size))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
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
        return F.rms_norm(x, (self.config.hidden_size,), self.norm, self.config.norm_eps)

    def logits(self, hidden: Tensor) -> Tensor:
        """Map hidden states [T, hidden] to logits [T, V]."""
        return F.linear(hidden, self.head)

    def projections(self) -> Iterator[tuple[str, Projection]]:
        """Yield all linear maps with their parameter prefix."""
        for name, module in self.named_modules():
            if isinstance(module, Projection):
                yield name, module

    def slots(self) -> Iterator[Slot]:
        """Yield where every Hugging Face tensor lives, in the order of the layers."""
        vocabulary, width = self.config.vocab_size, self.config.hidden_size
        yield Slot("model.embed_tokens.weight", "embedding", 0, vocabulary)
        homes = {"qkv": "self_attn", "output": "self_attn", "gate_up": "mlp", "down": "mlp"}
        for i in range(self.config.num_layers):
            prefix = f"model.layers.{i}"
            yield Slot(f"{prefix}.input_layernorm.weight", f"blocks.{i}.attention_norm", 0, width)
            yield Slot(f"{prefix}.post_attention_layernorm.weight", f"blocks.{i}.mlp_norm", 0, width)
            for field, home in homes.items():
                projection = self.get_submodule(f"blocks.{i}.{field}")
                assert isinstance(projection, Projection)
                for kind in ("weight",) if projection.bias is None else ("weight", "bias"):
                    start = 0
                    for part, size in projection.parts.items():
                        name = f"{prefix}.{home}.{part}_proj.{kind}"
                        yield Slot(name, f"blocks.{i}.{field}.{kind}", start, start + size)
                        start += size
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
