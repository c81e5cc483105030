"""Who acts in step: people linked by the prompts they rate, and by when, more than popularity and traffic explain.

Links are drawn freely, at one in a hundred; they only say which people to look at together. Copying in lockstep:
Beutel et al. 2013, CopyCatch; Cao et al. 2014, SynchroTrap.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations

from data_svc.domain.feedback.records import Said
from data_svc.domain.feedback.tails import poisson_tail

__all__ = ["groups_in_step", "lockstep"]

_LINK_LEVEL = 1e-2
_MEMBERS_MIN = 3
_FREQUENT_USERS = 200  # a prompt of so many people says nothing about two of them


class _Popularity:
    """How popular prompts are among people who have little in common with the two that are looked at."""

    def __init__(self, prompts: Mapping[str, set[str]], shared: Mapping[tuple[str, str], int]) -> None:
        self._prompts = prompts
        self._total = sum(map(len, prompts.values()))
        self._askers: Counter[str] = Counter(prompt for asked in prompts.values() for prompt in asked)
        self._close: defaultdict[str, set[str]] = defaultdict(set)
        for (first, second), count in shared.items():
            if count > 1:
                self._close[first].add(second)
                self._close[second].add(first)

    def common_by_chance(self, first: str, second: str) -> float:
        """Return how many prompts two people would have in common if they chose by popularity.

        What nobody else asks for has the popularity of half a rating, so that it is not impossible.
        """
        inside = self._close[first] | self._close[second] | {first, second}
        own, theirs = self._prompts[first], self._prompts[second]
        outside = max(1, self._total - sum(len(self._prompts[user]) for user in inside))
        asked = Counter(prompt for user in inside for prompt in own & self._prompts[user])
        chance = sum((self._askers[prompt] - asked[prompt] + 0.5) / outside for prompt in own)
        return chance * len(theirs)


def groups_in_step(said: Sequence[Said], window_s: float) -> list[frozenset[str]]:
    """Return groups of three people or more who are linked, directly or through each other."""
    by_prompt: defaultdict[str, defaultdict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    prompts: defaultdict[str, set[str]] = defaultdict(set)
    for one in said:
        by_prompt[one.asked][one.user].append(one.time_s)
        prompts[one.user].add(one.asked)
    times = sorted(one.time_s for one in said)
    shared: Counter[tuple[str, str]] = Counter()
    timed: Counter[tuple[str, str]] = Counter()
    for users in by_prompt.values():
        for pair in combinations(sorted(users), 2) if len(users) <= _FREQUENT_USERS else ():
            shared[pair] += 1
            timed[pair] += _meet(users[pair[0]], users[pair[1]], window_s)
    traffic, links = _traffic(times, window_s), []
    crowd = _Popularity(prompts, shared)
    for (first, second), count in shared.items():
        met = timed[first, second]
        if count < 2 and not met:
            continue
        expected = crowd.common_by_chance(first, second)
        by_list = count > 1 and poisson_tail(count, expected) < _LINK_LEVEL
        if by_list or (met and poisson_tail(met, expected * traffic) < _LINK_LEVEL):
            links.append((first, second))
    return _components(links)


def lockstep(said: Sequence[Said], members: frozenset[str], window_s: float) -> tuple[int, float]:
    """Return how many ratings of a group have another member's beside them on the same prompt, and how many to expect.

    Expected given how often and when members rate, if the time had nothing to do with the prompt: people of another
    shift or time zone are no machine. A rating counts once, however many are beside it.
    """
    times = sorted(one.time_s for one in said if one.user in members)
    by_prompt: defaultdict[str, list[Said]] = defaultdict(list)
    for one in said:
        if one.user in members:
            by_prompt[one.asked].append(one)
    seen, expected = 0, 0.0
    for group in by_prompt.values():
        for one in group:
            others = [other for other in group if other.user != one.user]
            near = bisect_right(times, one.time_s + window_s) - bisect_left(times, one.time_s - window_s)
            expected += 1 - (1 - (near - 1) / max(1, len(times) - 1)) ** len(others)
            seen += any(abs(other.time_s - one.time_s) <= window_s for other in others)
    return seen, expected


def _meet(first: Sequence[float], second: Sequence[float], window_s: float) -> bool:
    return any(abs(a - b) <= window_s for a in first for b in second)


def _traffic(times: Sequence[float], window_s: float) -> float:
    """Return the chance that two ratings lie within the window of each other, on average over the traffic."""
    near = sum(bisect_right(times, time + window_s) - bisect_left(times, time - window_s) - 1 for time in times)
    return near / max(1, len(times) * (len(times) - 1))


def _components(links: Sequence[tuple[str, str]]) -> list[frozenset[str]]:
    parent: dict[str, str] = {}

    def root(user: str) -> str:
        while parent.setdefault(user, user) != user:
            parent[user] = user = parent[parent[user]]
        return user

    for first, second in links:
        parent[root(first)] = root(second)
    groups: defaultdict[str, set[str]] = defaultdict(set)
    for user in parent:
        groups[root(user)].add(user)
    return sorted((frozenset(g) for g in groups.values() if len(g) >= _MEMBERS_MIN), key=sorted)
