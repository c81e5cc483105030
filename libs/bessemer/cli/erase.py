"""`bessemer dataset erase`, `alias` and `delete`: what is done to versions that are sealed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bessemer.cli.output import console, print_message, short
from bessemer.cli.progress import follow
from bessemer.cli.settings import Output, settings_of
from bessemer.sdk.identifiers import put_identifiers

__all__ = ["alias", "delete", "erase"]

Version = Annotated[str, typer.Argument(help="Version, such as handbook/v1 or handbook@stable.")]


def erase(
    context: typer.Context,
    version: Version,
    identifiers: Annotated[
        list[str] | None,
        typer.Option("--identifier", help="E-mail address, phone number or name; may be repeated."),
    ] = None,
    sources: Annotated[
        list[str] | None, typer.Option("--source", help="Path of documents, or a pattern such as 'hr/*'.")
    ] = None,
    documents: Annotated[list[str] | None, typer.Option("--document", help="Id of a document.")] = None,
    receipt: Annotated[Path | None, typer.Option(help="Save the receipt here, JSON.")] = None,
) -> None:
    """Make a version without some documents, and tell where they were and which models saw them.

    Example: bessemer dataset erase handbook/v1 --identifier jane@example.org --receipt jane.json
    """
    settings = settings_of(context)
    if sum(map(bool, (identifiers, sources, documents))) != 1:
        raise typer.BadParameter("give one of --identifier, --source and --document")
    with settings.client() as client:
        task: dict[str, Any] = {
            "dataset_version": settings.version_name("datasets", version),
            "sources": sources or [],
            "documents": documents or [],
        }
        if identifiers:
            task["identifiers"] = put_identifiers(client, settings.project, identifiers).name
        job = client.data.create_dataset_job(parent=settings.project, dataset_job={"erase": task})
        done = follow(client, settings, job, f"erasing from {version}")
        proof = done.result.receipt
        if receipt is not None:
            client.download(proof.receipt_artifact, receipt)
    facts = {
        "documents removed": proof.num_documents,
        "tokens removed": proof.tokens_removed,
        "rows changed": f"{proof.rows_changed}, and {proof.rows_dropped} dropped",
        "new version": f"{short(done.result.dataset_version)} ({proof.new_sha256})",
        "selector": proof.selector_sha256,
        "receipt": f"{receipt or 'not saved; use --receipt FILE'} ({proof.receipt_artifact.sha256})",
    }
    print_message(settings, done, facts)
    if settings.output is Output.TABLE:
        _print_names("still held by", [node.name for node in proof.held_by])
        _print_names("may also lie in the uploads", proof.uploads)
        _print_names("models that saw it", [node.name for node in proof.models])
        _print_names("deployments of these", [node.name for node in proof.deployments])


def alias(
    context: typer.Context,
    version: Version,
    name: Annotated[str, typer.Argument(help="Alias, such as stable.")],
) -> None:
    """Point an alias at a version.

    Example: bessemer dataset alias handbook/v3 stable
    """
    settings = settings_of(context)
    with settings.client() as client:
        target = client.data.get_dataset_version(name=settings.version_name("datasets", version))
        dataset = client.data.get_dataset(name=target.name.rsplit("/versions/", 1)[0])
        changed = client.data.set_dataset_version_alias(
            name=dataset.name, alias=name, dataset_version=target.name, etag=dataset.etag
        )
        print_message(settings, changed, {"dataset": short(changed.name), name: short(changed.aliases[name])})


def delete(
    context: typer.Context,
    version: Annotated[str, typer.Argument(help="Version, such as handbook/v1.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete the bytes of a version for ever; its name and digest stay.

    Example: bessemer dataset delete handbook/v1
    """
    settings = settings_of(context)
    with settings.client() as client:
        found = client.data.get_dataset_version(name=settings.version_name("datasets", version))
        if not yes:
            typer.confirm(f"delete {short(found.name)} for ever?", abort=True)
        gone = client.data.delete_dataset_version(name=found.name, etag=found.etag)
        facts = {"deleted": short(gone.name), "digest": gone.manifest.sha256, "at": gone.delete_time.ToJsonString()}
        print_message(settings, gone, facts)


def _print_names(title: str, names: Any) -> None:
    console.print(f"[bold]{title}: {len(names)}[/bold]")
    for name in names:
        console.print(f"  {short(name)}", markup=False)
