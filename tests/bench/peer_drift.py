"""Drift detectors of peers on a number: false alarms in 10,000 values, and values until half a deviation is found."""

from __future__ import annotations

import json
import random
import statistics
from collections.abc import Callable

import river
import scipy
from river.drift import ADWIN, PageHinkley
from scipy.stats import ks_2samp

REFERENCE, STREAM, RUNS, WINDOW = 2000, 10_000, 40, 500
Detector = Callable[[list[float], list[float]], int | None]


def windows(reference: list[float], stream: list[float]) -> int | None:
    """Test each window of 500 against the reference at the usual level."""
    for start in range(0, len(stream) - WINDOW + 1, WINDOW):
        if ks_2samp(reference, stream[start : start + WINDOW]).pvalue < 0.05:
            return start + WINDOW
    return None


def online(make: Callable[[], object]) -> Detector:
    """Return an online detector of river with its defaults, fed with the reference first."""

    def run(reference: list[float], stream: list[float]) -> int | None:
        detector = make()
        for value in reference:
            detector.update(value)
        for number, value in enumerate(stream, 1):
            detector.update(value)
            if detector.drift_detected:
                return number
        return None

    return run


def values(rng: random.Random, number: int, shift: float) -> list[float]:
    """Return lengths as the benchmark makes them."""
    return [float(round(rng.lognormvariate(shift * 0.4, 0.4) * 120)) for _ in range(number)]


def main() -> None:
    """Print the figures as JSON."""
    detectors: dict[str, Detector] = {
        f"Kolmogorov-Smirnov, windows of 500, p < 0.05 (scipy {scipy.__version__})": windows,
        f"ADWIN, defaults (river {river.__version__})": online(ADWIN),
        f"Page-Hinkley, defaults (river {river.__version__})": online(PageHinkley),
    }
    found = {}
    for name, detect in detectors.items():
        alarms, delays = 0, []
        for run in range(RUNS):
            rng = random.Random(run)
            reference = values(rng, REFERENCE, 0.0)
            alarms += detect(reference, values(rng, STREAM, 0.0)) is not None
            delays.append(detect(reference, values(rng, 4000, 0.5)) or 10**6)
        found[f"share with a false alarm in 10,000, length alone: {name}"] = {
            "what": "false",
            "value": alarms / RUNS,
            "limit": 0.01,
        }
        found[f"median requests until + 0.5 sd, length alone: {name}"] = {
            "what": "delay",
            "value": statistics.median(delays),
            "limit": 600,
        }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
