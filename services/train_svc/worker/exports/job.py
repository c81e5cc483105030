"""The export job: write the format, run it by its own runtime, compare, and pack what passed."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from bessemer.api.train.v1.model_pb2 import ModelJob, ModelJobResult
from bessemer.artifacts.blobs import Blobs, sha256_of
from bessemer.artifacts.bundle import SUMS, checksums, digests_of
from bessemer.artifacts.manifest import canonical_json, fetch, read_manifest
from bessemer.jobs.worker import Done, TaskContext
from bessemer.kernel.errors import FailedPrecondition
from bessemer.modeling.load import REWARD_HEAD
from bessemer.modeling.parity.compare import Subject, compare, require
from bessemer.modeling.parity.subjects import TorchSubject, probes_of
from google.protobuf.json_format import MessageToDict

from train_svc.worker.archive import pack_folder
from train_svc.worker.exports.card import model_card
from train_svc.worker.model_folder import TOKENIZER_FILES

__all__ = ["Made", "export", "make"]


@dataclass(frozen=True)
class Made:
    """A written export: the file with its weights, the model as its runtime has it, errors of weights where known."""

    weights: Path
    subject: Subject
    weight_errors: Mapping[str, float] | None


def export(context: TaskContext, job: ModelJob, blobs: Blobs) -> Done:
    """Write the format, prove that it is the same model, pack it with card, reports and checksums.

    Raises: FailedPrecondition for an architecture or tokenizer that the format does not have, and PARITY_FAILED when
    what came out says something else.
    """
    task = job.export
    context.report(stage="read the model", fraction=0.0)
    manifest = read_manifest(blobs, job.inputs.model_manifest)
    folder = fetch(blobs, manifest, context.workdir / "model")
    if task.format != "safetensors" and (folder / REWARD_HEAD).is_file():
        raise FailedPrecondition(
            f"a reward model's head has no place in {task.format}; export to safetensors", reason="FIELD_INVALID"
        )
    context.check()
    context.report(stage=f"write {task.format}", fraction=0.2)
    target = context.workdir / "export"
    facts = {"name": task.model_version, "license": str(manifest.facts.get("license", ""))}
    made = make(folder, target, task.format, task.precision, facts={k: v for k, v in facts.items() if v})
    context.check()
    context.report(stage="compare with the trained model", fraction=0.5)
    reference = TorchSubject(folder)
    report = compare(
        reference,
        made.subject,
        probes_of(reference),
        hop="export",
        precision=task.precision,
        has_experts=reference.model.config.has_experts,
        weight_errors=made.weight_errors,
        check=context.check,
    )
    report.reference_sha256 = job.inputs.model_manifest.sha256
    report.candidate_sha256 = sha256_of(made.weights)
    require(report)
    context.report(stage="pack", fraction=0.9)
    (target / "MODEL_CARD.md").write_text(model_card(job, reference.model.config, report), encoding="utf-8")
    (target / "parity.json").write_bytes(canonical_json(MessageToDict(report)))
    (target / SUMS).write_text(checksums(digests_of(target)), encoding="utf-8")
    archive = blobs.put_file(pack_folder(target, context.workdir / "model.tar"), "application/x-tar")
    return Done(ModelJobResult(archive=archive, parity=[report], files=digests_of(target)), [archive])


def make(folder: Path, target: Path, form: str, precision: str, *, facts: Mapping[str, str]) -> Made:
    """Write a folder in a format and load the result by its runtime; runtimes are imported only when needed."""
    target.mkdir(parents=True)
    writers = {"safetensors": _safetensors, "gguf": _gguf, "onnx": _onnx, "openvino": _openvino}
    return writers[form](folder, target, precision, facts)


def _safetensors(folder: Path, target: Path, precision: str, _facts: Mapping[str, str]) -> Made:
    from train_svc.worker.exports.safetensors_folder import weight_errors, write_folder

    write_folder(folder, target, precision)
    return Made(target / "model.safetensors", TorchSubject(target), weight_errors(folder, target, precision))


def _gguf(folder: Path, target: Path, precision: str, facts: Mapping[str, str]) -> Made:
    try:
        from train_svc.worker.exports.llama import LlamaSubject
    except ImportError:
        raise FailedPrecondition(
            "a GGUF file is proved by llama.cpp, which is not installed; install bessemer[llama] where workers run",
            reason="FIELD_INVALID",
            field="export.format",
        ) from None
    from train_svc.worker.exports.gguf_file import weight_errors, write_gguf

    path = write_gguf(folder, target / "model.gguf", precision, facts)
    return Made(
        path, LlamaSubject(path, precision, threads=torch.get_num_threads()), weight_errors(folder, path, precision)
    )


def _onnx(folder: Path, target: Path, precision: str, facts: Mapping[str, str]) -> Made:
    from train_svc.worker.exports.onnx_file import write_onnx
    from train_svc.worker.exports.onnx_runtime import OnnxSubject
    from train_svc.worker.exports.onnx_weights import weight_errors

    copy_settings(folder, target)
    path = write_onnx(folder, target / "model.onnx", precision, facts)
    subject = OnnxSubject(target, threads=torch.get_num_threads())
    return Made(path.with_name("model.onnx.data"), subject, weight_errors(folder, path, precision))


def _openvino(folder: Path, target: Path, precision: str, facts: Mapping[str, str]) -> Made:
    from train_svc.worker.exports.openvino_folder import weight_errors, write_openvino
    from train_svc.worker.exports.openvino_runtime import OpenVinoSubject

    copy_settings(folder, target)
    weights = write_openvino(folder, target, precision, facts)
    subject = OpenVinoSubject(target, precision, threads=torch.get_num_threads())
    return Made(weights, subject, weight_errors(folder, weights.with_suffix(".xml"), precision))


def copy_settings(folder: Path, target: Path) -> None:
    """Copy configuration, tokenizer, template and sampling settings."""
    for name in ("config.json", *TOKENIZER_FILES):
        if (folder / name).is_file():
            shutil.copyfile(folder / name, target / name)
