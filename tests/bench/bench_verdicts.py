"""What verdicts promise, by simulation: false passes at the margin, coverage of intervals, power of a plan.

Every row is a share of seeded runs through the code that gates run. A peer column holds what the plain method gives
on the same data: intervals that know no clusters, no judge and no number of rules.
"""

from __future__ import annotations

import json
import math
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from eval_svc.domain.bootstrap import relative_change  # noqa: E402
from eval_svc.domain.cases import Grader  # noqa: E402
from eval_svc.domain.compare import adjusted_difference, pair_up  # noqa: E402
from eval_svc.domain.effect import Effect, Relation, Rule, measure  # noqa: E402
from eval_svc.domain.gate import Verdict, decide_rules  # noqa: E402
from eval_svc.domain.judge import Anchors, corrected_difference, corrected_share  # noqa: E402
from eval_svc.domain.plan import pilot_of, plan  # noqa: E402
from eval_svc.domain.results import CaseResult  # noqa: E402
from eval_svc.domain.statistics import mcnemar_clustered, mcnemar_exact, proportion, ratio  # noqa: E402

RUNS = 4_000
MARGIN, LEVEL, CONFIDENCE = 0.03, 0.05, 0.95
COVERS, FALSE_PASS, POWER = "0.93 to 0.97", "<= 0.06", "0.76 to 0.86"
SUITE = "projects/p/evaluationSuites/s"
Clusters = Sequence[int]
# Forty documents with eight questions each; and documents of very unequal length.
EVEN = [case // 8 for case in range(320)]
UNEVEN = [cluster for cluster in range(60) for _ in range(1 + (cluster * cluster) // 120)]


def paired(
    generator: random.Random, clusters: Clusters, difference: float, *, changed: float = 0.2, dependence: float = 0.0
) -> tuple[list[CaseResult], list[CaseResult]]:
    """Draw right-or-wrong results of two models; `dependence` is the intra-cluster correlation of what changes."""
    wins = (changed + difference) / 2 / changed
    baseline, candidate = [], []
    own = (changed, wins)
    for case, cluster in enumerate(clusters):
        if case == 0 or cluster != clusters[case - 1]:
            own = (dependent(generator, changed, dependence), dependent(generator, wins, dependence))
        scores = (1.0, 1.0) if generator.random() < 0.6 else (0.0, 0.0)
        if generator.random() < own[0]:
            scores = (0.0, 1.0) if generator.random() < own[1] else (1.0, 0.0)
        for results, score in zip((baseline, candidate), scores, strict=True):
            results.append(CaseResult(id=str(case), cluster=str(cluster), score=score))
    return baseline, candidate


def dependent(generator: random.Random, share: float, correlation: float) -> float:
    """Draw a cluster's own share, so that its cases correlate so much."""
    if correlation == 0:
        return share
    weight = 1 / correlation - 1
    return generator.betavariate(share * weight, (1 - share) * weight)


def rule(difference: float = -MARGIN) -> Rule:
    return Rule(suite=SUITE, limit=difference, blocking=True, relation=Relation.NON_INFERIOR)


def passes(effects: Sequence[Effect], *, corrected: bool) -> list[bool]:
    outcomes = decide_rules([rule()] * len(effects), effects, level=LEVEL, corrected=corrected)
    return [outcome.verdict is Verdict.PASS for outcome in outcomes]


def effect_of(generator: random.Random, clusters: Clusters, *, dependence: float) -> Effect:
    found = measure(
        rule(), *paired(generator, clusters, -MARGIN, dependence=dependence), Grader.EXACT, confidence=1 - 2 * LEVEL
    )
    assert isinstance(found, Effect)
    return found


def false_pass(clusters: Clusters, dependence: float) -> Callable[[random.Random], tuple[float, float]]:
    """Return a run that says whether a model exactly at the margin passes, with and without regard to clusters."""

    def one(generator: random.Random) -> tuple[float, float]:
        baseline, candidate = paired(generator, clusters, -MARGIN, dependence=dependence)
        found = measure(rule(), baseline, candidate, Grader.EXACT, confidence=1 - 2 * LEVEL)
        assert isinstance(found, Effect)
        gains = [(c.score or 0) - (b.score or 0) for b, c in zip(baseline, candidate, strict=True)]
        naive = ratio(gains, [1.0] * len(gains), range(len(gains)), confidence=1 - 2 * LEVEL)
        return float(passes([found], corrected=True)[0]), float(naive.low > -MARGIN)

    return one


def difference_covered(clusters: Clusters, dependence: float) -> Callable[[random.Random], tuple[float, float]]:
    """Return a run that says whether the interval of a paired difference covers the truth."""

    def one(generator: random.Random) -> tuple[float, float]:
        baseline, candidate = paired(generator, clusters, -MARGIN, dependence=dependence)
        found = adjusted_difference(pair_up(baseline, candidate), confidence=CONFIDENCE)
        gains = [(c.score or 0) - (b.score or 0) for b, c in zip(baseline, candidate, strict=True)]
        naive = ratio(gains, [1.0] * len(gains), range(len(gains)), confidence=CONFIDENCE)
        return float(found.low <= -MARGIN <= found.high), float(naive.low <= -MARGIN <= naive.high)

    return one


def share_covered(
    clusters: Clusters, shares: tuple[float, float], dependence: float
) -> Callable[[random.Random], tuple[float, float]]:
    """Return a run that says whether the interval of a share, drawn between two, covers the truth."""

    def one(generator: random.Random) -> tuple[float, float]:
        share = generator.uniform(*shares)
        own = {cluster: dependent(generator, share, dependence) for cluster in dict.fromkeys(clusters)}
        scores = [float(generator.random() < own[cluster]) for cluster in clusters]
        found = proportion(scores, clusters, confidence=CONFIDENCE)
        mean = sum(scores) / len(scores)
        half = 1.96 * math.sqrt(mean * (1 - mean) / len(scores))
        return float(found.low <= share <= found.high), float(abs(mean - share) <= half)

    return one


def family(generator: random.Random) -> tuple[float, float]:
    """Say whether any of five models' rules at their margin is passed, with and without Holm."""
    effects = [effect_of(generator, range(200), dependence=0.0) for _ in range(5)]
    return float(any(passes(effects, corrected=True))), float(any(passes(effects, corrected=False)))


def mcnemar_size(generator: random.Random) -> tuple[float, float]:
    """Say whether equal models are told apart at 5 % on dependent cases."""
    baseline, candidate = paired(generator, EVEN, 0.0, dependence=0.3)
    gains = [int((c.score or 0) - (b.score or 0)) for b, c in zip(baseline, candidate, strict=True)]
    by_cluster = [sum(gains[at : at + 8]) for at in range(0, len(gains), 8)]
    naive = mcnemar_exact(gains.count(1), gains.count(-1))
    return float(mcnemar_clustered(by_cluster) <= 0.05), float(naive <= 0.05)


def relative_covered(generator: random.Random) -> tuple[float, float]:
    """Say whether BCa and the naive interval cover a relative change of -10 % on dependent cases."""
    before, after, clusters = [], [], []
    for cluster in range(60):
        own, kept = dependent(generator, 0.4, 0.3), dependent(generator, 0.8, 0.3)
        for _ in range(4):
            before.append(float(generator.random() < own))
            after.append(before[-1] if generator.random() < 0.5 else float(generator.random() < kept * own))
            clusters.append(cluster)
    found = relative_change(before, after, clusters, seed=generator.randrange(2**32))
    assert found is not None
    low, high = found.bounds(CONFIDENCE)
    total = sum(before)
    gains = [a - 0.9 * b for a, b in zip(after, before, strict=True)]
    naive = ratio(gains, [total / len(before)] * len(gains), range(len(gains)), confidence=CONFIDENCE)
    return float(low <= -0.1 <= high), float(naive.low <= 0 <= naive.high)


def anchors(generator: random.Random, sensitivity: float, specificity: float) -> Anchors:
    agreed = [sum(generator.random() < rate for _ in range(100)) for rate in (sensitivity, specificity)]
    return Anchors(num_right=100, num_right_agreed=agreed[0], num_wrong=100, num_wrong_agreed=agreed[1])


def judged(generator: random.Random, truth: float) -> float:
    """Draw what a judge that finds 90 % of the right and 80 % of the wrong answers says."""
    return float(generator.random() < (0.9 if truth else 0.2))


def judge_covered(generator: random.Random) -> tuple[float, float]:
    """Say whether the corrected and the raw interval of a judged share cover the true .75."""
    says = [judged(generator, generator.random() < 0.75) for _ in range(500)]
    raw = ratio(says, [1.0] * len(says), range(len(says)), confidence=CONFIDENCE)
    found = corrected_share(raw, anchors(generator, 0.9, 0.8), confidence=CONFIDENCE)
    return float(found.low <= 0.75 <= found.high), float(raw.low <= 0.75 <= raw.high)


def judge_difference_covered(generator: random.Random) -> tuple[float, float]:
    """Say the same of a paired difference of ten points."""
    baseline, candidate = paired(generator, EVEN, 0.10, changed=0.3, dependence=0.2)
    gains = [
        judged(generator, c.score or 0) - judged(generator, b.score or 0)
        for b, c in zip(baseline, candidate, strict=True)
    ]
    raw = ratio(gains, [1.0] * len(gains), EVEN, confidence=CONFIDENCE)
    found = corrected_difference(raw, anchors(generator, 0.9, 0.8), confidence=CONFIDENCE)
    return float(found.low <= 0.10 <= found.high), float(raw.low <= 0.10 <= raw.high)


def planned_power(size: int, dependence: float) -> Callable[[random.Random], tuple[float, float]]:
    """Return a run of a suite of the planned size that says whether a difference of five points is seen.

    Clusters of `size` cases are planned from a pilot of 3,200 cases, single cases from the stated defaults.
    """
    # A variance of the paired difference of .28, as plans take it; unpaired it is twice p (1 - p).
    changed, pilot = 0.2825, None
    if size > 1:
        earlier = paired(
            random.Random(0), [case // size for case in range(3200)], 0.05, changed=changed, dependence=dependence
        )
        pilot = pilot_of(pair_up(*earlier), Grader.EXACT)
    planned = plan([case // size for case in range(320)], 0.05, Grader.EXACT, pilot).num_cases_needed
    cases = [case // size for case in range(planned)]

    def one(generator: random.Random) -> tuple[float, float]:
        results = paired(generator, cases, 0.05, changed=changed, dependence=dependence)
        found = adjusted_difference(pair_up(*results), confidence=CONFIDENCE)
        means = [sum(r.score or 0 for r in model) / planned for model in results]
        error = math.sqrt(sum(mean * (1 - mean) for mean in means) / planned)
        return float(found.low > 0), float(means[1] - means[0] > 1.96 * error)

    return one


SIMULATIONS: list[tuple[str, Callable[[random.Random], tuple[float, float]], int, object]] = [
    ("false pass at a margin of 3 points, 500 cases", false_pass(range(500), 0.0), RUNS, FALSE_PASS),
    ("false pass at a margin of 3 points, 40 clusters of 8", false_pass(EVEN, 0.3), RUNS, FALSE_PASS),
    # So near to its goal that 4,000 runs, which tell a share of 6 % to 0.4 points, would decide by chance.
    ("false pass at a margin of 3 points, unequal clusters", false_pass(UNEVEN, 0.3), 5 * RUNS, FALSE_PASS),
    ("any false pass among 5 rules at their margin, Holm", family, RUNS, FALSE_PASS),
    ("coverage of a paired difference, 500 cases", difference_covered(range(500), 0.0), RUNS, COVERS),
    ("coverage of a paired difference, 40 clusters of 8", difference_covered(EVEN, 0.3), RUNS, COVERS),
    ("coverage of a paired difference, unequal clusters", difference_covered(UNEVEN, 0.3), RUNS, COVERS),
    ("coverage of a share of .5 to .98, 100 cases", share_covered(range(100), (0.5, 0.98), 0.0), RUNS, COVERS),
    ("coverage of a share of .6, 40 clusters of 8", share_covered(EVEN, (0.6, 0.6), 0.3), RUNS, COVERS),
    ("coverage of a relative change, 60 clusters of 4, BCa", relative_covered, RUNS // 4, COVERS),
    ("equal models told apart at 5 %, 40 clusters of 8", mcnemar_size, RUNS, FALSE_PASS),
    ("coverage of a judged share, corrected", judge_covered, RUNS, COVERS),
    ("coverage of a judged difference, corrected", judge_difference_covered, RUNS, COVERS),
    ("power of a suite planned for 5 points by defaults", planned_power(1, 0.0), RUNS // 4, POWER),
    ("power of a suite planned by a pilot, clusters of 8", planned_power(8, 0.3), RUNS // 4, POWER),
]


def main() -> None:
    """Simulate, print the table, write `build/bench/verdicts.json`."""
    rows: list[dict[str, object]] = []
    for metric, one, runs, goal in SIMULATIONS:
        begin = time.process_time()
        generator = random.Random(metric)
        found = [one(generator) for _ in range(runs)]
        ours, plain = (sum(pair[part] for pair in found) / runs for part in (0, 1))
        rows.append(
            {
                "metric": f"{metric} ({runs:,} runs)",
                "ours": round(ours, 4),
                "peer": round(plain, 4),
                "ratio": None,
                "limit": None,
                "goal": goal,
            }
        )
        seconds = time.process_time() - begin
        print(f"{metric:56} ours {ours:.4f}  plain {plain:.4f}  goal {goal}  ({seconds:.0f} CPU-s)", flush=True)
    path = ROOT / "build" / "bench" / "verdicts.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=2))
    print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
