"""What a mixture job found, as one HTML file."""

from __future__ import annotations

from collections.abc import Sequence

from bessemer.api.train.v1.mixture_job_pb2 import (
    MixtureJob,
    MixtureProposal,
    MixtureRun,
    MixtureRunRole,
    MixtureVerdict,
)
from bessemer.artifacts.report import Cell, Interval, Report

__all__ = ["write_report"]

_ROLES = {
    MixtureRunRole.MIXTURE_RUN_ROLE_PROXY: "swarm",
    MixtureRunRole.MIXTURE_RUN_ROLE_NATURAL: "pair, mixture",
    MixtureRunRole.MIXTURE_RUN_ROLE_PROPOSED: "pair, proposal",
}


def write_report(job: MixtureJob, runs: Sequence[MixtureRun], proposal: MixtureProposal) -> str:
    """Return the report: the verdict, shares with intervals, losses by target, and every run."""
    report = Report(f"Shares of {_short(job.mixture)}", job.name)
    _verdict(report, job, proposal)
    _shares(report, job, proposal)
    _losses(report, proposal)
    _runs(report, job, runs, [_short(share.dataset_version) for share in proposal.shares])
    return report.html()


def _verdict(report: Report, job: MixtureJob, proposal: MixtureProposal) -> None:
    is_better = proposal.verdict == MixtureVerdict.MIXTURE_VERDICT_BETTER
    report.heading("Better than the mixture" if is_better else "No better than natural")
    report.paragraph(
        f"{job.num_pairs} pairs of larger models, alike but for the shares, lost {proposal.difference:+.3f} nats per "
        f"token with the proposed shares (90 % interval {proposal.difference_low:+.3f} to "
        f"{proposal.difference_high:+.3f}) on held-out text that the law had not seen. "
        + ("Train with the proposed shares." if is_better else "Train with the shares of the mixture.")
    )
    report.numbers(
        {
            "difference, measured": f"{proposal.difference:+.3f}",
            "difference, foretold": f"{proposal.foretold_difference:+.3f}",
            "rank correlation, left-out runs": round(proposal.rank_correlation, 2),
            "tokens of the run": f"{job.tokens:,}",
        }
    )
    pairs = Interval("measured", proposal.difference_low, proposal.difference, proposal.difference_high)
    ends = sorted((proposal.foretold_low, proposal.foretold_difference, proposal.foretold_high))
    law = Interval("foretold by the law", *ends)
    report.intervals("Loss of the proposal less that of the mixture, nats per token", [pairs, law], reference=0.0)


def _shares(report: Report, job: MixtureJob, proposal: MixtureProposal) -> None:
    report.heading("Shares")
    report.intervals(
        "Proposed shares, and the middle 90 % of what resampled runs propose",
        [Interval(_short(s.dataset_version), s.low, s.share, s.high) for s in proposal.shares],
    )
    rows: list[list[Cell]] = [
        [
            _short(s.dataset_version),
            f"{s.natural:.1%}",
            f"{s.share:.1%}",
            f"{s.low:.1%} to {s.high:.1%}",
            round(s.epochs, 2),
            "its cap" if s.is_capped else "",
        ]
        for s in proposal.shares
    ]
    report.table(["version", "mixture", "proposed", "90 % interval", "passes", "held back by"], rows)
    report.paragraph(
        f"No share falls below {job.share_min:.0%} of what it is in the mixture, and a nat of distance from the "
        f"mixture costs {job.kl_weight:g} nats of loss."
    )


def _losses(report: Report, proposal: MixtureProposal) -> None:
    report.heading("Held-out losses of the pairs, nats per token")
    rows: list[list[Cell]] = [
        [
            _short(t.dataset_version),
            f"{t.weight:.1%}",
            round(t.natural, 4),
            round(t.proposed, 4),
            f"{t.proposed - t.natural:+.4f}",
        ]
        for t in proposal.targets
    ]
    report.table(["target", "weight", "mixture", "proposed", "difference"], rows)


def _runs(report: Report, job: MixtureJob, runs: Sequence[MixtureRun], versions: Sequence[str]) -> None:
    report.heading("Models trained")
    rows: list[list[Cell]] = [
        [
            _ROLES[run.role],
            run.seed,
            *(f"{share:.1%}" for share in run.shares),
            round(sum(t.weight * loss for t, loss in zip(job.targets, run.losses, strict=True)), 4),
            f"{run.parameters:,}",
            f"{run.tokens:,}",
            round(run.seconds, 1),
        ]
        for run in runs
    ]
    report.table(["for", "seed", *versions, "loss", "weights", "tokens", "seconds"], rows)


def _short(name: str) -> str:
    """Return a resource's ids: `handbook/v1` of a dataset version."""
    return "/".join(name.split("/")[3::2])
