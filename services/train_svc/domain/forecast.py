"""What a run takes: steps, time, energy, money, and the loss it reaches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bessemer.api.train.v1.planning_pb2 import Device, Forecast, ForecastBasis, Interval, MemoryForecast
from bessemer.kernel.errors import InvalidRequest

from train_svc.domain.memory import Workload
from train_svc.domain.parameters import ModelShape, training_flops
from train_svc.domain.scaling import Run, effective_tokens, foretell, published_loss

__all__ = ["BASES", "DEVICES", "Measurement", "Place", "forecast", "loss_of", "place_of"]


@dataclass(frozen=True)
class Place:
    """Devices with everything filled in. Units: bytes, operations per second, money, watts."""

    kind: str
    count: int
    memory_bytes: int
    peak_flops: float
    utilization: float
    price_per_hour: float = 0.0
    watts: float = 0.0
    price_per_kwh: float = 0.0

    @property
    def on_cpu(self) -> bool:
        """Whether our own trainer runs there."""
        return self.kind == "cpu"


# Memory, dense bf16 peak and board power as the makers' data sheets state them; the share of the peak is assumed.
DEVICES = {
    "l4": Place("l4", 1, 24 << 30, 121e12, 0.35, watts=72),
    "a10": Place("a10", 1, 24 << 30, 125e12, 0.35, watts=150),
    "l40s": Place("l40s", 1, 48 << 30, 362e12, 0.35, watts=350),
    "rtx4090": Place("rtx4090", 1, 24 << 30, 165e12, 0.4, watts=450),
    "a100": Place("a100", 1, 80 << 30, 312e12, 0.45, watts=400),
    "h100": Place("h100", 1, 80 << 30, 989e12, 0.4, watts=700),
    "h200": Place("h200", 1, 141 << 30, 989e12, 0.45, watts=700),
    "b200": Place("b200", 1, 180 << 30, 2250e12, 0.35, watts=1000),
    "mi300x": Place("mi300x", 1, 192 << 30, 1307e12, 0.35, watts=750),
}
# One core of a recent server processor with wide vector units.
_CORE_FLOPS, _CORE_UTILIZATION = 100e9, 0.45

# The published laws were fitted to models and data from about here on.
_PUBLISHED_PARAMETERS, _PUBLISHED_TOKENS = 10e6, 100e6


@dataclass(frozen=True)
class Measurement:
    """What a finished run did, all devices of it together; `peak_memory_bytes` 0 means not measured."""

    job: str
    tokens_per_second: float
    flops_per_token: float
    peak_memory_bytes: int
    is_same_shape: bool
    is_named: bool = False

    @property
    def basis(self) -> ForecastBasis:
        """How good it is as a ground for a forecast."""
        if not self.is_same_shape:
            return ForecastBasis.FORECAST_BASIS_OTHER_SHAPE
        named, found = ForecastBasis.FORECAST_BASIS_CALIBRATION, ForecastBasis.FORECAST_BASIS_SAME_SHAPE
        return named if self.is_named else found


# By basis: a time may come out so many times shorter or longer; and what is said of it.
BASES = {
    ForecastBasis.FORECAST_BASIS_CALIBRATION: (1.25, "measured by {job} on this shape"),
    ForecastBasis.FORECAST_BASIS_SAME_SHAPE: (1.25, "measured by {job}, the newest job of this shape"),
    ForecastBasis.FORECAST_BASIS_OTHER_SHAPE: (2.0, "scaled by operations from {job}, which had another shape"),
    ForecastBasis.FORECAST_BASIS_DEVICE_TABLE: (
        3.0,
        "not measured: data-sheet peak of {kind} and an assumed share of {utilization:.0%}; measure with --calibrate",
    ),
}


def place_of(device: Device, *, threads: int, host_memory: int) -> Place:
    """Return where to train, filled in from the table of devices.

    Raises: InvalidRequest for a device that is neither known nor described.
    """
    kind = device.kind or "cpu"
    if kind == "cpu":
        known = Place("cpu", 1, host_memory, threads * _CORE_FLOPS, _CORE_UTILIZATION)
    elif kind in DEVICES:
        known = DEVICES[kind]
    elif device.HasField("peak_flops") and device.HasField("memory_bytes"):
        known = Place(kind, 1, 0, 0.0, 0.4)
    else:
        raise InvalidRequest(
            f"device.kind {kind!r} is not in the table ({', '.join(['cpu', *DEVICES])}); "
            "give device.peak_flops and device.memory_bytes",
            field="device.kind",
        )
    given = {field.name: value for field, value in device.ListFields() if field.name != "kind"}
    return replace(known, **given)


def forecast(
    shape: ModelShape,
    work: Workload,
    place: Place,
    memory: MemoryForecast,
    *,
    tokens: float,
    tokens_per_step: float,
    unique_tokens: float,
    measured: Measurement | None,
) -> Forecast:
    """Return what reading so many tokens takes. Units: tokens, seconds, device-hours, kilowatt-hours, money."""
    trains_all = not work.rank
    flops = training_flops(shape, tokens, work.document_length, trains_all=trains_all)
    if measured is not None and tokens:
        # Of the same shape the operations per token agree, so that this is the measured rate.
        rate = place.count * measured.tokens_per_second
        rate *= 1.0 if measured.is_same_shape else measured.flops_per_token / (flops / tokens)
        basis = measured.basis
    else:
        rate = place.count * place.peak_flops * place.utilization / max(1.0, flops / max(1.0, tokens))
        basis = ForecastBasis.FORECAST_BASIS_DEVICE_TABLE
    seconds, factor = tokens / rate, BASES[basis][0]
    hours = place.count * seconds / 3600
    energy = hours * place.watts / 1000
    return Forecast(
        steps=max(1, math.ceil(tokens / tokens_per_step)),
        tokens=round(tokens),
        epochs=tokens / max(1.0, unique_tokens),
        flops=flops,
        seconds=Interval(value=seconds, low=seconds / factor, high=seconds * factor),
        tokens_per_second=rate,
        basis=basis,
        measured_job=measured.job if measured else "",
        memory=memory,
        device_hours=hours,
        energy_kwh=energy,
        cost=hours * place.price_per_hour + energy * place.price_per_kwh,
    )


def loss_of(
    ladder: Sequence[Run], parameters: float, *, unique_tokens: float, epochs: float, from_scratch: bool
) -> tuple[Interval, str] | None:
    """Return the held-out loss a run ends with and what says so; None when nothing speaks about it.

    Repeated tokens count as what they are worth. Published laws speak of training from random weights only.
    Raises: InvalidRequest if the ladder cannot be fitted.
    """
    tokens = effective_tokens(unique_tokens, epochs)
    if ladder:
        found = foretell(ladder, parameters, tokens)
        said = f"fitted to your {len(ladder)} runs; the interval is meant to hold it nine times in ten"
    elif from_scratch and parameters >= _PUBLISHED_PARAMETERS and tokens >= _PUBLISHED_TOKENS:
        found = published_loss(parameters, tokens)
        said = "published fits on web text, good for comparing plans only; the interval ends at their extremes"
    else:
        return None
    return Interval(value=found.value, low=found.low, high=found.high), said
