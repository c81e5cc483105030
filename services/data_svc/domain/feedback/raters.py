"""Who is believed: tests of people and groups against everybody else, each at a stated rate of false alarms.

All tests are made again without those they found, until nobody is found: a brigade must not be its own yardstick.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from data_svc.domain.feedback.groups import groups_in_step, lockstep
from data_svc.domain.feedback.records import UP, Said
from data_svc.domain.feedback.tails import beta_binomial_tail, fit_rates, poisson_tail
from data_svc.domain.feedback.tastes import Tastes

__all__ = ["Found", "contrary", "coordinated", "label_noise", "outlying"]

Counts = Mapping[str, tuple[int, int]]


@dataclass(frozen=True)
class Found:
    """People a test found, and what it saw, in words without names."""

    users: frozenset[str]
    evidence: str = ""


def outlying(said: Sequence[Said], false_alarms: float) -> Found:
    """Return people who rate up far more, or far less, often than others do, given how much people differ.

    Ratings of a person are taken as beta-binomial: of one rate, which differs from person to person.
    """
    votes = _counts((one.user, one.rating == UP) for one in said if one.rating)
    users: frozenset[str] = frozenset()

    def more() -> frozenset[str]:
        rate, spread = fit_rates([count for user, count in votes.items() if user not in users])
        level = false_alarms / max(1, len(votes))
        return frozenset(user for user, (yes, n) in votes.items() if _both_tails(yes, n, rate, spread) < level)

    while found := more() - users:
        users |= found
    rate, _ = fit_rates([count for user, count in votes.items() if user not in users])
    return Found(users, f"their rates of `up` are no accident beside that of all others, {rate:.2f}")


def contrary(said: Sequence[Said], false_alarms: float) -> Found:
    """Return people who contradict others: about the same answers, or about what others like in answers.

    Half of the false alarms are for each.
    """
    by_answer = _contrary_on_answers(said, false_alarms / 2)
    tastes, users = Tastes(said), frozenset[str]()
    tastes.leave_out(by_answer)

    def more() -> frozenset[str]:
        left_out = users | by_answer
        sums = {user: tastes.agreement([user], left_out) for user in tastes.users}
        crowd = [found for user, found in sums.items() if user not in left_out]
        level = false_alarms / 2 / max(1, len(sums))
        return frozenset(user for user, found in sums.items() if tastes.against(found, crowd) < level)

    while found := more() - users - by_answer:
        tastes.leave_out(found)
        users |= found
    return Found(users | by_answer, "they contradict others about the same answers, or like what others do not")


def coordinated(said: Sequence[Said], false_alarms: float, window_s: float) -> Found:
    """Return the members of groups in step that rate otherwise than everybody else, or in lockstep like a machine.

    People who only share a list of prompts, such as a department, and like what others like stay. Each group is tested
    for three things, as if it were one person: how often it rates up, what it likes, and how close in time it rates.
    """
    groups = groups_in_step(said, window_s)
    level = false_alarms / 3 / max(1, len(groups))
    tastes = Tastes(said)
    votes = _counts((one.user, one.rating == UP) for one in said if one.rating)
    found: frozenset[str] = frozenset()
    why: Counter[str] = Counter()
    while True:
        crowd = [tastes.agreement([user], found) for user in tastes.users if user not in found]
        before = len(found)
        for group in groups:
            if group <= found:
                continue
            reason = _suspicion(group, votes, found, level)
            if not reason and tastes.against(tastes.agreement(group, found), crowd) < level:
                reason = "likes what others do not"
            if not reason:
                seen, expected = lockstep(said, group, window_s)
                # Neighbours come in pairs, so half as many are independent.
                reason = "rates in lockstep" if poisson_tail(seen // 2, expected / 2) < level else ""
            if reason:
                why[reason] += 1
                tastes.leave_out(group - found)
                found |= group
        if len(found) == before:
            seen_of = ", ".join(f"{count} {reason}" for reason, count in sorted(why.items()))
            return Found(found, f"groups that share prompts beyond their popularity: {seen_of}")


def _suspicion(group: frozenset[str], votes: Counts, left_out: Collection[str], level: float) -> str:
    """Say whether a group, taken as one person, rates up at another rate than the people outside of it."""
    outside = [count for user, count in votes.items() if user not in group and user not in left_out]
    yes, n = (sum(votes.get(user, (0, 0))[part] for user in group) for part in (0, 1))
    if not n or not outside:
        return ""
    rate, spread = fit_rates(outside)
    return "rates up at another rate" if _both_tails(yes, n, rate, spread) < level else ""


def label_noise(said: Sequence[Said]) -> tuple[float, int]:
    """Return the share of wrong ratings, 0 to 0.5, and the number of pairs of people that it rests on.

    Two ratings of one answer that are wrong with chance e, independently, differ with chance 2 e (1 - e). Each answer
    counts as many pairs as people less one, so that a few popular ones do not decide alone.
    """
    by_item: defaultdict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for one in said:
        if one.rating:
            by_item[one.asked, one.answered][one.user] = one.rating
    pairs, differing = 0.0, 0.0
    for votes in by_item.values():
        people, ups = len(votes), sum(vote == UP for vote in votes.values())
        if people > 1:
            pairs += people - 1
            differing += (people - 1) * ups * (people - ups) / (people * (people - 1) / 2)
    if not pairs:
        return 0.0, 0
    share = min(0.5, differing / pairs)
    return (1 - math.sqrt(1 - 2 * share)) / 2, round(pairs)


def _contrary_on_answers(said: Sequence[Said], false_alarms: float) -> frozenset[str]:
    by_item: defaultdict[tuple[str, str], list[Said]] = defaultdict(list)
    for one in said:
        if one.rating:
            by_item[one.asked, one.answered].append(one)
    shared = [group for group in by_item.values() if len({one.user for one in group}) > 1]
    users: frozenset[str] = frozenset()
    while True:
        counts = _counts(_against_majority(shared, users))
        rate, spread = fit_rates([count for user, count in counts.items() if user not in users])
        level = false_alarms / max(1, len(counts))
        more = {user for user, (yes, n) in counts.items() if beta_binomial_tail(yes, n, rate, spread) < level} - users
        if not more:
            return users
        users |= frozenset(more)


def _against_majority(groups: Sequence[Sequence[Said]], left_out: Collection[str]) -> Iterable[tuple[str, bool]]:
    """Yield user and whether the rating is against the majority of the others, where these have one."""
    for group in groups:
        sums: Counter[str] = Counter()
        for one in group:
            sums[one.user] += one.rating
        believed = sum(total for user, total in sums.items() if user not in left_out)
        for one in group:
            others = believed - (0 if one.user in left_out else sums[one.user])
            if others:
                yield one.user, one.rating * others < 0


def _both_tails(yes: int, n: int, rate: float, spread: float) -> float:
    above, below = beta_binomial_tail(yes, n, rate, spread), beta_binomial_tail(n - yes, n, 1 - rate, spread)
    return min(1.0, 2 * min(above, below))


def _counts(votes: Iterable[tuple[str, bool]]) -> dict[str, tuple[int, int]]:
    """Return by user how many votes say yes, and how many there are."""
    counts: dict[str, tuple[int, int]] = {}
    for user, is_yes in votes:
        yes, n = counts.get(user, (0, 0))
        counts[user] = yes + is_yes, n + 1
    return counts
