"""`bessemer deploy`, `chat`, `feedback`: run a model and talk to it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from bessemer.api.data.v1 import feedback_service_pb2
from bessemer.api.serve.v1 import deployment_pb2
from bessemer.cli.output import console, print_message, print_rows, short
from bessemer.cli.settings import Output, Settings, settings_of
from bessemer.kernel.errors import AlreadyExists, FailedPrecondition, Unavailable
from bessemer.sdk import Client

__all__ = ["await_deployment", "chat", "deploy", "feedback", "target_of", "undeploy"]

FINAL = (
    deployment_pb2.DEPLOYMENT_STATE_READY,
    deployment_pb2.DEPLOYMENT_STATE_FAILED,
    deployment_pb2.DEPLOYMENT_STATE_STOPPED,
)


def deploy(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="Model version, such as assistant/v3.")],
    endpoint: Annotated[str, typer.Option(help="Endpoint that shall answer; made when missing.")] = "assistant",
    gate: Annotated[str, typer.Option(help="Gate decision that passed this version.")] = "",
    waiver: Annotated[str, typer.Option(help="Signed waiver, in place of a passed gate: eval waiver sign.")] = "",
    standby: Annotated[bool, typer.Option("--standby", help="Load it without giving it traffic.")] = False,
    server: Annotated[str, typer.Option(help="Inference server of the settings that holds this version.")] = "",
    served_model: Annotated[str, typer.Option(help="What that server calls it; its only model by default.")] = "",
    export: Annotated[str, typer.Option(help="Model job that exported it to onnx: serve tensors, not answers.")] = "",
) -> None:
    """Deploy a model version behind an endpoint; it takes all traffic, while `rollout start` goes in stages.

    Example: bessemer deploy assistant/v3 --endpoint assistant --gate gate-0199f3
    """
    settings = settings_of(context)
    with settings.client() as client:
        ensure_endpoint(client, settings, endpoint)
        made = client.serve.deploy_model_version(
            endpoint=settings.name("endpoints", endpoint),
            model_version=settings.version_name("models", model),
            gate_decision=settings.name("gateDecisions", gate) if gate else "",
            gate_waiver=settings.name("gateWaivers", waiver) if waiver else "",
            standby=standby,
            server=server,
            served_model=served_model,
            export_job=settings.name("modelJobs", export) if export else "",
        )
        with console.status(f"loading {model}"):
            ready = await_deployment(client, made.name)
        door = client.connection.http["serve"]
        facts = {"deployment": short(ready.name), "endpoint": endpoint}
        if export:
            facts["Open Inference Protocol"] = f"{door}/v2/models/{endpoint}"
        else:
            facts |= {"OpenAI API": f"{door}/v1 (model {endpoint!r})", "try": f"bessemer chat {endpoint}"}
        print_message(settings, ready, facts)


def undeploy(
    context: typer.Context,
    deployment: Annotated[str, typer.Argument(help="Deployment, such as assistant/dep-0199f3.")],
) -> None:
    """Take a deployment down.

    Example: bessemer undeploy assistant/dep-0199f3
    """
    settings = settings_of(context)
    endpoint, slash, deployment_id = deployment.partition("/")
    if not slash:
        text = f"{deployment!r} names no deployment; bessemer endpoint describe {endpoint} lists those of an endpoint"
        raise typer.BadParameter(text, param_hint="DEPLOYMENT")
    name = f"{settings.project}/endpoints/{endpoint}/deployments/{deployment_id}"
    with settings.client() as client:
        client.serve.undeploy_model_version(name=name)
        print_message(settings, client.serve.get_deployment(name=name), {"stopped": deployment})


def chat(
    context: typer.Context,
    endpoint: Annotated[str, typer.Argument(help="Endpoint to talk to, or ENDPOINT:ADAPTER.")] = "assistant",
    message: Annotated[
        str | None, typer.Option("--message", "-m", help="Ask this once instead of a conversation.")
    ] = None,
    temperature: Annotated[float, typer.Option(help="0 always takes the likeliest word.", min=0, max=2)] = 0.0,
    max_tokens: Annotated[int, typer.Option(help="Longest answer, in tokens.", min=1)] = 256,
) -> None:
    """Talk to a deployed model; rate an answer with /up or /down and perhaps why, leave with /quit.

    Example: bessemer chat assistant -m "Which licence does numpy use?"
    """
    settings = settings_of(context)
    sampling = {"temperature": temperature, "max_tokens": max_tokens}
    with settings.client() as client:
        target, adapter = target_of(settings, endpoint)
        ask = {"target": target, "adapter": adapter, "sampling": sampling}
        if message is not None:
            _once(client, settings, message, ask)
            return
        turns: list[dict[str, str]] = []
        response_id = ""
        while (line := _read_line()) is not None:
            if line.startswith("/"):
                _command(client, settings, response_id, line)
                continue
            turns.append({"role": "user", "content": line})
            response_id, answer = _stream(client, turns, ask)
            turns.append({"role": "assistant", "content": answer})


def feedback(
    context: typer.Context,
    response_id: Annotated[str | None, typer.Argument(help="Id of the answer; without it, feedback is listed.")] = None,
    rating: Annotated[str, typer.Option(help="up or down.")] = "up",
    comment: Annotated[str, typer.Option(help="Why.")] = "",
    forget: Annotated[str, typer.Option(help="Take the contents out of all records of this user.")] = "",
) -> None:
    """Rate an answer, list what users said, or forget what one of them said.

    Example: bessemer feedback resp-0199f3 --rating down --comment "wrong licence"
    """
    settings = settings_of(context)
    with settings.client() as client:
        if response_id is None:
            found = list(client.pages(client.data.list_feedback, parent=settings.project))
            if forget:
                # Their names are the sources by which `bessemer dataset erase` takes them out of versions.
                found = [client.data.erase_feedback(name=one.name) for one in found if one.user == forget]
            columns: dict[str, Callable[[Any], Any]] = {
                "feedback": lambda f: short(f.name),
                "answer": lambda f: f.response_id,
                "rating": lambda f: _rating(f.rating),
                "model": lambda f: short(f.model_version),
                "text": lambda f: f.answer[:60],
                "comment": lambda f: f.comment,
            }
            print_rows(settings, found, columns)
            return
        _rate(client, settings, response_id, rating, comment)


def ensure_endpoint(client: Client, settings: Settings, endpoint: str) -> None:
    """Create the endpoint if it does not exist."""
    try:
        client.serve.create_endpoint(parent=settings.project, endpoint_id=endpoint, endpoint={"display_name": endpoint})
    except AlreadyExists:
        return


def await_deployment(client: Client, name: str) -> Any:
    """Return the deployment once it answers.

    Raises: FailedPrecondition if it failed or was stopped.
    """
    token, deployment = "", None
    while deployment is None or deployment.state not in FINAL:
        try:
            for message in client.serve.watch_deployment(name=name, resume_token=token):
                token = message.resume_token
                deployment = message.deployment if message.HasField("deployment") else deployment
                if deployment is not None and deployment.state in FINAL:
                    break
        except Unavailable:
            deployment = client.serve.get_deployment(name=name)
    if deployment.state != deployment_pb2.DEPLOYMENT_STATE_READY:
        raise FailedPrecondition(f"{name} did not start: {deployment.error.message or 'it was stopped'}", resource=name)
    return deployment


def target_of(settings: Settings, endpoint: str) -> tuple[str, str]:
    """Return the endpoint's name and the adapter's id, or empty, of `assistant` or `assistant:legal`."""
    name, _, adapter = endpoint.partition(":")
    return settings.name("endpoints", name), adapter


def _once(client: Client, settings: Settings, message: str, ask: dict[str, Any]) -> None:
    turns = [{"role": "user", "content": message}]
    if settings.output is Output.JSON:
        print_message(settings, client.serve.generate(prompt={"messages": turns}, **ask), {})
        return
    _stream(client, turns, ask)


def _stream(client: Client, turns: list[dict[str, str]], ask: dict[str, Any]) -> tuple[str, str]:
    response_id, answer = "", ""
    for piece in client.serve.stream_generate(prompt={"messages": turns}, **ask):
        response_id = piece.response_id or response_id
        answer += piece.text_delta
        sys.stdout.write(piece.text_delta)
        sys.stdout.flush()
    sys.stdout.write("\n")
    return response_id, answer


def _read_line() -> str | None:
    try:
        line = console.input("[bold]> [/bold]").strip()
    except EOFError:
        return None
    if not line:
        return _read_line()
    return None if line in ("/quit", "/exit") else line


def _command(client: Client, settings: Settings, response_id: str, line: str) -> None:
    """Act on a line that begins with a slash and is no question."""
    rating, _, comment = line.removeprefix("/").partition(" ")
    if rating not in {"up", "down"}:
        console.print(
            f"/{rating} is no command; there are /up and /down, with why behind them, and /quit", markup=False
        )
    elif not response_id:
        console.print("there is no answer yet to rate")
    else:
        _rate(client, settings, response_id, rating, comment)


def _rate(client: Client, settings: Settings, response_id: str, rating: str, comment: str) -> None:
    if rating not in {"up", "down"}:
        raise typer.BadParameter("a rating is up or down", param_hint="--rating")
    if not response_id:
        raise typer.BadParameter("a rating belongs to an answer; ask something first")
    made = client.give_feedback(response_id, rating=rating, comment=comment)
    if settings.output is Output.JSON:
        print(json.dumps({"name": made["name"]}))
        return
    console.print(f"thank you; recorded as {short(made['name'])}", style="dim")


def _rating(value: int) -> str:
    return feedback_service_pb2.Rating.Name(value).removeprefix("RATING_").lower()
