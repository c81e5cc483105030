"""A model folder as OpenVINO GenAI loads it: graph, tokenizer and detokenizer as OpenVINO models."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import openvino
import transformers
from bessemer.modeling.load import hf_tensors, load_decoder
from bessemer.modeling.openvino_graph import build_graph
from openvino_tokenizers import convert_tokenizer
from tokenizers import Regex, pre_tokenizers

from train_svc.worker.exports.weights import weight_error

__all__ = ["weight_errors", "write_openvino"]

_DIGITS_AND_WORDS = r"\p{N}|'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+(?=\p{N})|\s+(?!\S)|\s+"


def write_openvino(folder: Path, target: Path, precision: str, facts: Mapping[str, str]) -> Path:
    """Write the graph and the converted tokenizer into `target`, which holds the folder's settings; return the weights.

    Raises: FailedPrecondition for models that have no such graph.
    """
    graph = build_graph(folder, weights=precision)
    for name, value in facts.items():
        graph.set_rt_info(value, ["bessemer", name])
    path = target / "openvino_model.xml"
    openvino.save_model(graph, path, compress_to_fp16=False)
    # The automatic class would rebuild the tokenizer as its architecture's first release had it.
    reader = transformers.PreTrainedTokenizerFast.from_pretrained(target, local_files_only=True)
    cut = reader.backend_tokenizer.pre_tokenizer
    reader.backend_tokenizer.pre_tokenizer = _in_one_rule(cut)
    tokenizer, detokenizer = convert_tokenizer(reader, with_detokenizer=True)
    openvino.save_model(tokenizer, target / "openvino_tokenizer.xml")
    openvino.save_model(detokenizer, target / "openvino_detokenizer.xml")
    return path.with_suffix(".bin")


def _in_one_rule(cut: Any) -> Any:
    """Return a pre-tokenizer that cuts as `cut` does, in a form that OpenVINO applies exactly.

    Its second split of digits-then-words sees past the piece it splits, so that two line ends before a digit come
    apart. Written as one rule, in which spaces before a digit are one piece, there is no second split.
    """
    parts = json.loads(cut.__getstate__()).get("pretokenizers", []) if cut is not None else []
    kinds = [part["type"] for part in parts]
    if kinds != ["Digits", "ByteLevel"] or not parts[0]["individual_digits"] or not parts[1]["use_regex"]:
        return cut
    words = pre_tokenizers.Split(Regex(_DIGITS_AND_WORDS), "isolated")
    rest = pre_tokenizers.ByteLevel(add_prefix_space=parts[1]["add_prefix_space"], use_regex=False)
    return pre_tokenizers.Sequence([words, rest])


def weight_errors(folder: Path, path: Path, precision: str) -> dict[str, float]:
    """Return the error of each matrix of a written graph; infinite for a missing one."""
    found: dict[str, Any] = {}
    for node in openvino.Core().read_model(path).get_ordered_ops():
        if node.get_type_name() == "Constant" and node.get_friendly_name().startswith("self."):
            found.setdefault(node.get_friendly_name().removeprefix("self."), node)
    matrices = {name: t.numpy() for name, t in hf_tensors(load_decoder(folder)).items() if t.dim() > 1}
    return {
        name: weight_error(was, _values(found[name]), precision) if name in found else float("inf")
        for name, was in matrices.items()
    }


def _values(node: Any) -> Any:
    """Return a constant as what a product multiplies with: integers by the scale of their row."""
    if node.data.dtype.kind == "f":
        return node.data
    (convert,) = (each.get_node() for each in node.output(0).get_target_inputs())
    (multiply, *_) = (each.get_node() for each in convert.output(0).get_target_inputs())
    return node.data.astype("float32") * multiply.input_value(1).get_node().data
