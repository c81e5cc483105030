"""`bessemer eval policy` and `bessemer eval waiver`: what a release must show, and signed exceptions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from google.protobuf.timestamp_pb2 import Timestamp

from bessemer.api.eval.v1 import evaluation_pb2, gate_policy_pb2
from bessemer.cli.output import console, print_message, print_rows, short
from bessemer.cli.settings import Output, Settings, settings_of

__all__ = ["expiry", "policy_app", "waiver_app"]

Columns = dict[str, Callable[[Any], Any]]
policy_app = typer.Typer(help="Rules that every candidate must meet.", no_args_is_help=True)
waiver_app = typer.Typer(help="Signed exceptions that expire.", no_args_is_help=True)
RELATIONS = {
    "loses": (evaluation_pb2.GATE_RELATION_NON_INFERIOR, "margin"),
    "gains": (evaluation_pb2.GATE_RELATION_SUPERIOR, "margin"),
    "beats": (evaluation_pb2.GATE_RELATION_FLOOR, "floor"),
}
FORM = (
    "a rule looks like SUITE:loses:0.02 (may lose less than 2 points), SUITE:gains:0.05 (must gain more) or "
    "SUITE:beats:0.8 (own score); SUITE/SLICE takes the cases whose cluster matches, such as faq/contracts*; "
    "':relative' counts in shares of the baseline, ':advisory' only advises"
)


@policy_app.command()
def create(
    context: typer.Context,
    policy_id: Annotated[str, typer.Argument(help="Id of the new policy.")],
    rules: Annotated[list[str] | None, typer.Option("--rule", help=FORM)] = None,
    forgetting: Annotated[
        str, typer.Option(help="Most that each suite of general skill may lose: 0.01:general-choice,arithmetic.")
    ] = "",
    level: Annotated[float, typer.Option(help="One-sided chance of a false claim over all blocking rules.")] = 0.05,
    imported: Annotated[bool, typer.Option(help="Results that another tool recorded may decide.")] = False,
    served: Annotated[
        bool, typer.Option(help="Only answers of an endpoint that passed its parity check may decide.")
    ] = False,
    clean: Annotated[
        bool, typer.Option(help="Rules must hold without cases that stand in training data as well.")
    ] = False,
) -> None:
    """Seal a policy.

    Example: bessemer eval policy create release --rule faq:gains:0 --forgetting 0.03:general-choice
    """
    settings = settings_of(context)
    policy = gate_policy_pb2.GatePolicy(
        level=level,
        rules=[_rule(settings, text) for text in rules or []],
        imported_results=imported,
        served_results=served,
        clean_cases=clean,
    )
    if forgetting:
        loss, _, suites = forgetting.partition(":")
        policy.forgetting_budget.max_loss = _number(loss)
        policy.forgetting_budget.suites.extend(settings.name("evaluationSuites", one) for one in suites.split(","))
    with settings.client() as client:
        made = client.eval.create_gate_policy(parent=settings.project, gate_policy_id=policy_id, gate_policy=policy)
        _print_policy(settings, made)


@policy_app.command()
def show(context: typer.Context, policy_id: Annotated[str, typer.Argument(help="Policy.")]) -> None:
    """Show a policy.

    Example: bessemer eval policy show release
    """
    settings = settings_of(context)
    with settings.client() as client:
        _print_policy(settings, client.eval.get_gate_policy(name=settings.name("gatePolicies", policy_id)))


@policy_app.command("list")
def list_policies(context: typer.Context) -> None:
    """List policies.

    Example: bessemer eval policy list
    """
    settings = settings_of(context)
    with settings.client() as client:
        found = list(client.pages(client.eval.list_gate_policies, parent=settings.project))
        columns: Columns = {
            "policy": lambda p: short(p.name),
            "rules": lambda p: len(p.rules),
            "forgetting budget": lambda p: f"{p.forgetting_budget.max_loss:.1%}" if p.forgetting_budget.suites else "-",
            "level": lambda p: p.level,
            "creator": lambda p: p.creator,
        }
        print_rows(settings, found, columns)


@waiver_app.command()
def sign(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="Model version, such as assistant/v3.")],
    reason: Annotated[str, typer.Option(help="Why it may run without a passed gate; recorded for the audit.")],
    days: Annotated[int, typer.Option(help="Days until it expires.", min=1, max=90)] = 7,
    decision: Annotated[str, typer.Option(help="The gate decision that did not pass, if there was one.")] = "",
) -> None:
    """Sign a waiver for a model version's bytes, in your name.

    Example: bessemer eval waiver sign assistant/v3 --reason "pilot with five users" --days 3
    """
    settings = settings_of(context)
    waiver = gate_policy_pb2.GateWaiver(
        model_version=settings.version_name("models", model),
        gate_decision=settings.name("gateDecisions", decision) if decision else "",
        reason=reason,
        expire_time=expiry(days),
    )
    with settings.client() as client:
        made = client.eval.create_gate_waiver(parent=settings.project, gate_waiver=waiver)
        _print_waiver(settings, made)


@waiver_app.command("list")
def list_waivers(context: typer.Context) -> None:
    """List waivers.

    Example: bessemer eval waiver list
    """
    settings = settings_of(context)
    with settings.client() as client:
        found = list(client.pages(client.eval.list_gate_waivers, parent=settings.project))
        columns: Columns = {
            "waiver": lambda w: short(w.name),
            "model": lambda w: short(w.model_version),
            "signed by": lambda w: w.creator,
            "state": _state,
            "reason": lambda w: w.reason,
        }
        print_rows(settings, found, columns)


@waiver_app.command()
def revoke(context: typer.Context, waiver: Annotated[str, typer.Argument(help="Waiver.")]) -> None:
    """Take a waiver back: nothing new may start by it.

    Example: bessemer eval waiver revoke waiver-0199f3
    """
    settings = settings_of(context)
    with settings.client() as client:
        _print_waiver(settings, client.eval.revoke_gate_waiver(name=settings.name("gateWaivers", waiver)))


def expiry(days: int) -> Timestamp:
    """Return the time so many days from now."""
    at = Timestamp()
    at.FromDatetime(datetime.now(UTC) + timedelta(days=days))
    return at


def _rule(settings: Settings, text: str) -> evaluation_pb2.GateRule:
    where, *rest = text.split(":")
    flags = set(rest[2:])
    if len(rest) < 2 or rest[0] not in RELATIONS or flags - {"relative", "advisory"}:
        raise typer.BadParameter(f"{FORM}; got {text!r}")
    suite, _, cases = where.partition("/")
    relation, field = RELATIONS[rest[0]]
    rule = evaluation_pb2.GateRule(
        suite=settings.name("evaluationSuites", suite),
        slice=cases,
        relation=relation,
        relative="relative" in flags,
        blocking="advisory" not in flags,
    )
    setattr(rule, field, _number(rest[1]))
    return rule


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no number; {FORM}") from None


def _print_policy(settings: Settings, policy: Any) -> None:
    print_message(settings, policy, {"policy": short(policy.name), "level": f"{policy.level:g}, shared by Holm"})
    if settings.output is Output.JSON:
        return
    for rule in policy.rules:
        tier = "blocking" if rule.blocking else "advisory"
        where = f"{short(rule.suite)}{f' ({rule.slice})' if rule.slice else ''}"
        share = " of the baseline's score" if rule.relative else ""
        asked = {
            evaluation_pb2.GATE_RELATION_NON_INFERIOR: f"may lose less than {rule.margin:.1%}{share}",
            evaluation_pb2.GATE_RELATION_SUPERIOR: f"must gain more than {rule.margin:.1%}{share}",
            evaluation_pb2.GATE_RELATION_FLOOR: f"must be better than {rule.floor:g}",
        }[rule.relation]
        console.print(f"  {tier:9} {where}: {asked}", markup=False)
    for suite in policy.forgetting_budget.suites:
        loss = policy.forgetting_budget.max_loss
        console.print(f"  {'blocking':9} {short(suite)}: may forget less than {loss:.1%}", markup=False)


def _print_waiver(settings: Settings, waiver: Any) -> None:
    facts = {
        "waiver": short(waiver.name),
        "model": short(waiver.model_version),
        "signed by": waiver.creator,
        "state": _state(waiver),
    }
    print_message(settings, waiver, facts)


def _state(waiver: Any) -> str:
    if waiver.HasField("revoke_time"):
        return f"taken back by {waiver.revoker}"
    expires = waiver.expire_time.ToDatetime(UTC)
    word = "expires" if expires > datetime.now(UTC) else "expired"
    return f"{word} {expires:%Y-%m-%d %H:%M} UTC"
