"""The gate that every hop of a model passes: six planted faults, clean hops of every format, and the refusal itself."""

from __future__ import annotations

import json
import shutil

import pytest
from bessemer.kernel.errors import FailedPrecondition
from bessemer.modeling.parity.compare import require
from train_svc.domain.exports import FORMATS
from train_svc.worker.exports.job import make

pytest.importorskip("llama_cpp")

from tests.fixtures.defects import DEFECTS, clean_export, clean_merge
from tests.fixtures.tiny_model import make_tiny_model
from tests.fixtures.trained_model import make_trained_model
from tests.numerics.test_parity import VARIANTS

ONLY_DENSE = ("onnx", "openvino")
RUNS = {form: [(form, precision) for precision in FORMATS[form]] for form in FORMATS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_trained_model(tmp_path_factory.mktemp("trained") / "model")


@pytest.mark.parametrize("name", DEFECTS)
def test_planted_fault_is_refused_by_the_check_it_concerns(tmp_path, folder, name):
    plant, check = DEFECTS[name]
    report = plant(folder, tmp_path / "out")
    failed = [each.name for each in report.checks if not each.passed]
    assert check in failed
    with pytest.raises(FailedPrecondition, match=f"{failed[0]} is .*, limit") as caught:
        require(report)
    assert caught.value.reason == "PARITY_FAILED"
    assert caught.value.fields["check"] == failed[0]


def test_clean_merge_passes(tmp_path, folder):
    report = require(clean_merge(folder, tmp_path / "out"))
    assert report.tokens > 500


@pytest.mark.parametrize("form", FORMATS)
def test_clean_exports_pass_in_every_number_format_of_a_format(tmp_path, folder, form):
    for form_, precision in RUNS[form]:
        report = require(clean_export(folder, tmp_path / precision, form_, precision))
        assert report.runtime.split()[0] in {"torch", "llama.cpp", "onnxruntime", "openvino"}


@pytest.mark.parametrize("name", ["llama3 rope", "qwen2", "qwen3", "mixtral", "untied", "one key head"])
@pytest.mark.parametrize("form", FORMATS)
def test_clean_export_of_an_architecture_passes_or_says_what_to_take_instead(tmp_path, name, form):
    folder = make_tiny_model(tmp_path / "model", **VARIANTS[name])
    if name == "mixtral" and form in ONLY_DENSE:
        with pytest.raises(FailedPrecondition, match=r"safetensors|GGUF|gguf"):
            clean_export(folder, tmp_path / "out", form, "fp32")
        return
    require(clean_export(folder, tmp_path / "out", form, "fp32"))


def test_model_without_a_template_is_compared_by_its_prompts(tmp_path, folder):
    plain = tmp_path / "plain"
    shutil.copytree(folder, plain)
    settings = (plain / "tokenizer_config.json").read_text()
    (plain / "tokenizer_config.json").write_text(settings.replace('"chat_template"', '"unused"'))
    for form in FORMATS:
        report = require(clean_export(plain, tmp_path / form, form, "fp32"))
        assert "tokenizer/prompts" in {check.name for check in report.checks}


def test_tokenizer_that_cuts_digits_apart_is_exact_in_every_runtime(tmp_path, folder):
    digits = tmp_path / "digits"
    shutil.copytree(folder, digits)
    file = json.loads((digits / "tokenizer.json").read_text())
    words = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    cut = [{"type": "Digits", "individual_digits": True}, words]
    file["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": cut}
    (digits / "tokenizer.json").write_text(json.dumps(file))
    for form in FORMATS:
        require(clean_export(digits, tmp_path / form, form, "fp32"))


def test_export_whose_vocabulary_is_cut_is_refused_without_asking_for_logits(tmp_path, folder):
    from bessemer.modeling.parity.compare import compare
    from bessemer.modeling.parity.subjects import TorchSubject, probes_of

    reference = TorchSubject(folder)
    made = make(folder, tmp_path / "out", "safetensors", "fp32", facts={})
    made.subject.vocabulary = lambda: reference.vocabulary()[:-1]
    report = compare(reference, made.subject, probes_of(reference), hop="export", precision="fp32")
    assert [check.name for check in report.checks if not check.passed] == ["tokenizer/vocabulary"]
    assert "logits/kl_mean" not in {check.name for check in report.checks}
