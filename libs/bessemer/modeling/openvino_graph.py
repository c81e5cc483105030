"""A dense llama-family decoder as an OpenVINO graph, built from the weights of a Hugging Face folder.

Nothing is traced: every operation is written down, so the graph is exact, small and made in seconds without another
framework's exporter. Its form is the stateful one that OpenVINO's own tools expect (keys and values are variables
that grow, `beam_idx` reorders them), with operations composed as its CPU plugin recognises them for fusion. The
names of the projections are those of the tensors, so adapters in PEFT format find them.
Source: the graphs of optimum-intel, openvino/src/common/transformations (RMSFusion, RoPEFusionGPTNEOX,
SDPAToPagedAttention).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import torch
from numpy.typing import NDArray
from openvino import opset13 as ops
from openvino.op.util import Variable, VariableInfo

from bessemer.kernel.errors import FailedPrecondition
from bessemer.modeling.config import ModelConfig, QueryKeyNorm
from bessemer.modeling.load import hf_tensors, load_decoder, read_json
from bessemer.modeling.transformer import inverse_frequencies

__all__ = ["WEIGHT_FORMATS", "build_graph", "check_supported"]

WEIGHT_FORMATS = ("fp32", "int8")

_LAST = np.iinfo(np.int64).max


def check_supported(config: ModelConfig) -> None:
    """Say whether a graph can be made of such a model.

    Raises: FailedPrecondition for models with routed experts.
    """
    if config.experts is not None or config.qk_norm is QueryKeyNorm.ALL:
        raise FailedPrecondition(
            f"no OpenVINO graph is made of {config.model_type} models; export safetensors or GGUF instead",
            reason="FIELD_INVALID",
        )


def build_graph(folder: Path, *, weights: str = "fp32", gathers: bool = False) -> ov.Model:
    """Read a model folder and return its graph.

    Inputs: input_ids, attention_mask and position_ids [B, T] int64, beam_idx [B] int32. Output: logits [B, T, V].
    `weights` is fp32, or int8: symmetric, one scale per output row, which a matrix product turns back into fp32.
    `gathers` adds an input sampled_tokens_indices [N] int64, which picks positions of axis 0 before the head, for
    graphs that are made paged (one token per batch row) afterwards.

    Raises: FailedPrecondition for models that have no such graph; InvalidRequest for unreadable folders.
    """
    assert weights in WEIGHT_FORMATS
    config = ModelConfig.from_json(read_json(folder / "config.json"))
    check_supported(config)
    return _Builder(config, hf_tensors(load_decoder(folder)), quantises=weights == "int8").build(gathers=gathers)


@dataclass(frozen=True)
class _Inputs:
    ids: Any
    mask: Any
    positions: Any
    beams: Any


class _Builder:
    """Holds what all layers share; every method returns a node."""

    def __init__(self, config: ModelConfig, tensors: Mapping[str, torch.Tensor], *, quantises: bool) -> None:
        self._config = config
        self._tensors = tensors
        self._quantises = quantises
        self._sinks: list[Any] = []

    def build(self, *, gathers: bool) -> ov.Model:
        c = self._config
        inputs = _Inputs(
            _parameter("input_ids", [-1, -1], np.int64),
            _parameter("attention_mask", [-1, -1], np.int64),
            _parameter("position_ids", [-1, -1], np.int64),
            _parameter("beam_idx", [-1], np.int32),
        )
        parameters = [inputs.ids, inputs.mask, inputs.positions, inputs.beams]
        embedding = self._matrix("model.embed_tokens.weight")
        x = ops.gather(embedding, ops.convert(inputs.ids, "i32"), _constant(0, np.int32))
        cos, sin = self._angles(inputs.positions)
        attends = self._mask(inputs)
        for layer in range(c.num_layers):
            x = self._block(f"model.layers.{layer}", x, (cos, sin), attends, inputs)
        x = self._norm(x, "model.norm")
        if gathers:
            chosen = _parameter("sampled_tokens_indices", [-1], np.int64)
            parameters.append(chosen)
            x = ops.gather(x, chosen, _constant(0))
        head = embedding if c.tie_embeddings else self._matrix("lm_head.weight")
        logits = ops.matmul(x, head, transpose_a=False, transpose_b=True, name="__module.lm_head/ov_ext::linear/MatMul")
        result = ops.result(logits, name="logits")
        result.output(0).set_names({"logits"})
        return ov.Model([result], self._sinks, parameters, "bessemer")

    def _block(self, name: str, x: Any, angles: tuple[Any, Any], attends: Any, inputs: _Inputs) -> Any:
        c = self._config
        y = self._norm(x, f"{name}.input_layernorm")
        q = self._heads(f"{name}.self_attn.q", y, c.num_heads, angles)
        k = self._remembered(f"{name}.key", self._heads(f"{name}.self_attn.k", y, c.num_kv_heads, angles), inputs)
        v = self._remembered(f"{name}.value", self._heads(f"{name}.self_attn.v", y, c.num_kv_heads, None), inputs)
        out = ops.scaled_dot_product_attention(q, self._repeated(k), self._repeated(v), attends)
        out = ops.reshape(_swap(out), _constant([0, 0, c.num_heads * c.head_dim]), special_zero=True)
        x = ops.add(x, self._linear(f"{name}.self_attn.o_proj", out))
        y = self._norm(x, f"{name}.post_attention_layernorm")
        gate, up = (self._linear(f"{name}.mlp.{part}_proj", y) for part in ("gate", "up"))
        return ops.add(x, self._linear(f"{name}.mlp.down_proj", ops.multiply(ops.swish(gate), up)))

    def _heads(self, name: str, x: Any, heads: int, angles: tuple[Any, Any] | None) -> Any:
        """Project and return [B, heads, T, D], normalised and rotated where the model does."""
        c = self._config
        y = self._linear(f"{name}_proj", x, bias=c.qkv_bias)
        y = ops.reshape(y, _constant([0, 0, heads, c.head_dim]), special_zero=True)
        if angles is None:
            return _swap(y)
        if c.qk_norm is QueryKeyNorm.HEAD:
            y = self._norm(y, f"{name}_norm")
        y, half = _swap(y), c.head_dim // 2
        upper = ops.slice(y, _constant([half]), _constant([_LAST]), _constant([1]), _constant([3]))
        lower = ops.slice(y, _constant([0]), _constant([half]), _constant([1]), _constant([3]))
        turned = ops.concat([ops.multiply(upper, _constant(-1.0, np.float32)), lower], -1)
        cos, sin = angles
        return ops.add(ops.multiply(y, cos), ops.multiply(turned, sin))

    def _remembered(self, name: str, fresh: Any, inputs: _Inputs) -> Any:
        """Append to a variable along axis 2 and return all of it."""
        c = self._config
        info = VariableInfo()
        info.data_shape = ov.PartialShape([-1, c.num_kv_heads, -1, c.head_dim])
        info.data_type = ov.Type.f32
        info.variable_id = name
        variable = Variable(info)
        shape = ops.concat([_size(inputs.ids, 0), _constant([c.num_kv_heads, 0, c.head_dim])], 0)
        empty = ops.broadcast(_constant(0.0, np.float32), shape)
        past = ops.gather(ops.read_value(empty, variable), inputs.beams, _constant(0))
        whole = ops.concat([past, fresh], 2)
        self._sinks.append(ops.assign(whole, variable))
        return whole

    def _repeated(self, x: Any) -> Any:
        """Give every query head its key head: [B, K, S, D] to [B, H, S, D]."""
        c = self._config
        groups = c.num_heads // c.num_kv_heads
        if groups == 1:
            return x
        shape = ops.concat([_size(x, 0), _constant([c.num_kv_heads, groups]), _size(x, 2), _constant([c.head_dim])], 0)
        wide = ops.broadcast(ops.unsqueeze(x, _constant(2)), shape, "BIDIRECTIONAL")
        return ops.reshape(wide, _constant([0, c.num_heads, -1, c.head_dim]), special_zero=True)

    def _mask(self, inputs: _Inputs) -> Any:
        """Return what may be attended to, [B, 1, T, S] boolean: nothing padded, nothing that comes later."""
        total, length = _size(inputs.mask, 1), _size(inputs.ids, 1)
        zero = _constant(0)
        keys = ops.range(zero, ops.squeeze(total, zero), _constant(1), "i64")
        rows = ops.range(ops.squeeze(ops.subtract(total, length), zero), ops.squeeze(total, zero), _constant(1), "i64")
        past = ops.less_equal(ops.unsqueeze(keys, zero), ops.unsqueeze(rows, _constant(1)))
        real = ops.unsqueeze(ops.convert(inputs.mask, "boolean"), _constant([1, 2]))
        return ops.logical_and(real, ops.unsqueeze(past, _constant([0, 1])))

    def _angles(self, positions: Any) -> tuple[Any, Any]:
        """Return cosine and sine of the rotary angles, each [B, 1, T, D]."""
        frequencies = inverse_frequencies(self._config).numpy().reshape(1, -1, 1)
        rows = ops.convert(ops.unsqueeze(positions, _constant(1)), "f32")
        angles = ops.transpose(
            ops.matmul(_broadcast_rows(frequencies, positions), rows, False, False), _constant([0, 2, 1])
        )
        both = ops.concat([angles, angles], -1)
        return ops.unsqueeze(ops.cos(both), _constant(1)), ops.unsqueeze(ops.sin(both), _constant(1))

    def _norm(self, x: Any, name: str) -> Any:
        square = ops.reduce_mean(ops.power(x, _constant(2.0, np.float32)), _constant([-1]), keep_dims=True)
        root = ops.sqrt(ops.add(square, _constant(self._config.norm_eps, np.float32)))
        scaled = ops.multiply(x, ops.divide(_constant(1.0, np.float32), root))
        return ops.multiply(self._vector(f"{name}.weight"), scaled)

    def _linear(self, name: str, x: Any, *, bias: bool = False) -> Any:
        y = ops.matmul(x, self._matrix(f"{name}.weight"), transpose_a=False, transpose_b=True)
        y.set_friendly_name(f"__module.{name}/ov_ext::linear/MatMul")
        return ops.add(y, self._vector(f"{name}.bias")) if bias else y

    def _vector(self, name: str) -> Any:
        return ops.constant(_float32(self._tensors[name]))

    def _matrix(self, name: str) -> Any:
        values = _float32(self._tensors[name])
        if not self._quantises:
            return ops.constant(values, name=f"self.{name}")
        scale = np.maximum(np.abs(values).max(1, keepdims=True) / 127, np.finfo(np.float32).tiny)
        rounded = np.rint(values / scale).astype(np.int8)
        whole = ops.convert(ops.constant(rounded, name=f"self.{name}"), "f32")
        return ops.multiply(whole, ops.constant(scale.astype(np.float32)))


def _parameter(name: str, shape: list[int], dtype: type) -> Any:
    node = ops.parameter(shape, dtype, name=name)
    node.output(0).set_names({name})
    return node


def _constant(value: Any, dtype: type = np.int64) -> Any:
    return ops.constant(np.array(value, dtype))


def _size(x: Any, axis: int) -> Any:
    return ops.gather(ops.shape_of(x, "i64"), _constant([axis]), _constant(0))


def _swap(x: Any) -> Any:
    """Exchange the axes of positions and heads."""
    return ops.transpose(x, _constant([0, 2, 1, 3]))


def _broadcast_rows(rows: NDArray[np.float32], like: Any) -> Any:
    shape = ops.concat([_size(like, 0), _constant([rows.shape[1], 1])], 0)
    return ops.broadcast(ops.constant(rows), shape, "BIDIRECTIONAL")


def _float32(tensor: torch.Tensor) -> NDArray[np.float32]:
    return tensor.to(torch.float32).contiguous().numpy()
