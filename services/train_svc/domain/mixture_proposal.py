"""From the runs of a mixture job to what it proposes; functions of numbers alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from bessemer.api.data.v1.mixture_pb2 import Mixture, MixtureComponent
from bessemer.api.train.v1.mixture_job_pb2 import (
    MixtureJob,
    MixtureProposal,
    MixtureRun,
    MixtureRunRole,
    MixtureShareEstimate,
    MixtureTargetLoss,
    MixtureVerdict,
)

from train_svc.domain.mixture_law import (
    Array,
    Bounds,
    Law,
    best_shares,
    draw_shares,
    fit,
    left_out,
    rank_correlation,
    resampled,
)
from train_svc.domain.mixture_search import natural_shares, share_bounds
from train_svc.domain.student import mean_interval

__all__ = ["plan_swarm", "propose_shares", "summarise", "with_shares"]

_RESAMPLES, _ENDS = 50, (0.05, 0.95)
_AT_CAP = 0.995


def plan_swarm(job: MixtureJob, mixture: Mixture) -> Array:
    """Return the shares of every run of the swarm, [num_proxies, M].

    All can be read by a run of its size, and, where that leaves any, by the run that the mixture is for.
    """
    small = share_bounds(job, mixture, tokens=job.recipe.steps * job.recipe.tokens_per_step)
    whole = share_bounds(job, mixture, tokens=job.tokens)
    high = np.minimum(small[1], whole[1])
    bounds = Bounds(np.zeros(len(high)), high if high.sum() >= 1 else np.array(small[1]))
    return draw_shares(np.array(natural_shares(mixture)), bounds, number=job.num_proxies, seed=job.recipe.seed)


def propose_shares(job: MixtureJob, mixture: Mixture, swarm: Sequence[MixtureRun]) -> Array:
    """Return the shares that the law of the swarm proposes, [M]."""
    return _optimum(job, mixture, fit(*_numbers(swarm)))


def with_shares(mixture: Mixture, shares: Sequence[float]) -> Mixture:
    """Return the content of a mixture with other shares, as the trainer reads it."""
    made = Mixture()
    made.CopyFrom(mixture)
    for component, share in zip(made.components, shares, strict=True):
        component.weight = share
    made.phases[0].weights[:] = shares
    return made


def summarise(job: MixtureJob, mixture: Mixture, runs: Sequence[MixtureRun]) -> MixtureProposal:
    """Return what the swarm and the pairs say together."""
    swarm, natural_runs, proposed_runs = (
        [run for run in runs if run.role == role]
        for role in (
            MixtureRunRole.MIXTURE_RUN_ROLE_PROXY,
            MixtureRunRole.MIXTURE_RUN_ROLE_NATURAL,
            MixtureRunRole.MIXTURE_RUN_ROLE_PROPOSED,
        )
    )
    shares, losses = _numbers(swarm)
    natural, weights = np.array(natural_shares(mixture)), _weights(job)
    law = fit(shares, losses)
    best = _optimum(job, mixture, law)
    laws = resampled(shares, losses, law, number=_RESAMPLES, seed=job.recipe.seed)
    low, high = np.quantile([_optimum(job, mixture, each) for each in laws], _ENDS, axis=0)
    foretold = [float(weights @ (each.losses(best) - each.losses(natural))) for each in (law, *laws)]
    before, after = _numbers(natural_runs)[1], _numbers(proposed_runs)[1]
    mean, least, most = mean_interval([float(x) for x in (after - before) @ weights])
    is_better = most < 0
    foretold_low, foretold_high = np.quantile(foretold[1:], _ENDS).tolist()
    made = MixtureProposal(
        verdict=MixtureVerdict.MIXTURE_VERDICT_BETTER if is_better else MixtureVerdict.MIXTURE_VERDICT_NO_BETTER,
        mixture=_to_create(mixture, best if is_better else natural),
        difference=mean,
        difference_low=least,
        difference_high=most,
        foretold_difference=foretold[0],
        foretold_low=foretold_low,
        foretold_high=foretold_high,
        rank_correlation=rank_correlation(losses @ weights, left_out(shares, losses) @ weights),
    )
    caps = share_bounds(job, mixture, tokens=job.tokens)[1]
    for i, component in enumerate(mixture.components):
        made.shares.append(
            MixtureShareEstimate(
                dataset_version=component.dataset_version,
                natural=natural[i],
                share=best[i],
                low=min(low[i], best[i]),
                high=max(high[i], best[i]),
                epochs=best[i] * job.tokens / component.tokens,
                is_capped=caps[i] < 1 and best[i] >= _AT_CAP * caps[i],
            )
        )
    for target, old, new in zip(job.targets, before.mean(axis=0), after.mean(axis=0), strict=True):
        made.targets.append(
            MixtureTargetLoss(dataset_version=target.dataset_version, weight=target.weight, natural=old, proposed=new)
        )
    return made


def _optimum(job: MixtureJob, mixture: Mixture, law: Law) -> Array:
    natural = np.array(natural_shares(mixture))
    low, high = share_bounds(job, mixture, tokens=job.tokens)
    bounds = Bounds(np.array(low), np.array(high))
    return best_shares(law, _weights(job), natural, bounds, kl_weight=job.kl_weight)


def _weights(job: MixtureJob) -> Array:
    return np.array([target.weight for target in job.targets])


def _numbers(runs: Sequence[MixtureRun]) -> tuple[Array, Array]:
    return np.array([list(run.shares) for run in runs]), np.array([list(run.losses) for run in runs])


def _to_create(mixture: Mixture, shares: Array) -> Mixture:
    """Return a mixture as it is asked for on creation."""
    made = Mixture()
    for component, share in zip(mixture.components, shares.tolist(), strict=True):
        wanted = MixtureComponent(
            dataset_version=component.dataset_version, weight=share, epochs_max=component.epochs_max
        )
        if component.HasField("tokens_max"):
            wanted.tokens_max = component.tokens_max
        made.components.append(wanted)
    return made
