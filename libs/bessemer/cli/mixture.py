"""`bessemer mixture`: dataset versions in stated proportions, and what a run would read of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from bessemer.api.data.v1 import mixture_pb2, mixture_service_pb2
from bessemer.cli.mixture_optimise import optimise
from bessemer.cli.output import console, print_message, print_rows, short
from bessemer.cli.settings import Output, Settings, settings_of

__all__ = ["app"]

Columns = dict[str, Callable[[Any], Any]]
app = typer.Typer(help="Mix dataset versions for a training job to read.", no_args_is_help=True)
app.command()(optimise)
From = Annotated[
    list[str] | None, typer.Option("--from", help="VERSION or VERSION:WEIGHT, such as handbook/v1:0.7; repeat it.")
]
Temperature = Annotated[
    float | None, typer.Option(help="Without weights: 1 keeps natural proportions, higher makes them more equal.")
]
EpochsMax = Annotated[
    float | None, typer.Option(help="Most times that a row is read in a run, at most 16; 4 if unset.")
]
TokensMax = Annotated[
    list[str] | None, typer.Option(help="VERSION:TOKENS, most tokens of a version in a run; may be repeated.")
]
PhaseOption = Annotated[
    list[str] | None,
    typer.Option("--phase", help="NAME:SHARE:W1,W2,...: a part of the run with weights of its own; repeat in order."),
]
Tokens = Annotated[int, typer.Option(help="Tokens of the run; 0 means as many as the versions hold.", min=0)]
Rows = Annotated[int, typer.Option(help="First rows whose sources to show.", min=0, max=1000)]


@app.command()
def create(
    context: typer.Context,
    mixture: Annotated[str, typer.Argument(help="Id of the mixture.")],
    sources: From = None,
    temperature: Temperature = None,
    epochs_max: EpochsMax = None,
    tokens_max: TokensMax = None,
    phases: PhaseOption = None,
) -> None:
    """Create a mixture; it never changes afterwards.

    Example: bessemer mixture create plant --from handbook/v1:0.7 --from tickets/v3:0.3
    """
    settings = settings_of(context)
    wanted = _mixture(settings, sources, temperature, epochs_max, tokens_max, phases=phases)
    with settings.client() as client:
        made = client.data.create_mixture(parent=settings.project, mixture_id=mixture, mixture=wanted)
    _print_mixture(settings, made)


@app.command()
def preview(
    context: typer.Context,
    mixture: Annotated[str | None, typer.Argument(help="Mixture; or describe one that does not exist yet.")] = None,
    sources: From = None,
    temperature: Temperature = None,
    epochs_max: EpochsMax = None,
    tokens_max: TokensMax = None,
    phases: PhaseOption = None,
    tokens: Tokens = 0,
    rows: Rows = 0,
) -> None:
    """Show what a run would read: tokens, shares, passes, and which cap holds a version back.

    Example: bessemer mixture preview plant --tokens 2000000 --rows 12
    """
    settings = settings_of(context)
    if (mixture is None) == (not sources):
        raise typer.BadParameter("give either a MIXTURE, or --from to describe one")
    asked: dict[str, Any] = (
        {"name": settings.name("mixtures", mixture)}
        if mixture
        else {"mixture": _mixture(settings, sources, temperature, epochs_max, tokens_max, phases=phases)}
    )
    with settings.client() as client:
        found = client.data.preview_mixture(parent=settings.project, tokens=tokens, rows=rows, **asked)
    _print_preview(settings, found)


@app.command()
def show(context: typer.Context, mixture: Annotated[str, typer.Argument(help="Mixture, such as plant.")]) -> None:
    """Show a mixture: versions by digest, shares, caps and phases.

    Example: bessemer mixture show plant
    """
    settings = settings_of(context)
    with settings.client() as client:
        found = client.data.get_mixture(name=settings.name("mixtures", mixture))
    _print_mixture(settings, found)


@app.command("list")
def list_(context: typer.Context) -> None:
    """List mixtures.

    Example: bessemer mixture list
    """
    settings = settings_of(context)
    with settings.client() as client:
        found = list(client.pages(client.data.list_mixtures, parent=settings.project))
    columns: Columns = {
        "mixture": lambda m: short(m.name),
        "versions": lambda m: ", ".join(f"{short(c.dataset_version)} {c.weight:.1%}" for c in m.components),
        "phases": lambda m: len(m.phases),
        "digest": lambda m: m.content.sha256[:12],
    }
    print_rows(settings, found, columns)


def _mixture(
    settings: Settings,
    sources: list[str] | None,
    temperature: float | None,
    epochs_max: float | None,
    tokens_max: list[str] | None,
    *,
    phases: list[str] | None,
) -> mixture_pb2.Mixture:
    """Return the mixture that the options describe."""
    limits = {}
    for limit in tokens_max or []:
        version, _, tokens = limit.rpartition(":")
        limits[settings.version_name("datasets", version)] = int(_number(tokens, "--tokens-max", limit))
    components = []
    for source in sources or []:
        version, colon, weight = source.partition(":")
        name = settings.version_name("datasets", version)
        components.append(
            mixture_pb2.MixtureComponent(
                dataset_version=name,
                weight=_number(weight, "--from", source) if colon else None,
                epochs_max=epochs_max,
                tokens_max=limits.pop(name, None),
            )
        )
    if limits:
        raise typer.BadParameter(f"--tokens-max names {short(next(iter(limits)))}, which no --from does")
    return mixture_pb2.Mixture(
        components=components, temperature=temperature, phases=[_phase(phase) for phase in phases or []]
    )


def _phase(text: str) -> mixture_pb2.MixturePhase:
    parts = text.split(":")
    if len(parts) != 3:
        raise typer.BadParameter(f"a phase looks like NAME:SHARE:W1,W2,...; got {text!r}")
    weights = [_number(weight, "--phase", text) for weight in parts[2].split(",")]
    return mixture_pb2.MixturePhase(display_name=parts[0], share=_number(parts[1], "--phase", text), weights=weights)


def _number(text: str, option: str, whole: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"{option} {whole!r}: {text!r} is not a number") from None


def _print_mixture(settings: Settings, found: mixture_pb2.Mixture) -> None:
    fields = {
        "mixture": short(found.name),
        "digest": found.content.sha256,
        "tokenizer": found.tokenizer_sha256[:12] or "of the model that learns",
        "next": f"bessemer train ... --mixture {short(found.name)}",
    }
    print_message(settings, found, fields)
    if settings.output is Output.JSON:
        return
    columns: Columns = {
        "version": lambda c: short(c.dataset_version),
        "digest": lambda c: c.manifest.sha256[:12],
        "rows": lambda c: c.rows,
        "tokens": lambda c: c.tokens,
        "share": lambda c: f"{c.weight:.1%}",
        "most passes": lambda c: f"{c.epochs_max:g}",
        "most tokens": lambda c: c.tokens_max or "",
    }
    print_rows(settings, found.components, columns)
    if len(found.phases) > 1:
        phase_columns: Columns = {
            "phase": lambda p: p.display_name,
            "share": lambda p: f"{p.share:.1%}",
            "weights": lambda p: ", ".join(f"{weight:.1%}" for weight in p.weights),
        }
        print_rows(settings, found.phases, phase_columns)


def _print_preview(settings: Settings, found: mixture_service_pb2.PreviewMixtureResponse) -> None:
    about = "about " if found.tokens_estimated else ""
    missing = f"; {found.tokens_short} short, since every cap of a phase is reached" if found.tokens_short else ""
    print_message(settings, found, {"run": f"{found.rows} rows, {about}{found.tokens} tokens{missing}"})
    if settings.output is Output.JSON:
        return
    columns: Columns = {
        "version": lambda s: short(s.dataset_version),
        "rows": lambda s: s.rows,
        "tokens": lambda s: s.tokens,
        "share": lambda s: f"{s.share:.1%}",
        "wanted": lambda s: f"{s.wanted_share:.1%}",
        "passes": lambda s: f"{s.epochs:.2f}",
        "held by": lambda s: (
            mixture_service_pb2.MixtureCap.Name(s.cap).removeprefix("MIXTURE_CAP_").lower() if s.cap else ""
        ),
        "missing": lambda s: s.tokens_short or "",
    }
    print_rows(settings, found.components, columns)
    if len(found.parts) > len(found.components):
        console.print()
        print_rows(settings, found.parts, {"phase": lambda s: s.phase, **columns})
    if found.first_rows:
        console.print()
        row_columns: Columns = {
            "row": lambda r: r.row,
            "phase": lambda r: r.phase,
            "version": lambda r: short(r.dataset_version),
            "its row": lambda r: r.component_row,
            "pass": lambda r: r.epoch + 1,
        }
        print_rows(settings, found.first_rows, row_columns)
