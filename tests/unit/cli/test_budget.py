from __future__ import annotations

from bessemer.cli.demo.budget import STEPS_MIN, learning_rate, plan_budget


def test_budget_more_minutes_give_more_steps():
    short = plan_budget(minutes=10, evaluation_s=60, tokens_per_s=100)
    long = plan_budget(minutes=20, evaluation_s=60, tokens_per_s=100)
    assert long.cpt > short.cpt
    assert long.sft > short.sft
    assert long.dpo > short.dpo


def test_budget_never_goes_below_what_trains_at_all():
    tiny = plan_budget(minutes=2, evaluation_s=600, tokens_per_s=1)
    assert (tiny.cpt, tiny.sft, tiny.dpo) == (STEPS_MIN["cpt"], STEPS_MIN["sft"], STEPS_MIN["dpo"])


def test_learning_rate_falls_with_the_length_of_a_run():
    assert learning_rate("cpt", 15) == learning_rate("cpt", 30) == 2e-4
    assert learning_rate("cpt", 60) == 1e-4
