from __future__ import annotations

from dataclasses import replace

import pytest
from bessemer.api.train.v1.planning_pb2 import Device, ForecastBasis, PlanKind
from bessemer.kernel.errors import InvalidRequest
from train_svc.domain.forecast import Measurement, place_of
from train_svc.domain.parameters import shape_of, training_flops
from train_svc.domain.planner import Situation, forecast_run, memory_by_devices, plans, probe
from train_svc.domain.scaling import LossLaw, Run

GIB = 1 << 30
SMOLLM2 = {
    "model_type": "llama",
    "vocab_size": 49152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "tie_word_embeddings": True,
}
SEVEN_B = {
    "model_type": "mistral",
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
}
CPU = place_of(Device(), threads=2, host_memory=24 * GIB)


def situation(**changed) -> Situation:
    tokens = changed.get("unique_tokens", 60e3)
    given = {
        "shape": shape_of(SMOLLM2),
        "has_base": True,
        "method": "cpt",
        "rank": 0,
        "element_bytes": 2,
        "sequence_length": 512,
        "document_length": 300.0,
        "odd_pieces": 40,
        "tokens_per_step": 1024,
        "tokens": tokens,
        "unique_tokens": tokens,
        "rows": 100,
        "unit": "tokens",
        "data_bytes": 0,
        "place": CPU,
        "measured": {},
    }
    return Situation(**{**given, **changed})


def kinds(s: Situation) -> list[tuple[str, bool]]:
    return [(PlanKind.Name(o.kind).removeprefix("PLAN_KIND_"), o.feasible) for o in plans(s)]


