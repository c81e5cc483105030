"""`bessemer adapter`: low-rank adapters that requests to an endpoint may name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from bessemer.cli.output import print_message, print_rows, short
from bessemer.cli.settings import Settings, settings_of
from bessemer.kernel.errors import FailedPrecondition
from bessemer.sdk import Client

__all__ = ["app"]

app = typer.Typer(help="LoRA adapters served over the weights of their base.", no_args_is_help=True)
Endpoint = Annotated[str, typer.Argument(help="Endpoint, such as assistant.")]
Id = Annotated[str, typer.Argument(help="What requests call it: model ENDPOINT:ID.")]
Of = Annotated[str, typer.Option("--deployment", help="Deployment; by default the one with most of the traffic.")]


@app.command("list")
def list_(context: typer.Context, endpoint: Endpoint, deployment: Of = "") -> None:
    """List the adapters of an endpoint's deployment.

    Example: bessemer adapter list assistant
    """
    settings = settings_of(context)
    with settings.client() as client:
        found = client.serve.get_deployment(name=_deployment(client, settings, endpoint, deployment))
    columns: dict[str, Callable[[Any], Any]] = {
        "model": lambda one: f"{endpoint}:{one.id}",
        "version": lambda one: short(one.model_version),
        "rank": lambda one: one.rank,
        "allowed by": lambda one: short(one.gate_decision) or f"waiver {short(one.waiver.name)}",
        "loaded": lambda one: f"{one.load_time.ToDatetime():%Y-%m-%d %H:%M}",
    }
    print_rows(settings, list(found.adapters), columns)


@app.command()
def load(
    context: typer.Context,
    endpoint: Endpoint,
    adapter: Id,
    model: Annotated[str, typer.Argument(help="Version trained with lora over the deployed one, such as legal/v2.")],
    gate: Annotated[str, typer.Option(help="Gate decision that passed this version.")] = "",
    waiver: Annotated[str, typer.Option(help="Signed waiver, in place of a passed gate.")] = "",
    deployment: Of = "",
) -> None:
    """Let requests name a version's adapters; those of the same id are replaced from the next request on.

    Example: bessemer adapter load assistant legal assistant-legal/v2 --gate gate-0199f3
    """
    settings = settings_of(context)
    with settings.client() as client:
        changed = client.serve.load_adapter(
            name=_deployment(client, settings, endpoint, deployment),
            adapter_id=adapter,
            model_version=settings.version_name("models", model),
            gate_decision=settings.name("gateDecisions", gate) if gate else "",
            gate_waiver=settings.name("gateWaivers", waiver) if waiver else "",
        )
    facts = {"deployment": short(changed.name), "model": f"{endpoint}:{adapter}"}
    print_message(settings, changed, facts | {"try": f"bessemer chat {endpoint}:{adapter}"})


@app.command()
def unload(context: typer.Context, endpoint: Endpoint, adapter: Id, deployment: Of = "") -> None:
    """Take adapters away, from the next request on.

    Example: bessemer adapter unload assistant legal
    """
    settings = settings_of(context)
    with settings.client() as client:
        name = _deployment(client, settings, endpoint, deployment)
        changed = client.serve.unload_adapter(name=name, adapter_id=adapter)
    print_message(settings, changed, {"deployment": short(changed.name), "unloaded": adapter})


def _deployment(client: Client, settings: Settings, endpoint: str, deployment: str) -> str:
    name = settings.name("endpoints", endpoint)
    if deployment:
        return f"{name}/deployments/{deployment.rpartition('/')[2]}"
    found: str = client.serve.get_endpoint(name=name).deployment
    if not found:
        raise FailedPrecondition(f"{endpoint} has no deployment with traffic; deploy a version first: bessemer deploy")
    return found
