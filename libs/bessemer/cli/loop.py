"""`bessemer loop`: learn from what users say, round after round."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from bessemer.api.data.v1 import dataset_pb2
from bessemer.api.eval.v1 import evaluation_pb2
from bessemer.api.serve.v1 import loop_pb2
from bessemer.cli.output import console, print_message, print_rows, short
from bessemer.cli.settings import Output, Settings, settings_of
from bessemer.kernel.errors import AlreadyExists, Unavailable
from bessemer.sdk import Client
from bessemer.sdk.recipe import parse_recipe

__all__ = ["app"]

app = typer.Typer(help="Learn from feedback: curate, train, evaluate, gate, audit, release.", no_args_is_help=True)
Endpoint = Annotated[str, typer.Argument(help="Endpoint, such as assistant.")]
Loop = Annotated[str, typer.Option("--loop", help="Id of the loop.")]
_RECONNECT_S = 60.0


@app.command()
def start(
    context: typer.Context,
    endpoint: Endpoint,
    policy: Annotated[str, typer.Option(help="Gate policy that decides on releases.")],
    loop: Loop = "main",
    dataset: Annotated[str, typer.Option(help="Dataset that gets the curated feedback; made if missing.")] = "",
    recipe: Annotated[Path | None, typer.Option(help="LoopSettings as TOML.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="key=value, such as curation.rated_min=500; repeat it.")
    ] = None,
    rounds: Annotated[int, typer.Option(help="Rounds to do; 0 goes on for ever.")] = 0,
) -> None:
    """Start a loop on an endpoint; one that was stopped or blocked goes on.

    Example: bessemer loop start assistant --policy release --set recipe.sft={} --set recipe.steps=200
    """
    shared = settings_of(context)
    name = f"{shared.name('endpoints', endpoint)}/loops/{loop}"
    wanted = parse_recipe(loop_pb2.LoopSettings, recipe, settings or [])
    wanted.gate_policy = shared.name("gatePolicies", policy)
    wanted.rounds_max = rounds or wanted.rounds_max
    wanted.curation.dataset = shared.name("datasets", dataset or f"{endpoint}-feedback")
    with shared.client() as client:
        _ensure_dataset(client, shared, wanted)
        try:
            made = client.serve.create_loop(
                parent=shared.name("endpoints", endpoint), loop_id=loop, loop={"settings": wanted}
            )
        except AlreadyExists:
            made = client.serve.resume_loop(name=name)
    print_message(shared, made, {**_summary(made), "next": f"bessemer loop watch {endpoint} --loop {loop}"})


@app.command()
def watch(context: typer.Context, endpoint: Endpoint, loop: Loop = "main") -> None:
    """Follow a loop until it stands still; survives restarts of the services.

    Example: bessemer loop watch assistant
    """
    shared = settings_of(context)
    name = f"{shared.name('endpoints', endpoint)}/loops/{loop}"
    with shared.client() as client:
        found = _follow(client, name)
    if found is not None:
        print_message(shared, found, _summary(found))


@app.command()
def describe(context: typer.Context, endpoint: Endpoint, loop: Loop = "main") -> None:
    """Show where a loop stands, and what every round made.

    Example: bessemer loop describe assistant
    """
    shared = settings_of(context)
    with shared.client() as client:
        found = client.serve.get_loop(name=f"{shared.name('endpoints', endpoint)}/loops/{loop}")
    print_message(shared, found, _summary(found))
    if shared.output is Output.JSON:
        return
    columns = {
        "round": lambda r: r.number,
        "stage": _stage,
        "feedback": lambda r: r.counts.num_up + r.counts.num_down or "",
        "left out": lambda r: sum(group.num_users for group in r.curation.groups) or "",
        "data": lambda r: short(r.dataset_version),
        "model": lambda r: short(r.model_version),
        "gate": _verdict,
        "audit": lambda r: ("broken" if r.audit.breached else "clean") if r.HasField("audit") else "",
        "release": lambda r: short(r.release),
    }
    print_rows(shared, list(found.rounds), columns)
    for current in found.rounds:
        for group in current.curation.groups:
            console.print(f"round {current.number}: {group.num_users} people {group.reason}: {group.evidence}")
        for finding in current.audit.findings:
            if finding.breached:
                console.print(f"round {current.number}: audit of {finding.check} broken: {finding.explanation}")


@app.command()
def stop(context: typer.Context, endpoint: Endpoint, loop: Loop = "main") -> None:
    """Stop a loop before its next step; `bessemer loop start` lets it go on.

    Example: bessemer loop stop assistant
    """
    shared = settings_of(context)
    with shared.client() as client:
        found = client.serve.stop_loop(name=f"{shared.name('endpoints', endpoint)}/loops/{loop}")
    print_message(shared, found, _summary(found))


def _ensure_dataset(client: Client, shared: Settings, wanted: Any) -> None:
    method = wanted.recipe.WhichOneof("method") or "sft"
    kind = dataset_pb2.DATASET_KIND_CHAT if method == "sft" else dataset_pb2.DATASET_KIND_PREFERENCE
    try:
        client.data.create_dataset(
            parent=shared.project, dataset_id=wanted.curation.dataset.rsplit("/", 1)[-1], dataset={"kind": kind}
        )
    except AlreadyExists:
        return


def _follow(client: Client, name: str) -> Any:
    token, found, last, heard_s = "", None, "", time.monotonic()
    while True:
        try:
            for message in client.serve.watch_loop(name=name, resume_token=token):
                token, heard_s = message.resume_token, time.monotonic()
                found = message.loop if message.HasField("loop") else found
                if found is not None and (line := _line(found)) != last:
                    last = line
                    print(line, file=sys.stderr, flush=True)
            if found is not None and found.state != loop_pb2.LOOP_STATE_RUNNING:
                return found
        except Unavailable:
            if time.monotonic() - heard_s > _RECONNECT_S:
                raise
        time.sleep(0.5)


def _line(loop: Any) -> str:
    current = f"round {loop.rounds[-1].number} {_stage(loop.rounds[-1])}" if loop.rounds else "no round yet"
    return f"{current}: {loop.reason}"


def _summary(loop: Any) -> dict[str, Any]:
    return {
        "loop": short(loop.name),
        "state": loop_pb2.LoopState.Name(loop.state).removeprefix("LOOP_STATE_").lower(),
        "because": loop.reason,
        "rounds": loop.rounds[-1].number if loop.rounds else 0,
        "learns by": loop.settings.recipe.WhichOneof("method"),
        "decided by": short(loop.settings.gate_policy),
    }


def _stage(current: Any) -> str:
    return loop_pb2.RoundStage.Name(current.stage).removeprefix("ROUND_STAGE_").lower().replace("_", " ")


def _verdict(current: Any) -> str:
    if not current.verdict:
        return ""
    return evaluation_pb2.Verdict.Name(current.verdict).removeprefix("VERDICT_").lower()
