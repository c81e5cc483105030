"""The ONNX graph beyond one row: padded batches, the last logits alone, and what other tools expect of it."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from bessemer.modeling.parity.subjects import TorchSubject
from train_svc.worker.exports.onnx_file import BLOCK, dequantised, quantised, write_onnx

from tests.fixtures.tiny_model import make_tiny_model


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = make_tiny_model(tmp_path_factory.mktemp("onnx") / "model")
    path = write_onnx(folder, folder / "model.onnx", "fp32", {"name": "tiny"})
    return TorchSubject(folder), onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]), path


def feeds(session, rows, **more):
    longest = max(map(len, rows))
    ids = np.array([[0] * (longest - len(row)) + row for row in rows], np.int64)
    mask = np.array([[0] * (longest - len(row)) + [1] * len(row) for row in rows], np.int64)
    positions = np.maximum(mask.cumsum(1) - 1, 0)
    past = {
        each.name: np.zeros((len(rows), each.shape[1], 0, each.shape[3]), np.float32)
        for each in session.get_inputs()
        if each.name.startswith("past_key_values.")
    }
    return {"input_ids": ids, "attention_mask": mask, "position_ids": positions, **past, **more}


def test_rows_padded_on_the_left_say_what_they_say_alone(exported):
    reference, session, _ = exported
    rows = [[5, 6, 7], [9, 8, 7, 6, 5, 4, 3, 20, 30], [100]]
    (logits,) = session.run(["logits"], feeds(session, rows))
    for row, got in zip(rows, logits, strict=True):
        assert np.abs(got[-len(row) :] - reference.logits(row)).max() < 1e-5


def test_last_logits_alone_equal_the_last_of_all(exported):
    _, session, _ = exported
    rows = [[5, 6, 7, 8]]
    (whole,) = session.run(["logits"], feeds(session, rows))
    (last,) = session.run(["logits"], feeds(session, rows, num_logits_to_keep=np.array(2, np.int64)))
    assert last.shape == (1, 2, 512)
    assert np.abs(last - whole[:, -2:]).max() < 1e-6


def test_graph_uses_the_standard_only_and_names_what_other_tools_look_for(exported):
    model = onnx.load(exported[2], load_external_data=False)
    assert {each.domain for each in model.opset_import} == {""}
    names = {each.name for each in model.graph.input}
    assert {"input_ids", "attention_mask", "position_ids", "past_key_values.1.value"} <= names
    assert [each.name for each in model.graph.output][-1] == "logits"
    assert {each.key: each.value for each in model.metadata_props} == {"name": "tiny"}


@pytest.mark.parametrize(("bits", "worst"), [(8, 1 / 128), (4, 1 / 8)])
@pytest.mark.parametrize("width", [BLOCK * 3, BLOCK + 5])
def test_rounded_weights_are_within_half_a_step_of_their_block(bits, worst, width):
    weight = np.random.default_rng(0).normal(size=(7, width)).astype(np.float32)
    weight[3] = 0
    back = dequantised(*quantised(weight, bits), bits, width)
    assert back.shape == weight.shape
    assert not back[3].any()
    for start in range(0, width, BLOCK):
        block, found = weight[:, start : start + BLOCK], back[:, start : start + BLOCK]
        # Half a step, and a whole one at the far end of the range, which has one integer less on one side.
        assert (np.abs(found - block) <= np.abs(block).max(1, keepdims=True) * worst * 1.01).all()
