"""`bessemer batch`: answer all requests of a file at leisure."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any

import typer

from bessemer.artifacts.attestation import key_id, load_public_key, read_statement
from bessemer.artifacts.blobs import sha256_of
from bessemer.cli.deployment import target_of
from bessemer.cli.output import console, job_state, print_message, short
from bessemer.cli.progress import follow
from bessemer.cli.settings import Settings, settings_of
from bessemer.kernel.errors import DataLoss, FailedPrecondition
from bessemer.sdk import Client
from bessemer.sdk.jobs import ended

__all__ = ["app"]

app = typer.Typer(help="Answer all requests of a file, each once.", no_args_is_help=True)
To = Annotated[Path, typer.Option(help="JSONL file for the answers; refusals and the receipt are put beside it.")]


@app.command()
def run(
    context: typer.Context,
    requests: Annotated[Path, typer.Argument(help="JSONL file: bodies of OpenAI's API, or its batch format.")],
    endpoint: Annotated[str, typer.Option(help="Endpoint that answers, ENDPOINT:ADAPTER for one with adapters.")] = (
        "assistant"
    ),
    to: To = Path("answers.jsonl"),
    wait: Annotated[bool, typer.Option(help="Follow the job to its end and fetch the answers.")] = True,
) -> None:
    """Answer the requests of a file through an endpoint, beside its live traffic; stopping the command stops nothing.

    Example: bessemer batch run questions.jsonl --endpoint assistant --to answers.jsonl
    """
    settings = settings_of(context)
    if not requests.is_file():
        raise typer.BadParameter(f"there is no file {requests}", param_hint="REQUESTS")
    target, adapter = target_of(settings, endpoint)
    with settings.client() as client:
        upload = client.upload(settings.project, requests, media_type="application/jsonl")
        job = client.serve.create_batch_inference_job(
            parent=settings.project,
            batch_inference_job={"endpoint": target, "adapter": adapter, "upload": upload.name},
        )
        if not wait:
            print_message(settings, job, {"job": short(job.name), "next": f"bessemer batch fetch {short(job.name)}"})
            return
        _fetch(client, settings, follow(client, settings, job, f"answering {requests.name}"), to)


@app.command()
def fetch(
    context: typer.Context,
    job: Annotated[str, typer.Argument(help="Job, such as batch-0199f3.")],
    to: To = Path("answers.jsonl"),
) -> None:
    """Fetch the answers of a job that has ended; one that was cancelled has those until then.

    Example: bessemer batch fetch batch-0199f3 --to answers.jsonl
    """
    settings = settings_of(context)
    with settings.client() as client:
        found = client.serve.get_batch_inference_job(name=settings.name("batchInferenceJobs", job))
        if not ended(found):
            hint = f"follow it with: bessemer job watch {short(found.name)}"
            raise FailedPrecondition(f"{short(found.name)} is {job_state(found)}, {found.status.stage}; {hint}")
        _fetch(client, settings, found, to)


@app.command()
def verify(
    context: typer.Context,
    answers: Annotated[Path, typer.Argument(help="File of answers; its receipt and refusals lie beside it.")],
    key: Annotated[
        Path | None, typer.Option(help="Public key of whoever answered; this stack's own by default.")
    ] = None,
) -> None:
    """Check offline that answers and refusals are those that the service signed for.

    Example: bessemer batch verify answers.jsonl --key artifacts.pub
    """
    settings = settings_of(context)
    receipt = _beside(answers, "receipt.json")
    for file in (answers, receipt):
        if not file.is_file():
            raise typer.BadParameter(f"there is no file {file}", param_hint="ANSWERS")
    public = load_public_key(key or settings.home / "credentials" / "artifacts.pub")
    statement = read_statement(receipt.read_bytes(), public)
    errors = _beside(answers, "errors")
    found = {
        "output.jsonl": sha256_of(answers),
        "errors.jsonl": sha256_of(errors) if errors.is_file() else hashlib.sha256().hexdigest(),
    }
    changed = [name for name, digest in statement.subjects.items() if found.get(name) != digest]
    if changed:
        raise DataLoss(f"{', '.join(changed)} is not what was signed; fetch it again: bessemer batch fetch")
    told = statement.predicate
    facts = {
        "answers": f"{told['succeeded']} of {told['requests']}, as signed by {key_id(public)[:16]}",
        "answered by": ", ".join(map(short, told["modelVersions"])),
        "input sha256": told["inputSha256"],
    }
    for name, fact in facts.items():
        console.print(f"{name}: {fact}", markup=False)


def _beside(answers: Path, ending: str) -> Path:
    return answers.with_name(f"{answers.name}.{ending}")


def _fetch(client: Client, settings: Settings, job: Any, to: Path) -> None:
    if not job.HasField("output"):
        raise FailedPrecondition(f"{short(job.name)} has no answers: {job.status.error.message}")
    client.download(job.output, to)
    receipt = _beside(to, "receipt.json")
    receipt.write_bytes(job.receipt)
    facts = {
        "job": short(job.name),
        "answers": f"{job.succeeded} in {to}",
        "refused": f"{job.failed}",
        "tokens": f"{job.prompt_tokens} read, {job.completion_tokens} written",
        "answered by": ", ".join(map(short, job.model_versions)),
        "receipt": receipt,
    }
    if job.HasField("errors"):
        errors = _beside(to, "errors")
        client.download(job.errors, errors)
        facts["refused"] = f"{job.failed} in {errors}"
    print_message(settings, job, facts)
    if job.failed and not job.succeeded:
        console.print("every request was refused; the errors say why", style="yellow")
