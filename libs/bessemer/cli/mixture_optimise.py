"""`bessemer mixture optimise`: shares of a mixture, looked for with a swarm of small models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bessemer.api.train.v1 import mixture_job_pb2, training_job_pb2
from bessemer.cli.output import console, print_message, print_rows, short
from bessemer.cli.progress import follow
from bessemer.cli.settings import Output, Settings, settings_of
from bessemer.sdk.recipe import parse_recipe

__all__ = ["optimise"]


def optimise(
    context: typer.Context,
    mixture: Annotated[str, typer.Argument(help="Mixture of text versions to start from, such as plant.")],
    into: Annotated[str, typer.Argument(help="Id of the mixture that is made with what comes out.")],
    model: Annotated[str, typer.Option(help="Model version whose tokenizer the data have.")] = "smollm2/v1",
    targets: Annotated[
        list[str] | None,
        typer.Option("--target", help="VERSION or VERSION:WEIGHT whose held-out split counts; all alike if unset."),
    ] = None,
    tokens: Annotated[int, typer.Option(help="Tokens of the run; 0 means as many as the versions hold.", min=0)] = 0,
    proxies: Annotated[int | None, typer.Option(help="Small models of the swarm.", min=4)] = None,
    pairs: Annotated[int | None, typer.Option(help="Pairs of larger models that check the result.", min=2)] = None,
    recipe: Annotated[Path | None, typer.Option(help="Recipe of the small models, TOML.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="Recipe key=value; may be repeated.")] = None,
    report: Annotated[Path | None, typer.Option(help="Also save the HTML report here.")] = None,
) -> None:
    """Look for better shares and make a mixture of them; if none are better, the new mixture keeps the old ones.

    Example: bessemer mixture optimise natural plant --tokens 20000000 --target handbook/v1:2 --target tickets/v3
    """
    shared = settings_of(context)
    job = mixture_job_pb2.MixtureJob(
        mixture=shared.name("mixtures", mixture),
        base_model_version=shared.version_name("models", model),
        targets=[_target(shared, target) for target in targets or []],
        tokens=tokens,
        num_proxies=proxies,
        num_pairs=pairs,
        recipe=parse_recipe(training_job_pb2.TrainingRecipe, recipe, settings or []),
    )
    with shared.client() as client:
        created = client.train.create_mixture_job(parent=shared.project, mixture_job=job)
        done = follow(client, shared, created, f"shares of {mixture}")
        made = client.data.create_mixture(parent=shared.project, mixture_id=into, mixture=done.proposal.mixture)
        if report is not None:
            client.download(done.proposal.report, report)
    _print(shared, done, short(made.name))


def _target(settings: Settings, text: str) -> mixture_job_pb2.MixtureTarget:
    version, colon, weight = text.partition(":")
    try:
        number = float(weight) if colon else None
    except ValueError:
        raise typer.BadParameter(f"--target {text!r}: {weight!r} is not a number") from None
    return mixture_job_pb2.MixtureTarget(dataset_version=settings.version_name("datasets", version), weight=number)


def _print(settings: Settings, job: Any, made: str) -> None:
    found: mixture_job_pb2.MixtureProposal = job.proposal
    is_better = found.verdict == mixture_job_pb2.MIXTURE_VERDICT_BETTER
    span = f"{found.difference_low:+.3f} to {found.difference_high:+.3f}"
    facts = {
        "verdict": "better" if is_better else "no better than natural",
        "held-out loss": f"{found.difference:+.3f} nats per token, 90 % interval {span}, {job.num_pairs} pairs",
        "foretold": f"{found.foretold_difference:+.3f} by the law of {job.num_proxies} small models, "
        f"rank correlation {found.rank_correlation:.2f}",
        "mixture": f"{made}, with the {'proposed' if is_better else 'old'} shares",
        "next": f"bessemer train ... --mixture {made}",
    }
    print_message(settings, job, facts)
    if settings.output is Output.JSON:
        return
    console.print()
    columns = {
        "version": lambda s: short(s.dataset_version),
        "share": lambda s: f"{s.natural:.1%}",
        "proposed": lambda s: f"{s.share:.1%}",
        "90 % interval": lambda s: f"{s.low:.1%} to {s.high:.1%}",
        "passes": lambda s: f"{s.epochs:.2f}",
        "held by": lambda s: "cap" if s.is_capped else "",
    }
    print_rows(settings, found.shares, columns)
