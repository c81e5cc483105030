"""`bessemer train`: one command a method, recipes as TOML."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bessemer.api.train.v1 import training_job_pb2
from bessemer.cli.output import print_message, short, time_text
from bessemer.cli.progress import follow
from bessemer.cli.settings import settings_of
from bessemer.sdk.recipe import parse_recipe

__all__ = ["app"]

app = typer.Typer(help="Train a model on your data.", no_args_is_help=True)
Model = Annotated[str, typer.Option(help="Model version to start from, such as smollm2/v1 or assistant@champion.")]
Data = Annotated[list[str] | None, typer.Option(help="Dataset version to learn from; may be repeated.")]
Mixture = Annotated[str | None, typer.Option(help="Mixture of dataset versions to learn from instead of --data.")]
Into = Annotated[str, typer.Option(help="Model that gets the new version; made when missing.")]
Recipe = Annotated[Path | None, typer.Option(help="Training recipe, TOML.")]
Setting = Annotated[list[str] | None, typer.Option("--set", help="Recipe key=value; may be repeated.")]
Lora = Annotated[bool, typer.Option("--lora", help="Train low-rank adapters instead of all weights.")]
Detach = Annotated[bool, typer.Option("--detach", help="Start and return; follow with: bessemer job watch.")]


@app.command()
def cpt(
    context: typer.Context,
    model: Model,
    data: Data = None,
    mixture: Mixture = None,
    into: Into = "assistant",
    recipe: Recipe = None,
    settings: Setting = None,
    lora: Lora = False,
    detach: Detach = False,
) -> None:
    """Continue pre-training on documents.

    Example: bessemer train cpt --model smollm2/v1 --data handbook/v1 --set steps=60
    Example: bessemer train cpt --model smollm2/v1 --mixture plant
    """
    _train(context, "cpt", model, data, mixture, into=into, recipe=recipe, settings=settings, lora=lora, detach=detach)


@app.command()
def sft(
    context: typer.Context,
    model: Model,
    data: Data = None,
    mixture: Mixture = None,
    into: Into = "assistant",
    recipe: Recipe = None,
    settings: Setting = None,
    lora: Lora = False,
    detach: Detach = False,
) -> None:
    """Fine-tune on conversations.

    Example: bessemer train sft --model assistant/v1 --data questions/v1 --lora
    """
    _train(context, "sft", model, data, mixture, into=into, recipe=recipe, settings=settings, lora=lora, detach=detach)


@app.command()
def dpo(
    context: typer.Context,
    model: Model,
    data: Data = None,
    mixture: Mixture = None,
    into: Into = "assistant",
    recipe: Recipe = None,
    settings: Setting = None,
    lora: Lora = False,
    detach: Detach = False,
) -> None:
    """Align with preferences, anchored so that the right answers keep their likelihood.

    Example: bessemer train dpo --model assistant/v2 --data preferences/v1 --set dpo.beta=0.1
    """
    _train(context, "dpo", model, data, mixture, into=into, recipe=recipe, settings=settings, lora=lora, detach=detach)


def _train(
    context: typer.Context,
    method: str,
    model: str,
    data: list[str] | None,
    mixture: str | None,
    *,
    into: str,
    recipe: Path | None,
    settings: list[str] | None,
    lora: bool,
    detach: bool,
) -> None:
    shared = settings_of(context)
    if bool(data) == bool(mixture):
        raise typer.BadParameter("give either --data or --mixture")
    parsed = parse_recipe(training_job_pb2.TrainingRecipe, recipe, settings or [])
    if parsed.WhichOneof("method") not in (None, method):
        raise typer.BadParameter(f"the recipe is for {parsed.WhichOneof('method')}, not {method}")
    getattr(parsed, method).SetInParent()
    if lora:
        parsed.lora.SetInParent()
    job = training_job_pb2.TrainingJob(
        base_model_version=shared.version_name("models", model),
        dataset_versions=[shared.version_name("datasets", each) for each in data or []],
        mixture=shared.name("mixtures", mixture) if mixture else "",
        model=shared.name("models", into),
        recipe=parsed,
    )
    with shared.client() as client:
        created = client.train.create_training_job(parent=shared.project, training_job=job)
        if detach:
            print_message(
                shared, created, {"job": short(created.name), "next": f"bessemer job watch {short(created.name)}"}
            )
            return
        done = follow(client, shared, created, f"{method} {short(job.base_model_version)}")
        print_message(shared, done, _summary(done))


def _summary(job: Any) -> dict[str, str]:
    usage = job.usage
    rate = usage.tokens / usage.seconds if usage.seconds else 0.0
    return {
        "model version": short(job.model_version),
        "steps": str(usage.steps),
        "tokens": f"{usage.tokens} ({rate:.0f} per second)",
        "time": time_text(usage.seconds),
        "FLOPs": f"{usage.flops:.3g}",
    }
