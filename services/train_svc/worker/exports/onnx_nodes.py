"""Writing ONNX: nodes one after the other, weights straight into a file beside the graph.

Source: https://onnx.ai/onnx/repo-docs/IR.html, https://onnx.ai/onnx/repo-docs/ExternalData.html
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["Graph"]

_OPSET = 21
_MICROSOFT = "com.microsoft"
_ALIGN = 4096  # so that a runtime can map a weight
_INLINE_BYTES = 1024
Array = npt.NDArray[Any]


class Graph:
    """A graph in the making; `data` takes the weights while the graph stays small enough for one message."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._file = data.open("wb")
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[TensorProto] = []
        self._constants: dict[tuple[bytes, str, tuple[int, ...]], str] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def input(self, name: str, kind: int, shape: Sequence[str | int], default: Array | None = None) -> str:
        """Declare an input; one with a default may be left out by the caller."""
        self._inputs.append(helper.make_tensor_value_info(name, kind, list(shape)))
        if default is not None:
            self._initializers.append(numpy_helper.from_array(default, name))
        return name

    def output(self, value: str, name: str, shape: Sequence[str | int]) -> None:
        """Give a value the name of an fp32 output."""
        self._nodes.append(helper.make_node("Identity", [value], [name], name=f"{name}/Identity"))
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)))

    def weight(self, name: str, values: Array) -> str:
        """Add a named weight; large ones go into the data file."""
        values = np.ascontiguousarray(values)
        if values.nbytes <= _INLINE_BYTES:
            self._initializers.append(numpy_helper.from_array(values, name))
            return name
        offset = -(-self._file.tell() // _ALIGN) * _ALIGN
        self._file.seek(offset)
        self._file.write(values.data)
        kind = helper.np_dtype_to_tensor_dtype(values.dtype)
        tensor = TensorProto(name=name, data_type=kind, dims=values.shape, data_location=TensorProto.EXTERNAL)
        for key, value in (("location", self._data.name), ("offset", offset), ("length", values.nbytes)):
            tensor.external_data.add(key=key, value=str(value))
        self._initializers.append(tensor)
        return name

    def constant(self, value: Any, dtype: npt.DTypeLike = np.int64) -> str:
        """Return the name of a small constant; equal ones are shared."""
        array = np.asarray(value, dtype)
        key = (array.tobytes(), array.dtype.str, array.shape)
        if key not in self._constants:
            self._constants[key] = f"constant_{len(self._constants)}"
            self._initializers.append(numpy_helper.from_array(array, self._constants[key]))
        return self._constants[key]

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output and return the output's name."""
        return self.ops(kind, *inputs, outputs=1, **attributes)[0]

    def ops(self, kind: str, *inputs: str, outputs: int, domain: str = "", **attributes: Any) -> list[str]:
        """Add a node and return the names of its outputs."""
        node = f"{kind}_{len(self._nodes)}"
        names = [f"{node}:{i}" for i in range(outputs)]
        self._nodes.append(helper.make_node(kind, list(inputs), names, name=node, domain=domain, **attributes))
        return names

    def microsoft(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node of ONNX Runtime's own operators."""
        return self.ops(kind, *inputs, outputs=1, domain=_MICROSOFT, **attributes)[0]

    def save(self, path: Path, facts: dict[str, str]) -> None:
        """Check the graph and write it; `facts` become its metadata."""
        graph = helper.make_graph(self._nodes, "decoder", self._inputs, self._outputs, self._initializers)
        domains = {node.domain for node in self._nodes}
        opsets = [
            helper.make_opsetid("", _OPSET),
            *([helper.make_opsetid(_MICROSOFT, 1)] if _MICROSOFT in domains else []),
        ]
        model = helper.make_model(graph, opset_imports=opsets, producer_name="bessemer", ir_version=10)
        helper.set_model_props(model, facts)
        self._file.flush()
        path.write_bytes(model.SerializeToString())
        if _MICROSOFT not in domains:  # the checker knows only the standard's operators
            onnx.checker.check_model(str(path), full_check=True)
