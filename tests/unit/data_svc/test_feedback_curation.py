"""Curation of feedback as a pure function: who is left out, who is not, and what every record becomes."""

from __future__ import annotations

import random
import re
from collections import Counter
from dataclasses import replace

import pytest
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.manifest import fetch, read_manifest
from bessemer.kernel.errors import FailedPrecondition
from bessemer.svckit.objects_files import FileObjects
from data_svc.domain.feedback.curation import curate, enough
from data_svc.domain.feedback.records import DOWN, UP, Said, Settings
from data_svc.domain.feedback.tails import beta_binomial_tail, poisson_tail
from data_svc.domain.personal_data import expand
from data_svc.domain.reasons import Reason
from data_svc.worker.curate_feedback import make_feedback_version
from data_svc.worker.decontamination import ContaminationIndex

from tests.fixtures.crowd import Crowd, rated

MODEL = "projects/p/models/m/versions/v1"
POOL = [(a, b) for a in range(30) for b in range(30)]
SETTINGS = Settings(frozenset({MODEL}), until_s=1e12, form="THUMBS")
SCREENED = {Reason.COORDINATED, Reason.CONTRARY_RATER, Reason.OUTLYING_RATER}


def happy(prompt: tuple[int, int], answer: str) -> bool:
    return answer == f"{sum(prompt)}!"


def answers(visits, seed: int) -> list[str]:
    draw = random.Random(seed)
    return [
        f"{sum(visit.prompt) + (0 if draw.random() < 0.48 else draw.choice([-10, -1, 1, 10]))}{draw.choice('!.')}"
        for visit in visits
    ]


def day(crowd: Crowd, count: int = 600) -> list[Said]:
    visits = crowd.visits(POOL, count, 0)
    return rated(visits, answers(visits, crowd.seed), model_version=MODEL)


def screened(said: list[Said], settings: Settings = SETTINGS) -> set[str]:
    dropped = curate(said, settings, str).dropped
    return {one.user for one, reason, _ in dropped if reason in SCREENED}


def one(**fields: object) -> Said:
    given = {
        "name": "projects/p/feedback/f1",
        "user": "ann",
        "model_version": MODEL,
        "time_s": 1.0,
        "rating": UP,
        "messages": [{"role": "user", "content": "How hot?"}],
        "answer": "1600",
        "response_id": "r1",
        "consent": "training",
    }
    return Said(**{**given, **fields})


def test_every_record_has_one_fate_whatever_the_order():
    said = day(Crowd(happy, 1, num_poisoners=30))
    first, second = curate(said, SETTINGS, str), curate(said[::-1], SETTINGS, str)
    assert first == second
    assert len(first.kept) + len(first.dropped) == len(said)
    assert len({each.name for each in first.kept} | {each.name for each, _, _ in first.dropped}) == len(said)


@pytest.mark.parametrize(
    "brigade",
    [{}, {"hour_s": 80_000}, {"hour_s": 80_000, "num_targets": 8}, {"num_targets": 20, "poison_each": 4}],
    ids=["in one hour", "all day long", "the same list", "few each"],
)
def test_a_brigade_is_left_out_and_hardly_anybody_else(brigade):
    found, wronged = 0, 0
    for seed in range(4):
        users = screened(day(Crowd(happy, seed, num_poisoners=30, **brigade)))
        found += sum(user.startswith("p") for user in users)
        wronged += sum(user.startswith("u") for user in users)
    assert found >= 0.85 * 4 * 30
    assert wronged <= 4 * 3


def test_without_a_brigade_hardly_anybody_is_left_out():
    assert sum(len(screened(day(Crowd(happy, seed)))) for seed in range(8)) <= 4


def test_a_department_that_shares_its_prompts_and_rates_like_others_stays():
    crowd = Crowd(happy, 5)
    brigade = Crowd(happy, 5, num_poisoners=20, num_targets=10, hour_s=80_000).brigade(POOL, 0)
    draw = random.Random(5)
    department = [replace(visit, vote=crowd._honest(draw)) for visit in brigade]
    visits = crowd.visits(POOL, 600, 0) + department
    assert not {user for user in screened(rated(visits, answers(visits, 5), model_version=MODEL)) if user[0] == "p"}


def test_a_bot_that_likes_everything_is_an_outlier():
    said = day(Crowd(happy, 2))
    bot = [
        one(name=f"projects/p/feedback/b{n}", user="bot", response_id=f"b{n}", answer=f"{n}.", time_s=600.0 * n)
        for n in range(40)
    ]
    bot = [replace(b, messages=[{"role": "user", "content": f"{n}+1000"}]) for n, b in enumerate(bot)]
    assert "bot" in screened(said + bot)


def test_no_person_is_more_than_the_stated_share_of_a_version():
    said = day(Crowd(happy, 3), count=2000)
    kept = curate(said, SETTINGS, str).kept
    assert max(Counter(each.user for each in kept).values()) <= 0.01 * len(kept)


