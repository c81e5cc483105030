from __future__ import annotations

import pytest
from bessemer.api.common.v1.metric_pb2 import MetricPoint
from bessemer.api.train.v1.training_job_pb2 import SftMethod, TrainingJob, TrainingRecipe, TrainingUsage
from bessemer.cli.curves import by_series, plot, sparkline, thinned
from bessemer.cli.job_compare import compare, differences
from bessemer.cli.progress import draw


def points(**series):
    return [
        MetricPoint(key=f"train/{key}", step=step, value=value)
        for key, values in series.items()
        for step, value in enumerate(values, 1)
    ]


def job(name, *, seconds=0.0, **fields):
    recipe = TrainingRecipe(sft=SftMethod(), **fields)
    return TrainingJob(
        name=f"projects/p/trainingJobs/{name}",
        base_model_version="projects/p/models/m/versions/1",
        recipe=recipe,
        usage=TrainingUsage(tokens=1000, seconds=seconds),
    )


def test_a_sparkline_spans_lowest_to_highest_and_is_no_wider_than_asked():
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], 8) == "▁▂▃▄▅▆▇█"
    assert sparkline([3, 3], 8) == "▁▁"
    assert sparkline([], 8) == ""
    assert len(sparkline(list(range(1000)), 40)) == 40
    assert thinned([1, 3, 5, 7], 2) == [2, 6]


def test_a_falling_curve_goes_from_the_upper_left_to_the_lower_right():
    rows = plot({"loss": [(i, 10.0 - i) for i in range(8)]}, width=4, height=2)
    drawn = [[cell for cell, _ in row] for row in rows]
    assert len(drawn) == 2
    assert all(len(row) == 4 for row in drawn)
    assert drawn[0][0] != "\u2800" != drawn[1][3]
    assert drawn[0][3] == drawn[1][0] == "\u2800"


def test_curves_of_two_jobs_share_one_scale():
    rows = plot({"high": [(0, 2.0), (9, 2.0)], "low": [(0, 1.0), (9, 1.0)]}, width=3, height=2)
    assert {name for _, name in rows[0]} == {"", "high"}
    assert {name for _, name in rows[1]} == {"", "low"}


def test_the_live_plot_shows_loss_rate_and_speed_with_their_newest_values():
    lines = [line.plain for line in draw(by_series(points(loss=[4, 3, 2.5], learning_rate=[0, 0.1, 0.1])), 20)]
    assert lines[0].startswith("loss 2.5")
    assert lines[-1].startswith("learning rate 0.1")
    assert draw({}, 20) == []


def test_the_newest_value_of_a_step_that_ran_twice_counts():
    again = [MetricPoint(key="train/loss", step=2, value=9.0)]
    assert by_series([*points(loss=[1, 2]), *again]) == {"train/loss": [(1, 1.0), (2, 9.0)]}


def test_only_settings_that_differ_are_named():
    assert differences(job("a", learning_rate=0.1, steps=5), job("b", learning_rate=0.2, steps=5)) == {
        "recipe.learning_rate": [0.1, 0.2]
    }
    assert differences(job("a", seed=1), job("b")) == {"recipe.seed": ["1", None]}
    assert differences(job("a"), job("b")) == {}


def test_a_comparison_holds_curves_speed_and_cost():
    found = compare(
        (job("a", seconds=3600), job("b", seconds=1800)),
        (points(loss=[4, 2], tokens_per_second=[10, 30]), points(loss=[4, 3])),
        2.0,
    )
    assert found["loss"][0] == [(1, 4.0), (2, 2.0)]
    assert [side["cost"] for side in found["result"]] == [2.0, 1.0]
    assert found["result"][0]["tokens per second"] == pytest.approx(20)
    assert found["result"][1]["tokens per second"] is None
    assert found["result"][0]["lowest loss"] == 2.0
