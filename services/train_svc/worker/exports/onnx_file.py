"""A model folder as an ONNX decoder with a key-value cache, in the layout that device runtimes know.

Inputs `input_ids` and `position_ids` [B, S], `attention_mask` [B, P + S], `past_key_values.N.key` and `.value`
[B, K, P, D]; outputs `logits` [B, L, V] and `present.N.key` and `.value` [B, K, P + S, D]. B batch, S new tokens, P
cached ones, K key heads, D their width, L logits: all S, or the last `num_logits_to_keep` where that input is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from bessemer.kernel.errors import FailedPrecondition
from bessemer.modeling.config import ModelConfig, QueryKeyNorm
from bessemer.modeling.load import load_decoder
from bessemer.modeling.transformer import Transformer, inverse_frequencies
from onnx import TensorProto

from train_svc.worker.exports.onnx_nodes import Graph

__all__ = ["BLOCK", "PRECISIONS", "dequantised", "quantised", "write_onnx"]

PRECISIONS = {"fp32": 0, "int8": 8, "int4": 4}  # bits; 0 means none are saved
BLOCK = 32  # weights of one row that share a scale
_LOWEST = float(np.finfo(np.float32).min)
Array = npt.NDArray[np.float32]


def write_onnx(folder: Path, target: Path, precision: str, facts: Mapping[str, str]) -> Path:
    """Write `target` and, beside it, `<target>.data` with the weights.

    Raises: FailedPrecondition for models with routed experts.
    """
    model = load_decoder(folder)
    if model.config.experts is not None:
        raise FailedPrecondition(
            "models with routed experts are not exported to onnx, whose standard has no operator for them; "
            "take gguf or safetensors",
            reason="FIELD_INVALID",
            field="export.format",
        )
    with Graph(target.with_name(target.name + ".data")) as graph:
        _Decoder(graph, model, PRECISIONS[precision]).build()
        graph.save(target, dict(facts))
    return target


def quantised(weight: Array, bits: int) -> tuple[npt.NDArray[np.uint8], Array]:
    """Round a weight to integers of `bits` with one scale for each block of a row, symmetric around zero.

    Shapes: weight [N, K]; result [N, K / BLOCK, BLOCK * bits / 8] and scales [N, K / BLOCK], where K is filled up.
    The scale takes the value farthest from zero to the integer farthest from zero, as llama.cpp's Q4_0 does.
    """
    rows, width = weight.shape
    blocks = -(-width // BLOCK)
    padded = np.zeros((rows, blocks * BLOCK), np.float32)
    padded[:, :width] = weight
    groups = padded.reshape(rows, blocks, BLOCK)
    half = 1 << (bits - 1)
    farthest = np.take_along_axis(groups, np.abs(groups).argmax(-1, keepdims=True), -1)
    scales = -farthest / half
    inverse = np.divide(1.0, scales, out=np.zeros_like(scales), where=scales != 0)
    integers = np.clip(np.rint(groups * inverse) + half, 0, 2 * half - 1).astype(np.uint8)
    if bits == 4:
        integers = integers[..., ::2] | (integers[..., 1::2] << 4)
    return integers, scales[..., 0].astype(np.float32, copy=False)


def dequantised(integers: npt.NDArray[np.uint8], scales: Array, bits: int, width: int) -> Array:
    """Return what `quantised` stands for, [N, width]."""
    if bits == 4:
        integers = np.stack([integers & 15, integers >> 4], -1).reshape(*integers.shape[:2], -1)
    values = (integers.astype(np.float32) - (1 << (bits - 1))) * scales[..., None]
    return values.reshape(len(integers), -1)[:, :width]


class _Decoder:
    """Adds the decoder to a graph, one method for each part of `modeling.transformer`."""

    def __init__(self, graph: Graph, model: Transformer, bits: int) -> None:
        self.g = graph
        self.config: ModelConfig = model.config
        self.bits = bits
        self.weights = {name: p.detach().numpy() for name, p in model.named_parameters()}
        self.table: tuple[str, str] = ("", "")

    def build(self) -> None:
        """Declare inputs, compute, declare outputs."""
        g, c = self.g, self.config
        kind = TensorProto.INT64
        ids = g.input("input_ids", kind, ("batch", "sequence"))
        mask = g.input("attention_mask", kind, ("batch", "total"))
        positions = g.input("position_ids", kind, ("batch", "sequence"))
        keep = g.input("num_logits_to_keep", kind, (), np.array(0, np.int64))
        x = self._embedded(ids)
        angles = self._angles(positions)
        bias = self._bias(ids, mask)
        shape = ("batch", c.num_kv_heads, "past", c.head_dim)
        grown = ("batch", c.num_kv_heads, "total", c.head_dim)
        for layer in range(c.num_layers):
            past = tuple(
                g.input(f"past_key_values.{layer}.{part}", TensorProto.FLOAT, shape) for part in ("key", "value")
            )
            x, present = self._block(x, layer, angles, bias, past=past)
            for value, part in zip(present, ("key", "value"), strict=True):
                g.output(value, f"present.{layer}.{part}", grown)
        length = g.op("Gather", g.op("Shape", ids), g.constant(1), axis=0)
        start = g.op("Where", g.op("Equal", keep, g.constant(0)), g.constant(0), g.op("Sub", length, keep))
        start = g.op("Reshape", start, g.constant([1]))
        x = g.op("Slice", x, start, g.op("Reshape", length, g.constant([1])), g.constant([1]))
        x = self._norm(x, "norm")
        g.output(self._head(x), "logits", ("batch", "logits", c.vocab_size))

    def _block(
        self, x: str, layer: int, angles: tuple[str, str], bias: str, *, past: tuple[str, ...]
    ) -> tuple[str, tuple[str, str]]:
        g, c, home = self.g, self.config, f"blocks.{layer}"
        qkv = self._linear(self._norm(x, f"{home}.attention_norm"), f"{home}.qkv")
        heads, kv, width = c.num_heads, c.num_kv_heads, c.head_dim
        sizes = g.constant([heads * width, kv * width, kv * width])
        q, k, v = g.ops("Split", qkv, sizes, outputs=3, axis=-1)
        q, k = self._heads(q, heads, f"{home}.q_norm"), self._heads(k, kv, f"{home}.k_norm")
        v = g.op("Reshape", v, g.constant([0, 0, kv, width]))
        q, k = self._rotated(q, angles), self._rotated(k, angles)
        q = g.op("Mul", q, g.constant(width**-0.5, np.float32))
        q, k, v = (g.op("Transpose", each, perm=[0, 2, 1, 3]) for each in (q, k, v))
        k, v = (g.op("Concat", *pair, axis=2) for pair in zip(past, (k, v), strict=True))
        attended = self._attended(q, k, v, bias)
        x = g.op("Add", x, self._linear(attended, f"{home}.output"))
        gate_up = self._linear(self._norm(x, f"{home}.mlp_norm"), f"{home}.mlp.gate_up")
        gate, up = g.ops("Split", gate_up, outputs=2, axis=-1, num_outputs=2)
        inner = g.op("Mul", g.op("Mul", gate, g.op("Sigmoid", gate)), up)
        return g.op("Add", x, self._linear(inner, f"{home}.mlp.down")), (k, v)

    def _heads(self, x: str, heads: int, norm: str) -> str:
        """Cut [B, S, heads * D] into [B, S, heads, D], normalised as the model does it."""
        g, c = self.g, self.config
        shape = g.constant([0, 0, heads, c.head_dim])
        if c.qk_norm is QueryKeyNorm.ALL:
            x = self._norm(x, norm)
        x = g.op("Reshape", x, shape)
        return self._norm(x, norm) if c.qk_norm is QueryKeyNorm.HEAD else x

    def _attended(self, q: str, k: str, v: str, bias: str) -> str:
        """Attend: q [B, heads, S, D], k and v [B, K, T, D]; the query heads of a key head stand one after the other."""
        g, c = self.g, self.config
        kv, groups = c.num_kv_heads, c.num_heads // c.num_kv_heads
        q = g.op("Reshape", q, g.constant([0, kv, -1, c.head_dim]))
        scores = g.op("MatMul", q, g.op("Transpose", k, perm=[0, 1, 3, 2]))
        total = g.op("Shape", k, start=2, end=3)
        apart = g.op("Concat", g.constant([0, kv, groups, -1]), total, axis=0)
        scores = g.op("Softmax", g.op("Add", g.op("Reshape", scores, apart), bias), axis=-1)
        together = g.op("Concat", g.constant([0, kv, -1]), total, axis=0)
        out = g.op("MatMul", g.op("Reshape", scores, together), v)
        out = g.op("Reshape", out, g.constant([0, c.num_heads, -1, c.head_dim]))
        out = g.op("Transpose", out, perm=[0, 2, 1, 3])
        return g.op("Reshape", out, g.constant([0, 0, c.num_heads * c.head_dim]))

    def _angles(self, positions: str) -> tuple[str, str]:
        g = self.g
        frequencies = g.weight("inverse_frequencies", inverse_frequencies(self.config).numpy())
        at = g.op("Unsqueeze", g.op("Cast", positions, to=TensorProto.FLOAT), g.constant([2, 3]))
        angles = g.op("Mul", at, frequencies)
        return g.op("Cos", angles), g.op("Sin", angles)

    def _rotated(self, x: str, angles: tuple[str, str]) -> str:
        g, (cos, sin) = self.g, angles
        a, b = g.ops("Split", x, outputs=2, axis=-1, num_outputs=2)
        left = g.op("Sub", g.op("Mul", a, cos), g.op("Mul", b, sin))
        right = g.op("Add", g.op("Mul", b, cos), g.op("Mul", a, sin))
        return g.op("Concat", left, right, axis=-1)

    def _bias(self, ids: str, mask: str) -> str:
        """Return what is added to scores, [B, 1, 1, S, T]: zero where a token may look, the lowest number elsewhere."""
        g = self.g
        length = g.op("Gather", g.op("Shape", ids), g.constant(1), axis=0)
        total = g.op("Gather", g.op("Shape", mask), g.constant(1), axis=0)
        keys = g.op("Range", g.constant(0), total, g.constant(1))
        queries = g.op("Range", g.op("Sub", total, length), total, g.constant(1))
        before = g.op("LessOrEqual", keys, g.op("Unsqueeze", queries, g.constant([1])))
        real = g.op("Unsqueeze", g.op("Cast", mask, to=TensorProto.BOOL), g.constant([1, 2, 3]))
        seen = g.op("And", before, real)
        return g.op("Where", seen, g.constant(0.0, np.float32), g.constant(_LOWEST, np.float32))

    def _norm(self, x: str, name: str) -> str:
        g = self.g
        square = g.op("Pow", x, g.constant(2.0, np.float32))
        mean = g.op("ReduceMean", square, g.constant([-1]), keepdims=1)
        root = g.op("Sqrt", g.op("Add", mean, g.constant(self.config.norm_eps, np.float32)))
        return g.op("Mul", g.op("Div", x, root), g.weight(f"{name}.weight", self.weights[name]))

    def _linear(self, x: str, name: str) -> str:
        y = self._product(x, name, self.weights[f"{name}.weight"])
        bias = self.weights.get(f"{name}.bias")
        return y if bias is None else self.g.op("Add", y, self.g.weight(f"{name}.bias", bias))

    def _product(self, x: str, name: str, weight: Array) -> str:
        if not self.bits:
            return self.g.op("MatMul", x, self.g.weight(f"{name}.weight", weight.T))
        integers, scales = quantised(weight, self.bits)
        return self._blocks(x, self.g.weight(f"{name}.q", integers), self.g.weight(f"{name}.scale", scales), weight)

    def _blocks(self, x: str, integers: str, scales: str, weight: Array, bits: int = 0) -> str:
        rows, width = weight.shape
        return self.g.microsoft(
            "MatMulNBits", x, integers, scales, K=width, N=rows, bits=bits or self.bits, block_size=BLOCK,
            accuracy_level=4,
        )  # fmt: skip

    def _embedded(self, ids: str) -> str:
        """Look tokens up, [B, S, H]; the vocabulary is never below int8, since each of its rows is one token's all."""
        g, weight = self.g, self.weights["embedding"]
        if not self.bits:
            return g.op("Gather", g.weight("embedding.weight", weight), ids)
        integers, scales = quantised(weight, 8)
        self.table = (g.weight("embedding.q", integers), g.weight("embedding.scale", scales))
        rows = g.op("Cast", g.op("Gather", self.table[0], ids), to=TensorProto.FLOAT)
        steps = g.op("Unsqueeze", g.op("Gather", self.table[1], ids), g.constant([-1]))
        values = g.op("Mul", g.op("Sub", rows, g.constant(128.0, np.float32)), steps)
        values = g.op("Reshape", values, g.constant([0, 0, -1]))
        width = weight.shape[1]
        return g.op("Slice", values, g.constant([0]), g.constant([width]), g.constant([2]))

    def _head(self, x: str) -> str:
        tied = self.config.tie_embeddings
        weight = self.weights["embedding" if tied else "untied_head"]
        if not self.bits:
            if tied:
                return self.g.op("MatMul", x, self.g.op("Transpose", "embedding.weight", perm=[1, 0]))
            return self._product(x, "head", weight)
        if tied:
            return self._blocks(x, *self.table, weight, bits=8)
        integers, scales = quantised(weight, 8)
        return self._blocks(x, self.g.weight("head.q", integers), self.g.weight("head.scale", scales), weight, bits=8)
