"""Counting feedback in memory says what counting all records says, whatever happens between two counts."""

import random
from unittest.mock import patch

import pytest
from bessemer.api.data.v1 import feedback_service_pb2 as pb
from bessemer.api.data.v1.project_service_pb2 import Project
from bessemer.kernel.clock import SystemClock
from bessemer.svckit.store import Store
from data_svc.app.feedback import Feedback
from data_svc.app.feedback_index import FeedbackIndex

PROJECTS = ("projects/p", "projects/q")
VERSIONS = [f"projects/p/models/m/versions/v{n}" for n in (1, 2)]


@pytest.fixture
async def store(tmp_path):
    store = Store.open(f"sqlite:///{tmp_path}/service.db", service="data", clock=SystemClock())
    for project in PROJECTS:
        await store.write(lambda tx, name=project: tx.put(Project(name=name), verb="created"))
    return store


def feedback_of(source):
    record = pb.FeedbackRecord(model_version=source.choice(VERSIONS), user=f"u{source.randrange(5)}")
    record.rating = source.choice([pb.RATING_UP, pb.RATING_DOWN, pb.RATING_UNSPECIFIED])
    record.edited_answer = source.choice(["", "better"])
    record.signals.extend([pb.SIGNAL_COPIED] * (source.random() < 0.5 or not record.rating))
    return record


async def test_counts_are_those_of_all_records_after_every_change(store):
    feedback, source, made = Feedback(store), random.Random(5), []
    for _ in range(30):
        for _ in range(source.randrange(4)):
            request = pb.SubmitFeedbackRequest(parent=source.choice(PROJECTS), feedback=feedback_of(source))
            made.append(await feedback.submit(request))
        if made and source.random() < 0.4:
            await feedback.erase(made.pop(source.randrange(len(made))).name)
        asked = pb.CountFeedbackRequest(parent=source.choice(PROJECTS))
        asked.model_versions.extend(source.sample(VERSIONS, source.randrange(3)))
        if made and source.random() < 0.5:
            asked.from_time.CopyFrom(source.choice(made).create_time)
        assert await feedback.count(asked) == await store.read(lambda tx, q=asked: FeedbackIndex().count(tx, q))
        wanted = [
            one
            for one in made
            if one.name.startswith(f"{asked.parent}/")
            and (not asked.model_versions or one.model_version in asked.model_versions)
            and one.create_time.ToNanoseconds() >= asked.from_time.ToNanoseconds()
        ]
        counts = await feedback.count(asked)
        assert counts.num_up == sum(one.rating == pb.RATING_UP for one in wanted)
        assert counts.num_users == len({one.user for one in wanted})


async def test_second_count_reads_only_what_came_since(store):
    feedback, asked = Feedback(store), pb.CountFeedbackRequest(parent="projects/p")
    up = pb.FeedbackRecord(rating=pb.RATING_UP, user="u")
    for _ in range(3):
        await feedback.submit(pb.SubmitFeedbackRequest(parent="projects/p", feedback=up))
    assert (await feedback.count(asked)).num_up == 3
    await feedback.submit(pb.SubmitFeedbackRequest(parent="projects/p", feedback=up))
    with patch("data_svc.app.feedback_index.every", side_effect=AssertionError("read again")):
        assert (await feedback.count(asked)).num_up == 4
