"""`bessemer model`: bring models in, make new ones, look at them, take them away."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from bessemer.cli.data import ensure_project, upload_folder
from bessemer.cli.model_export import export, verify
from bessemer.cli.output import console, print_message, print_rows, short
from bessemer.cli.progress import follow
from bessemer.cli.settings import settings_of
from bessemer.cli.tokenizer import find_tokenizer_job
from bessemer.kernel.errors import InvalidRequest
from bessemer.modeling.catalogue import CONFIGS

__all__ = ["app"]

app = typer.Typer(help="Bring models in, make new ones, look at them, take them away.", no_args_is_help=True)
Version = Annotated[str, typer.Argument(help="Version, such as assistant/v2 or assistant@champion.")]
app.command()(export)
app.command()(verify)


@app.command("import")
def import_(
    context: typer.Context,
    source: Annotated[
        str, typer.Argument(help="Catalogue name, GGUF file, or folder with safetensors: a model, or LoRA adapters.")
    ] = "smollm2-135m-instruct",
    model: Annotated[str, typer.Option(help="Id of the model that gets the version.")] = "smollm2",
    license_id: Annotated[
        str, typer.Option("--license", help="Licence of the weights, SPDX identifier.")
    ] = "Apache-2.0",
    base: Annotated[str, typer.Option(help="Version that LoRA adapters belong to, such as smollm2/v1.")] = "",
) -> None:
    """Import a base model into safetensors, or adapters of one (PEFT format), which are merged and kept beside it.

    Example: bessemer model import smollm2-135m-instruct --model smollm2
    """
    settings = settings_of(context)
    with settings.client() as client:
        ensure_project(client, settings)
        task: dict[str, Any] = {"model": settings.name("models", model), "license": license_id}
        if base:
            task["base"] = settings.version_name("models", base)
        if Path(source).exists():
            task["upload"] = upload_folder(client, settings, Path(source)).name
        else:
            task["catalogue"] = source
        job = client.train.create_model_job(parent=settings.project, model_job={"import": task})
        done = follow(client, settings, job, f"importing {source}")
        _print_version(settings, client.train.get_model_version(name=done.model_version))


@app.command()
def init(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="Id of the model that gets the version.")],
    config: Annotated[str, typer.Option(help=f"A config.json, or one of {', '.join(CONFIGS)}.")] = "llama-tiny",
    tokenizer: Annotated[
        str, typer.Option(help="A tokenizer.json, the dataset job that trained one, or a model version that has one.")
    ] = "smollm2/v1",
    seed: Annotated[int, typer.Option(help="Decides the random weights.")] = 0,
) -> None:
    """Make a model with random weights, to pre-train from scratch with: bessemer train cpt.

    Example: bessemer model init own --config moe-tiny --tokenizer dataset-x2f9
    """
    settings = settings_of(context)
    with settings.client() as client:
        ensure_project(client, settings)
        task = {
            "model": settings.name("models", model),
            "config": _config_text(config),
            "tokenizer": _tokenizer_artifact(client, settings, tokenizer),
            "seed": seed,
        }
        job = client.train.create_model_job(parent=settings.project, model_job={"init": task})
        done = follow(client, settings, job, f"making {model}")
        _print_version(settings, client.train.get_model_version(name=done.model_version))


@app.command("list")
def list_(
    context: typer.Context, model: Annotated[str | None, typer.Argument(help="Model whose versions to list.")] = None
) -> None:
    """List models, or the versions of one.

    Example: bessemer model list assistant
    """
    settings = settings_of(context)
    with settings.client() as client:
        if model is None:
            models = list(client.pages(client.train.list_models, parent=settings.project))
            print_rows(settings, models, {"model": lambda m: short(m.name), "aliases": _aliases})
            return
        versions = list(client.pages(client.train.list_model_versions, parent=settings.name("models", model)))
        columns: dict[str, Callable[[Any], Any]] = {
            "version": lambda v: short(v.name),
            "parent": lambda v: short(v.parent),
            "parameters": lambda v: f"{v.parameters / 1e6:.1f} M",
            "digest": lambda v: v.manifest.sha256[:12],
            "job": lambda v: short(v.training_job),
        }
        print_rows(settings, versions, columns)


@app.command()
def show(context: typer.Context, version: Version) -> None:
    """Show a version and where it came from.

    Example: bessemer model show assistant/v2
    """
    settings = settings_of(context)
    with settings.client() as client:
        found = client.train.get_model_version(name=settings.version_name("models", version))
        _print_version(settings, found)
        if settings.output.value == "table":
            lineage = client.data.get_lineage(name=found.name, direction="LINEAGE_DIRECTION_UPSTREAM")
            for edge in lineage.edges:
                console.print(f"  {short(edge.target)}  <- {edge.relation} -  {short(edge.source)}", markup=False)


@app.command()
def alias(
    context: typer.Context,
    version: Version,
    name: Annotated[str, typer.Argument(help="Alias, such as champion.")],
) -> None:
    """Point an alias at a version.

    Example: bessemer model alias assistant/v2 champion
    """
    settings = settings_of(context)
    with settings.client() as client:
        target = client.train.get_model_version(name=settings.version_name("models", version))
        model = client.train.get_model(name=target.name.rsplit("/versions/", 1)[0])
        changed = client.train.set_version_alias(
            name=model.name, alias=name, model_version=target.name, etag=model.etag
        )
        print_message(settings, changed, {"model": short(changed.name), name: short(changed.aliases[name])})


@app.command("extend-vocabulary")
def extend_vocabulary(
    context: typer.Context,
    version: Version,
    job: Annotated[str, typer.Argument(help="Dataset job that extended this version's tokenizer.")],
) -> None:
    """Make a version with the new tokens of an extended tokenizer; train it before you use it.

    Example: bessemer model extend-vocabulary smollm2/v1 dataset-x2f9
    """
    settings = settings_of(context)
    with settings.client() as client:
        made = find_tokenizer_job(client, settings, job).result.trained_tokenizer
        task = {
            "model_version": settings.version_name("models", version),
            "tokenizer": made.tokenizer,
            "initialisation": made.initialisation,
        }
        created = client.train.create_model_job(parent=settings.project, model_job={"extend_vocabulary": task})
        done = follow(client, settings, created, f"extending {version}")
        _print_version(settings, client.train.get_model_version(name=done.model_version))


def _config_text(config: str) -> str:
    if config in CONFIGS:
        return json.dumps(CONFIGS[config])
    try:
        return Path(config).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        message = f"--config must be a readable file or one of {', '.join(CONFIGS)}; got {config!r}: {error}"
        raise InvalidRequest(message, field="config") from None


def _tokenizer_artifact(client: Any, settings: Any, source: str) -> Any:
    if Path(source).is_file():
        return client.upload(settings.project, Path(source)).artifact
    if "/" in source or "@" in source:
        return client.train.get_model_version(name=settings.version_name("models", source)).tokenizer
    return find_tokenizer_job(client, settings, source).result.trained_tokenizer.tokenizer


def _aliases(model: Any) -> str:
    return ", ".join(f"{alias} = {short(version)}" for alias, version in sorted(model.aliases.items()))


def _print_version(settings: Any, version: Any) -> None:
    facts = {
        "version": short(version.name),
        "architecture": version.architecture,
        "parameters": f"{version.parameters:,}",
        "context": f"{version.context_length} tokens",
        "parent": short(version.parent) or "none",
        "data": ", ".join(short(name) for name in version.dataset_versions) or "none of yours",
        "digest": version.manifest.sha256,
    }
    if version.adapter_rank:
        facts["adapters"] = (
            f"rank {version.adapter_rank}; bessemer adapter load serves them over {short(version.parent)}"
        )
    print_message(settings, version, facts)