def test_what_is_not_allowed_not_joined_old_or_of_another_model_is_left_out():
    cases = {
        Reason.CONSENT_MISSING: one(consent=""),
        Reason.OTHER_MODEL_VERSION: one(model_version="projects/p/models/m/versions/v0"),
        Reason.NOT_JOINED: one(messages=[]),
        Reason.OUTSIDE_WINDOW: one(time_s=2e12),
        Reason.ERASED: one(erased=True),
        Reason.NO_OPINION: one(rating=0, signals=["copied"]),
    }
    for reason, said in cases.items():
        assert [why for _, why, _ in curate([said], SETTINGS, str).dropped] == [reason]


def test_the_last_word_counts_with_all_signals():
    first = one(rating=UP, signals=["copied"], time_s=1.0)
    last = one(name="projects/p/feedback/f2", rating=DOWN, signals=["regenerated"], time_s=2.0)
    result = curate([last, first], SETTINGS, str)
    assert [(each.rating, each.signals) for each in result.kept] == [(DOWN, ["copied", "regenerated"])]
    assert [reason for _, reason, _ in result.dropped] == [Reason.SUPERSEDED]


def test_held_out_are_people_and_the_newest():
    settings = replace(SETTINGS, heldout_fraction=0.2)
    kept = curate(day(Crowd(happy, 4)), settings, str).kept
    held = [each for each in kept if each.split == "heldout"]
    assert 0.12 < len(held) / len(kept) < 0.28
    newest = sorted(kept, key=lambda each: each.time_s)[-len(kept) // 20 :]
    assert all(each.split == "heldout" for each in newest)
    people = {each.user for each in held} - {each.user for each in kept if each.split == "train"}
    assert len(people) > 5


def test_label_noise_is_read_off_double_ratings():
    draw = random.Random(0)
    said = [
        one(
            name=f"projects/p/feedback/d{item}-{user}",
            user=f"u{item}-{user}",
            response_id=f"{item}-{user}",
            messages=[{"role": "user", "content": f"question {item}"}],
            rating=UP if (item % 3 == 0) != (draw.random() < 0.2) else DOWN,
        )
        for item in range(800)
        for user in range(2)
    ]
    found = curate(said, SETTINGS, str).found
    assert found["num_double_rated"] == 800
    assert 0.16 < found["label_noise"] < 0.24


def test_seldom_rated_uses_weigh_more():
    said = [
        one(name=f"projects/p/feedback/w{n}", user=f"u{n}", response_id=f"w{n}", rating=UP if n % 2 else 0)
        for n in range(100)
    ]
    quiet = [
        one(
            name=f"projects/p/feedback/q{n}", user=f"v{n}", response_id=f"q{n}", signals=["abandoned"],
            rating=UP if n % 10 == 0 else 0,
        )
        for n in range(100)
    ]  # fmt: skip
    weights = {tuple(each.signals): each.weight for each in curate(said + quiet, SETTINGS, str).kept}
    assert weights["abandoned",] == pytest.approx(5 * weights[()], rel=0.01)


def test_too_little_says_how_much_is_missing():
    result = curate([one()], SETTINGS, str)
    error = enough(result, SETTINGS)
    assert error is not None
    assert error.fields["missing"] == "299"
    assert enough(curate(day(Crowd(happy, 6)), SETTINGS, str), SETTINGS) is None


@pytest.mark.parametrize("form", ["ACCEPTED", "THUMBS", "EDITS"])
def test_a_version_is_scrubbed_traceable_and_the_same_again(tmp_path, form):
    blobs = Blobs(FileObjects(tmp_path / "objects"), "p")
    said = [
        replace(each, answer=f"Ask jane.doe@example.org {each.answer}", edited=f"{each.answer} it is" if n % 3 else "")
        for n, each in enumerate(day(Crowd(happy, 7)))
    ]
    settings = replace(SETTINGS, form=form)
    kinds = expand(["pii", "secrets"])
    made = [
        make_feedback_version(s, settings, kinds, ContaminationIndex({}), blobs, folder=tmp_path / str(n))
        for n, s in enumerate((said, said[::-1]))
    ]
    assert made[0][0].manifest == made[1][0].manifest
    manifest = read_manifest(blobs, made[0][0].manifest)
    folder = fetch(blobs, manifest, tmp_path / "read", [entry.path for entry in manifest.files])
    rows = (folder / "train" / "rows.jsonl").read_text()
    assert "jane.doe" not in rows
    assert "[EMAIL]" in rows or form == "ACCEPTED"
    assert {each.name for each in said} >= set(re.findall(r'"source":"(projects/p/feedback/\w+)"', rows))
    assert sum(reason.documents for reason in made[0][1].reasons) == len(said)


def test_with_too_little_no_version_is_made(tmp_path):
    blobs = Blobs(FileObjects(tmp_path / "objects"), "p")
    with pytest.raises(FailedPrecondition, match="too few"):
        make_feedback_version([one()], SETTINGS, (), ContaminationIndex({}), blobs, folder=tmp_path / "v")


def test_tails_are_those_of_their_distributions():
    assert poisson_tail(3, 2.0) == pytest.approx(0.32332, abs=1e-5)
    assert poisson_tail(20, 0.5) == pytest.approx(2.43e-25, rel=0.01)
    assert beta_binomial_tail(8, 10, 0.5, 0.0) == pytest.approx(56 / 1024)
    uniform = beta_binomial_tail(8, 10, 0.5, 1 / 3)  # a = b = 1: every count is as likely
    assert uniform == pytest.approx(3 / 11)
