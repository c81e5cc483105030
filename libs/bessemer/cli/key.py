"""`bessemer key`: API keys for programs that ask a project's models."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from bessemer.cli.output import console, print_message, print_rows, short
from bessemer.cli.settings import Output, settings_of

__all__ = ["app"]

app = typer.Typer(help="API keys for programs that ask a project's models.", no_args_is_help=True)

Key = Annotated[str, typer.Argument(help="Id of the key.")]
_REQUESTS_PER_MINUTE = typer.Option(help="Requests in a minute; 0 for no limit.", min=0)
_TOKENS_PER_MINUTE = typer.Option(help="Tokens of prompts and answers in a minute; 0 for no limit.", min=0)
_TOKENS_PER_DAY = typer.Option(help="Tokens of prompts and answers in a day of UTC; 0 for no limit.", min=0)


@app.command("create")
def create(
    context: typer.Context,
    key: Key,
    requests_per_minute: Annotated[int, _REQUESTS_PER_MINUTE] = 0,
    tokens_per_minute: Annotated[int, _TOKENS_PER_MINUTE] = 0,
    tokens_per_day: Annotated[int, _TOKENS_PER_DAY] = 0,
    days: Annotated[int, typer.Option(help="Days until it expires; 0 for never.", min=0)] = 0,
) -> None:
    """Create a key and show its secret, this once.

    Example: bessemer key create crm --requests-per-minute 60 --tokens-per-day 1000000
    """
    settings = settings_of(context)
    wanted: dict[str, Any] = {"limits": _limits(requests_per_minute, tokens_per_minute, tokens_per_day)}
    if days:
        wanted["expire_time"] = datetime.now(UTC) + timedelta(days=days)
    with settings.client() as client:
        made = client.serve.create_api_key(parent=settings.project, api_key_id=key, api_key=wanted)
    print_message(settings, made, {"key": short(made.name), "secret (shown this once)": made.secret})


@app.command("list")
def list_keys(context: typer.Context) -> None:
    """List keys, revoked ones too.

    Example: bessemer key list
    """
    settings = settings_of(context)
    columns: dict[str, Callable[[Any], Any]] = {
        "key": lambda key: short(key.name),
        "begins with": lambda key: key.hint,
        "requests/min": lambda key: key.limits.requests_per_minute or "",
        "tokens/min": lambda key: key.limits.tokens_per_minute or "",
        "tokens/day": lambda key: key.limits.tokens_per_day or "",
        "state": _state,
    }
    with settings.client() as client:
        print_rows(settings, list(client.pages(client.serve.list_api_keys, parent=settings.project)), columns)


@app.command("limit")
def limit(
    context: typer.Context,
    key: Key,
    requests_per_minute: Annotated[int | None, _REQUESTS_PER_MINUTE] = None,
    tokens_per_minute: Annotated[int | None, _TOKENS_PER_MINUTE] = None,
    tokens_per_day: Annotated[int | None, _TOKENS_PER_DAY] = None,
) -> None:
    """Change limits of a key; those that are not given stay.

    Example: bessemer key limit crm --requests-per-minute 600
    """
    settings = settings_of(context)
    given = {
        "requests_per_minute": requests_per_minute,
        "tokens_per_minute": tokens_per_minute,
        "tokens_per_day": tokens_per_day,
    }
    if all(value is None for value in given.values()):
        raise typer.BadParameter("say which limit to change, such as --requests-per-minute 600; 0 takes one away")
    with settings.client() as client:
        name = settings.name("apiKeys", key)
        before = client.serve.get_api_key(name=name).limits
        limits = {field: getattr(before, field) if value is None else value for field, value in given.items()}
        changed = client.serve.set_api_key_limits(name=name, limits=limits)
    shown = {field.replace("_", " "): value or "no limit" for field, value in limits.items()}
    print_message(settings, changed, {"key": short(changed.name), **shown})


@app.command("revoke")
def revoke(context: typer.Context, key: Key) -> None:
    """Make a key useless for ever.

    Example: bessemer key revoke crm
    """
    settings = settings_of(context)
    with settings.client() as client:
        revoked = client.serve.revoke_api_key(name=settings.name("apiKeys", key))
    print_message(settings, revoked, {"key": short(revoked.name), "state": _state(revoked)})


@app.command("usage")
def usage(
    context: typer.Context, key: Key, days: Annotated[int, typer.Option(help="Days to look back.", min=1)] = 30
) -> None:
    """Tell what a key used, newest day first.

    Example: bessemer key usage crm --days 7
    """
    settings = settings_of(context)
    with settings.client() as client:
        found = client.serve.get_api_key_usage(name=settings.name("apiKeys", key), days=days)
    columns: dict[str, Callable[[Any], Any]] = {
        "day": lambda day: day.day,
        "requests": lambda day: day.requests,
        "refused": lambda day: day.refused_requests,
        "prompt tokens": lambda day: day.prompt_tokens,
        "answer tokens": lambda day: day.completion_tokens,
    }
    if not found.days and settings.output is Output.TABLE:
        console.print("nothing used", style="dim")
        return
    print_rows(settings, list(found.days), columns)


def _limits(requests_per_minute: int, tokens_per_minute: int, tokens_per_day: int) -> dict[str, int]:
    return {
        "requests_per_minute": requests_per_minute,
        "tokens_per_minute": tokens_per_minute,
        "tokens_per_day": tokens_per_day,
    }


def _state(key: Any) -> str:
    if key.HasField("revoke_time"):
        return "revoked"
    expired = key.HasField("expire_time") and key.expire_time.ToDatetime(UTC) <= datetime.now(UTC)
    return "expired" if expired else "good"
