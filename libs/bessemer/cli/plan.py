"""`bessemer plan`: what training would take, and whether to train at all."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from bessemer.api.train.v1 import planning_pb2, training_job_pb2
from bessemer.cli.output import bytes_text, console, print_message, time_text
from bessemer.cli.progress import follow
from bessemer.cli.settings import Output, Settings, settings_of
from bessemer.kernel.errors import InvalidRequest
from bessemer.sdk import Client
from bessemer.sdk.recipe import parse_recipe

__all__ = ["forecast_facts", "plan"]

_CALIBRATION_STEPS = 20


def plan(
    context: typer.Context,
    *,
    model: Annotated[str | None, typer.Option(help="Model version to start from, such as smollm2/v1.")] = None,
    config: Annotated[Path | None, typer.Option(help="A config.json instead, for a model that is not here.")] = None,
    data: Annotated[list[str] | None, typer.Option(help="Dataset version; may be repeated.")] = None,
    mixture: Annotated[str | None, typer.Option(help="Mixture instead of --data.")] = None,
    method: Annotated[str | None, typer.Option(help="cpt, sft or dpo; as the data suggest if unset.")] = None,
    recipe: Annotated[Path | None, typer.Option(help="Training recipe, TOML.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="Recipe key=value; may be repeated.")] = None,
    lora: Annotated[bool, typer.Option("--lora", help="Low-rank adapters instead of all weights.")] = False,
    devices: Annotated[str, typer.Option(help="KIND or KIND:COUNT, such as h100:8.")] = "cpu",
    price: Annotated[float | None, typer.Option(help="Price of one device for an hour.", min=0)] = None,
    watts: Annotated[float | None, typer.Option(help="Power of one device.", min=0)] = None,
    price_per_kwh: Annotated[float | None, typer.Option(help="Price of a kilowatt-hour.", min=0)] = None,
    budget_hours: Annotated[float, typer.Option(help="Most hours to train; 0 means no limit.", min=0)] = 0,
    novelty: Annotated[
        float | None, typer.Option(help="Nats per token that the model finds the data harder than general text.")
    ] = None,
    ladder: Annotated[
        Path | None, typer.Option(help="CSV of your runs from random weights: parameters,tokens,loss.")
    ] = None,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="First train 20 steps into the model `calibration` to measure.")
    ] = False,
) -> None:
    """Estimate a training job and rank the ways to train.

    Example: bessemer plan --model smollm2/v1 --data handbook/v1
    Example: bessemer plan --model smollm2/v1 --data handbook/v1 --lora --calibrate --budget-hours 2
    Example: bessemer plan --model smollm2/v1 --data handbook/v1 --devices h100:8 --price 2.5
    """
    shared = settings_of(context)
    if bool(model) == bool(config):
        raise typer.BadParameter("give either --model or --config")
    if bool(data) == bool(mixture):
        raise typer.BadParameter("give either --data or --mixture")
    parsed = parse_recipe(training_job_pb2.TrainingRecipe, recipe, settings or [])
    if method is not None:
        if method not in [field.name for field in parsed.DESCRIPTOR.oneofs_by_name["method"].fields]:
            raise typer.BadParameter(f"there is no method {method!r}")
        getattr(parsed, method).SetInParent()
    if lora:
        parsed.lora.SetInParent()
    asked: dict[str, Any] = {
        "base_model_version": shared.version_name("models", model) if model else "",
        "config_json": config.read_text(encoding="utf-8") if config else "",
        "dataset_versions": [shared.version_name("datasets", each) for each in data or []],
        "mixture": shared.name("mixtures", mixture) if mixture else "",
        "recipe": parsed,
        "device": _device(devices, price_per_hour=price, watts=watts, price_per_kwh=price_per_kwh),
        "budget_hours": budget_hours,
        "ladder": _ladder(ladder) if ladder else [],
    }
    if novelty is not None:
        asked["novelty"] = novelty
    with shared.client() as client:
        if calibrate:
            asked["calibration_job"] = _calibrate(client, shared, asked)
        found = client.train.estimate_training_job(parent=shared.project, **asked)
    _print(shared, found)


def forecast_facts(forecast: Any, usage: Any) -> dict[str, str]:
    """Return what a job was expected to take beside what it took so far, one line each."""
    took = time_text(usage.seconds) if usage.steps else "not yet"
    facts = {
        "time": f"{time_text(forecast.seconds.value)} foretold, {took}",
        "tokens": f"{forecast.tokens:,} foretold, {usage.tokens:,}",
        "FLOPs": f"{forecast.flops:.3g} foretold, {usage.flops:.3g}",
    }
    if usage.peak_memory_bytes:
        facts["memory"] = f"{bytes_text(forecast.memory.total)} foretold, {bytes_text(usage.peak_memory_bytes)}"
    return facts


def _calibrate(client: Client, settings: Settings, asked: dict[str, Any]) -> str:
    """Train a few steps as asked and return the name of the job."""
    if not asked["base_model_version"]:
        raise typer.BadParameter("--calibrate needs --model: it trains for real")
    if asked["device"].kind != "cpu":
        raise typer.BadParameter("--calibrate measures this machine; leave --devices out")
    resolved = client.train.estimate_training_job(parent=settings.project, **asked).recipe
    resolved.steps = _CALIBRATION_STEPS
    resolved.checkpoint_every_steps = 10 * _CALIBRATION_STEPS
    job = training_job_pb2.TrainingJob(
        base_model_version=asked["base_model_version"],
        dataset_versions=asked["dataset_versions"],
        mixture=asked["mixture"],
        model=settings.name("models", "calibration"),
        recipe=resolved,
        labels={"purpose": "calibration"},
    )
    created = client.train.create_training_job(parent=settings.project, training_job=job)
    return str(follow(client, settings, created, f"calibration, {_CALIBRATION_STEPS} steps").name)


def _device(text: str, **costs: float | None) -> planning_pb2.Device:
    kind, colon, count = text.partition(":")
    if colon and not (count.isascii() and count.isdigit() and int(count)):
        raise typer.BadParameter(f"--devices looks like h100:8; got {text!r}")
    device = planning_pb2.Device(kind=kind, count=int(count or 1))
    for field, value in costs.items():
        if value is not None:
            setattr(device, field, value)
    return device


def _ladder(path: Path) -> list[planning_pb2.LadderRun]:
    """Read runs from CSV with a head line."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [
                planning_pb2.LadderRun(
                    parameters=int(row["parameters"]), tokens=int(row["tokens"]), loss=float(row["loss"])
                )
                for row in csv.DictReader(file)
            ]
    except (OSError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise InvalidRequest(
            f"cannot read {path}: {error!r}; it needs the columns parameters, tokens and loss", field="ladder"
        ) from error


def _print(settings: Settings, found: Any) -> None:
    counts, made = found.parameters, found.forecast
    active = "" if counts.active == counts.total else f", {counts.active:,} active"
    facts = {
        "weights": f"{counts.total:,}{active}; {counts.trained:,} trained",
        "run": f"{made.steps:,} steps, {made.tokens:,} tokens, {made.epochs:.2f} passes, {made.flops:.3g} FLOPs",
        "time": f"{_times(made.seconds)}, {made.tokens_per_second:,.0f} tokens per second",
        "memory": f"{_memory(made.memory)}",
    }
    if made.cost:
        facts["cost"] = f"{made.cost:,.2f} for {made.device_hours:,.1f} device-hours and {made.energy_kwh:,.1f} kWh"
    if made.HasField("loss"):
        facts["loss"] = f"{made.loss.value:.2f} ({made.loss.low:.2f} to {made.loss.high:.2f}): {made.loss_basis}"
    if settings.output is Output.JSON:
        print_message(settings, found, facts)
        return
    print_message(settings, made, facts)
    if len(found.memory) > 1:
        shared = ", ".join(f"{m.devices}: {bytes_text(m.total)}{'' if m.fits else ' (no)'}" for m in found.memory)
        console.print(f"memory of one device by how many share the weights: {shared}")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("", "plan", "time", "cost", "loss"):
        table.add_column(column, overflow="fold")
    for place, option in enumerate(found.plans, 1):
        table.add_row(str(place) if option.feasible else "no", *_cells(option))
    console.print()
    console.print(table)
    console.print()
    for option in found.plans:
        console.print(f"[bold]{option.title}[/bold]: {option.why}. Would change with: {option.flip}.")
    if found.HasField("probe"):
        console.print(f"\n[bold]probe[/bold] {found.probe.title}: about {time_text(found.probe.seconds)}")
        console.print(f"      {found.probe.decision}")
    for each in found.assumptions:
        console.print(f"[dim]{each}[/dim]")


def _cells(option: Any) -> tuple[str, ...]:
    if not option.HasField("forecast"):
        return option.title, "-", "-", "-"
    made = option.forecast
    loss = f"{made.loss.value:.2f}" if made.HasField("loss") else "-"
    return option.title, time_text(made.seconds.value), f"{made.cost:,.2f}" if made.cost else "-", loss


def _memory(memory: Any) -> str:
    held = [
        f"{name} {bytes_text(getattr(memory, name))}"
        for name in ("weights", "masters", "gradients", "moments", "activations", "temporary", "runtime")
        if getattr(memory, name)
    ]
    return f"{bytes_text(memory.total)}{'' if memory.fits else ' DOES NOT FIT'} ({', '.join(held)})"


def _times(seconds: Any) -> str:
    return f"{time_text(seconds.value)} ({time_text(seconds.low)} to {time_text(seconds.high)})"
