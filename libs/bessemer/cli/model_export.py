"""`bessemer model export` and `model verify`: take a model anywhere, and prove later that it is still the same."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from bessemer.artifacts.attestation import key_id, load_public_key, read_statement
from bessemer.artifacts.bundle import ARCHIVE, digests_of, verify_bundle
from bessemer.cli.output import bytes_text, console, print_message, short
from bessemer.cli.progress import follow
from bessemer.cli.settings import Settings, settings_of
from bessemer.kernel.errors import InvalidRequest

__all__ = ["export", "verify"]

_ENDING = ".attestation.json"


class Format(StrEnum):
    """What to write."""

    SAFETENSORS = "safetensors"
    GGUF = "gguf"
    ONNX = "onnx"
    OPENVINO = "openvino"


class Precision(StrEnum):
    """Number format of the weights."""

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"
    INT8 = "int8"
    INT4 = "int4"


def export(
    context: typer.Context,
    version: Annotated[str, typer.Argument(help="Version, such as assistant/v2 or assistant@champion.")],
    to: Annotated[Path, typer.Option(help="Tar file to write; its attestation is put beside it.")] = Path("model.tar"),
    form: Annotated[Format, typer.Option("--format", help="What the model is to run on.")] = Format.SAFETENSORS,
    quantize: Annotated[
        Precision | None, typer.Option(help="Number format of the weights; the format's usual one by default.")
    ] = None,
) -> None:
    """Export a version, proved to say what the trained one says, with a card and a signature; yours to take anywhere.

    Example: bessemer model export assistant@champion --format gguf --quantize int8 --to assistant.tar
    """
    settings = settings_of(context)
    with settings.client() as client:
        found = client.train.get_model_version(name=settings.version_name("models", version))
        task = {
            "model_version": found.name,
            "format": form.value,
            "precision": quantize.value if quantize else "",
            "evaluations": _evaluations(client, settings, found.name),
        }
        job = client.train.create_model_job(parent=settings.project, model_job={"export": task})
        done = follow(client, settings, job, f"exporting {version}")
        client.download(done.archive, to)
        attestation = to.with_name(to.name + _ENDING)
        attestation.write_bytes(done.attestation)
        checks = done.parity[0].checks
        facts = {
            "file": to,
            "size": bytes_text(done.archive.size_bytes),
            "sha256": done.archive.sha256,
            "parity": f"{len(checks)} of {len(checks)} checks hold through {done.parity[0].runtime}",
            "attestation": attestation,
            "public key": settings.home / "credentials" / "artifacts.pub",
        }
        print_message(settings, done, facts)


def verify(
    context: typer.Context,
    bundle: Annotated[Path, typer.Argument(help="Tar file that was exported, or the folder it was unpacked into.")],
    attestation: Annotated[
        Path | None, typer.Option(help="Attestation of the export; looked for beside the bundle by default.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="Public key of whoever exported it; this stack's own by default.")
    ] = None,
) -> None:
    """Check offline that an exported model is what was exported: every file, nothing missing, nothing added.

    Example: bessemer model verify assistant.tar --key artifacts.pub
    """
    settings = settings_of(context)
    stated = attestation or bundle.with_name(bundle.name + _ENDING)
    if not stated.is_file():
        raise InvalidRequest(f"there is no attestation {stated}; name it with --attestation", field="attestation")
    public = load_public_key(key or settings.home / "credentials" / "artifacts.pub")
    statement = read_statement(stated.read_bytes(), public)
    digests = digests_of(bundle)
    verify_bundle(digests, statement)
    told = statement.predicate
    console.print(f"{bundle} is {short(told['modelVersion'])} as {told['format']} {told['precision']}", markup=False)
    console.print(f"  {len(digests) - (ARCHIVE in digests)} files as signed by {key_id(public)[:16]}", markup=False)
    for report in told["parity"]:
        held = sum(1 for check in report["checks"] if check.get("passed"))
        console.print(
            f"  {report['hop']}: {held} of {len(report['checks'])} checks hold, {report['runtime']}", markup=False
        )


def _evaluations(client: Any, settings: Settings, version: str) -> list[dict[str, Any]]:
    """Return what finished evaluations of a version found, the newest of each suite, for its card."""
    newest: dict[str, dict[str, Any]] = {}
    for run in client.pages(client.eval.list_evaluation_runs, parent=settings.project):
        if run.model_version != version:
            continue
        for result in run.results:
            newest[result.suite] = {
                "evaluation_run": run.name,
                "suite": result.suite,
                "metric": "perplexity" if result.bits_per_byte else "score",
                "value": result.score,
                "low": result.interval.low,
                "high": result.interval.high,
                "cases": result.num_cases,
            }
    return list(newest.values())[-100:]