@pytest.mark.parametrize(
    ("changed", "first", "possible"),
    [
        ({"unique_tokens": 2e3}, "NONE", 0),
        ({"unique_tokens": 60e3}, "ADAPT", 1),
        ({"unique_tokens": 30e6}, "CONTINUE", 2),
        ({"unique_tokens": 30e6, "novelty": 0.05}, "ADAPT", 1),
        ({"unique_tokens": 2e9}, "CONTINUE", 3),
        ({"unique_tokens": 2e9, "has_base": False}, "PRETRAIN", 1),
        ({"unique_tokens": 2e7, "has_base": False}, "NONE", 0),
        ({"unit": "conversations", "rows": 3000, "method": "sft"}, "ADAPT", 1),
        ({"unit": "conversations", "rows": 300, "method": "sft"}, "NONE", 0),
        ({"unique_tokens": 60e3, "budget_hours": 0.0001}, "NONE", 0),
        ({"unique_tokens": 60e3, "place": replace(CPU, memory_bytes=GIB // 4)}, "NONE", 0),
    ],
)
def test_plans_are_ranked_by_what_data_memory_and_budget_allow(changed, first, possible):
    ranked = kinds(situation(**changed))
    assert ranked[0][0] == first
    assert sum(feasible for kind, feasible in ranked if kind != "NONE") == possible
    assert [feasible for _, feasible in ranked] == sorted((feasible for _, feasible in ranked), reverse=True)


@pytest.mark.parametrize("unique", [2e3, 60e3, 2e6, 30e6, 2e9])
def test_the_number_that_flips_a_plan_does_flip_it(unique):
    s = situation(unique_tokens=unique)
    for option in plans(s):
        if option.kind == PlanKind.PLAN_KIND_NONE:
            continue
        for share, expected in ((0.99, False), (1.01, True)):
            amount = share * option.data.needed
            changed = {o.kind: o for o in plans(replace(s, unique_tokens=amount, tokens=amount))}
            assert changed[option.kind].feasible is expected, option.title


def test_budget_that_is_asked_for_makes_the_plan_possible():
    short = situation(budget_hours=0.0001)
    [adapt] = [o for o in plans(short) if o.kind == PlanKind.PLAN_KIND_ADAPT]
    assert "hours" in adapt.flip
    hours = adapt.forecast.seconds.value / 3600
    assert kinds(replace(short, budget_hours=hours))[0] == ("ADAPT", True)


def test_memory_names_the_devices_that_would_do():
    h100 = place_of(Device(kind="h100"), threads=2, host_memory=0)
    s = situation(shape=shape_of(SEVEN_B), place=h100, unique_tokens=30e6)
    by_count = {memory.devices: memory.fits for memory in memory_by_devices(s)}
    assert by_count[1] is False
    [option] = [o for o in plans(s) if o.kind == PlanKind.PLAN_KIND_CONTINUE]
    wanted = next(devices for devices, fits in by_count.items() if fits)
    assert option.flip.startswith(f"{wanted} devices")
    eight = replace(s, place=replace(h100, count=8))
    assert kinds(eight)[0] == ("CONTINUE", True)


def test_probe_is_offered_when_the_numbers_leave_it_open_and_not_otherwise():
    s = situation(unique_tokens=60e3)
    settling = probe(s, plans(s))
    assert settling is not None
    assert settling.steps == 30
    assert 0 < settling.seconds < forecast_run(s).seconds.value
    assert probe(situation(unique_tokens=10.0), plans(situation(unique_tokens=10.0))) is None
    known = situation(unique_tokens=3e9, novelty=0.8)
    assert probe(known, plans(known)) is None


def test_time_goes_by_the_best_measurement():
    s = situation()
    per_token = training_flops(s.shape, 1, 300)
    same = Measurement("projects/p/trainingJobs/a", 500.0, per_token, 0, is_same_shape=True, is_named=True)
    other = Measurement("projects/p/trainingJobs/b", 4000.0, per_token / 8, 0, is_same_shape=False)
    made = forecast_run(replace(s, measured={False: same}))
    assert made.seconds.value == pytest.approx(s.tokens / 500)
    assert made.basis == ForecastBasis.FORECAST_BASIS_CALIBRATION
    scaled = forecast_run(replace(s, measured={False: other}))
    assert scaled.seconds.value == pytest.approx(s.tokens / 500)
    assert scaled.seconds.high / scaled.seconds.low > made.seconds.high / made.seconds.low
    assert forecast_run(s).basis == ForecastBasis.FORECAST_BASIS_DEVICE_TABLE


def test_cost_is_devices_and_energy():
    device = Device(kind="h100", count=8, price_per_hour=2.5, watts=1000, price_per_kwh=0.3)
    s = situation(place=place_of(device, threads=2, host_memory=0), unique_tokens=1e9)
    made = forecast_run(s)
    assert made.device_hours == pytest.approx(8 * made.seconds.value / 3600)
    assert made.energy_kwh == pytest.approx(made.device_hours)
    assert made.cost == pytest.approx(made.device_hours * 2.8)


def test_loss_goes_by_the_own_ladder_and_is_not_foretold_from_a_base():
    law = LossLaw(2.0, 30.0, 0.3, 300.0, 0.4)
    ladder = [Run(n, d, law.loss(n, d)) for n in (1e6, 1e7, 3e7) for d in (1e7, 1e8, 1e9)]
    scratch = situation(has_base=False, unique_tokens=2e9, ladder=ladder)
    made = forecast_run(scratch)
    assert made.loss.value == pytest.approx(law.loss(scratch.shape.total, 2e9), abs=0.02)
    assert "your 9 runs" in made.loss_basis
    assert not forecast_run(situation()).HasField("loss")
    repeated = forecast_run(replace(scratch, tokens=4e9))
    assert law.loss(scratch.shape.total, 4e9) - 0.02 < repeated.loss.value < made.loss.value


def test_unknown_device_has_to_be_described():
    with pytest.raises(InvalidRequest, match="peak_flops"):
        place_of(Device(kind="npu9"), threads=1, host_memory=0)
    described = place_of(Device(kind="npu9", peak_flops=1e15, memory_bytes=GIB), threads=1, host_memory=0)
    assert (described.peak_flops, described.memory_bytes) == (1e15, GIB)
