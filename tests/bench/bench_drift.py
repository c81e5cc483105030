"""Drift: false alarms in 10,000 requests like the reference, and requests until a change is found.

Every run has a monitor of its own with four features that share a budget of 0.01 false alarms in 10,000 requests, so
a delay is that of the whole monitor. Twelve references of 2,000 requests; texts are real questions (`shared/data`) and
passages of Debian's manuals. Peers on the same streams: a Kolmogorov-Smirnov test on windows of 500 at p < 0.05 and
ADWIN of river with its default, both as they are commonly used on one feature. They run in `build/peers/drift`.

Topics need `../shared/data` and the Debian package debian-policy; without them those rows are left out and it is said.
"""

from __future__ import annotations

import html
import itertools
import json
import math
import random
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "libs"), str(ROOT / "services")]

from bessemer.artifacts.lexical import sketch  # noqa: E402
from eval_svc.domain.drift.features import Feature, Kind, Role, Row, Strata  # noqa: E402
from eval_svc.domain.drift.monitor import Monitor, Plan  # noqa: E402
from eval_svc.domain.drift.state import pack, unpack  # noqa: E402

SHARED = ROOT.parent / "shared" / "data"
MANUALS = Path("/usr/share/doc/debian-policy")
PEER = ("river==0.26.1", "scipy==1.17.1")
NUM_REFERENCE, NUM_STREAM, NUM_REFERENCES = 2000, 10_000, 12
RUNS_QUIET, RUNS_MOVED = 204, 100
FEATURES = (
    Feature(name="prompt", kind=Kind.TEXT, role=Role.INPUT),
    Feature(name="length", kind=Kind.NUMBER, role=Role.OUTPUT),
    Feature(name="latency", kind=Kind.NUMBER, role=Role.SYSTEM),
    Feature(name="thumb", kind=Kind.BINARY, role=Role.OUTCOME, weight=2.0),
)
PLAN = Plan(features=FEATURES, num_reference=NUM_REFERENCE, false_alarms=0.01)
HOURLY = Plan(
    features=[Feature(name="length", kind=Kind.NUMBER, role=Role.OUTPUT, strata=Strata.HOUR)],
    num_reference=NUM_REFERENCE,
    false_alarms=0.01,
)
Texts = dict[str, list[list[int]]]
Result = dict[str, object]


def main() -> None:
    """Measure, print the table, write `build/bench/drift.json`."""
    began, texts = time.process_time(), sketches()
    results = []
    for row in itertools.chain(costs(texts), moved(texts), topics(texts), seasonal(), quiet(texts), peers()):
        print(f"{row['metric']:74} {row['ours']!s:>9} {row['peer']!s:>9} {row['limit']!s:>8} {row['goal']}", flush=True)
        results.append(row)
    print(f"{time.process_time() - began:.0f} CPU-seconds, peers not counted")
    out = ROOT / "build" / "bench" / "drift.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(results, indent=2) + "\n")


def row_of(metric: str, ours: float, limit: float, goal: str, peer: float | None = None) -> Result:
    """Return a row of the table; the limit is the most that is allowed, or the least where the goal says so."""
    ratio = round(ours / peer, 4) if peer else None
    return {"metric": metric, "ours": round(ours, 4), "peer": peer, "ratio": ratio, "limit": limit, "goal": goal}


def sketches() -> Texts:
    """Return buckets of real texts by source; synthetic ones where there are none."""
    rng, made = random.Random(0), {}
    known = [f"{a}{b}{c}" for a in "bdfgklmn" for b in "aeiou" for c in "rstlnm"]
    weights = [1 / (at + 3) for at in range(len(known))]
    made["synthetic"] = [sketch(" ".join(rng.choices(known, weights, k=rng.randint(8, 40)))) for _ in range(7000)]
    if SHARED.exists():
        lines = (SHARED / "gsm8k" / "train.jsonl").read_text().splitlines()
        made["maths"] = [sketch(json.loads(line)["question"]) for line in lines]
        papers = json.loads((SHARED / "pubmedqa" / "dev.json").read_text())
        papers = list(papers.values()) if isinstance(papers, dict) else papers
        made["medicine"] = [sketch(paper["QUESTION"]) for paper in papers]
        lines = (SHARED / "humaneval" / "dev.jsonl").read_text().splitlines()
        made["code"] = [sketch(json.loads(line)["prompt"]) for line in lines]
    else:
        print(f"left out: real questions, since {SHARED} is absent")
    if MANUALS.exists():
        pages = [path for path in sorted(MANUALS.rglob("*.html")) if path.is_file()]
        text = "\n\n".join(html.unescape(re.sub(r"<[^>]+>", " ", page.read_text(errors="ignore"))) for page in pages)
        passages = (" ".join(one.split()) for one in re.split(r"\n\s*\n", text))
        made["manuals"] = [found for one in passages if 80 < len(one) < 800 and (found := sketch(one))]
    else:
        print("left out: manuals; apt-get install debian-policy")
    return made


def base_of(texts: Texts) -> list[list[int]]:
    """Return the texts of ordinary requests."""
    return texts.get("maths", texts["synthetic"])


def split(texts: list[list[int]], seed: int) -> tuple[list[list[int]], list[list[int]]]:
    """Return the reference and what later requests are drawn from; no text is in both."""
    order = random.Random(seed).sample(range(len(texts)), len(texts))
    chosen = [texts[at] for at in order]
    return chosen[:NUM_REFERENCE], chosen[NUM_REFERENCE:]


def requests(
    rng: random.Random,
    texts: Iterable[list[int]],
    *,
    first: int = 0,
    shift: float = 0.0,
    happy: float = 0.8,
    slow: float = 1.0,
) -> Iterator[Row]:
    """Yield requests: lengths in whole tokens, latencies with a long tail, thumbs."""
    for number, buckets in enumerate(texts, first):
        yield Row(
            id=f"r{number}",
            time_s=0,
            numbers={
                "length": round(math.exp(rng.gauss(shift * 0.4, 0.4)) * 120),
                "latency": slow * rng.lognormvariate(0, 0.6),
            },
            flags={"thumb": rng.random() < happy},
            buckets=buckets,
        )


def armed(texts: list[list[int]], seed: int) -> tuple[bytes, list[list[int]]]:
    """Return a monitor with its reference, and the texts that come after it."""
    reference, rest = split(texts, seed)
    monitor = Monitor(PLAN)
    for row in requests(random.Random(f"{seed}"), reference):
        assert not monitor.observe(row)
    return monitor.dump(), rest


def delay(monitor: Monitor, rows: Iterable[Row], features: tuple[str, ...]) -> float:
    """Return the number of requests until one of the features alarms; infinite if none does."""
    for number, row in enumerate(rows, 1):
        if any(alarm.feature in features for alarm in monitor.observe(row)):
            return number
    return math.inf


def costs(texts: Texts) -> Iterator[Result]:
    """Measure time and bytes of a feature; a text counts as two, since it has two detectors."""
    data, rest = armed(base_of(texts), 0)
    saved = unpack(data)["features"]
    for feature in FEATURES:
        plan = Plan(features=[feature], num_reference=NUM_REFERENCE, false_alarms=0.01)
        monitor = Monitor(plan, pack({**unpack(data), "features": {feature.name: saved[feature.name]}}))
        rows = list(requests(random.Random(1), rest[:2000]))
        began = time.process_time()
        for row in rows:
            monitor.observe(row)
        spent_ms = (time.process_time() - began) / len(rows) * 1000
        detectors = 2 if feature.kind is Kind.TEXT else 1
        size = len(pack(unpack(monitor.dump())["features"][feature.name]))
        yield row_of(f"milliseconds an update, {feature.name}", spent_ms / detectors, 1.0, "<= 1")
        yield row_of(f"bytes of state, {feature.name}", size / detectors, 4096, "<= 4096")


def quiet(texts: Texts) -> Iterator[Result]:
    """Count monitors with any false alarm in 10,000 requests."""
    alarmed: list[str] = []
    for at in range(NUM_REFERENCES):
        data, rest = armed(base_of(texts), at)
        for run in range(RUNS_QUIET // NUM_REFERENCES):
            rng, monitor = random.Random(f"quiet {at} {run}"), Monitor(PLAN, data)
            stream = (rng.choice(rest) for _ in range(NUM_STREAM))
            for row in requests(rng, stream, first=NUM_REFERENCE):
                alarmed += [alarm.feature for alarm in monitor.observe(row)]
    if alarmed:
        print(f"false alarms: {', '.join(alarmed)}")
    name = f"share of {RUNS_QUIET} monitors with a false alarm in 10,000, {NUM_REFERENCES} references"
    yield row_of(name, len(alarmed) / RUNS_QUIET, 0.01, "<= 0.01")


def seasonal() -> Iterator[Result]:
    """Count false alarms and delays where values swing by half a standard deviation with the hour."""
    alarmed, delays = 0, []
    for at in range(RUNS_QUIET):
        rng, monitor = random.Random(f"season {at}"), Monitor(HOURLY)
        rows = seasons(rng, NUM_REFERENCE + NUM_STREAM, 0.0)
        alarmed += any(monitor.observe(row) for row in rows)
        if at < RUNS_MOVED:
            monitor = Monitor(HOURLY)
            for row in seasons(rng, NUM_REFERENCE, 0.0):
                monitor.observe(row)
            delays.append(delay(monitor, seasons(rng, 3000, 0.5, first=NUM_REFERENCE), ("length",)))
    name = f"share of {RUNS_QUIET} seasonal monitors with a false alarm in 10,000, one reference each"
    yield row_of(name, alarmed / RUNS_QUIET, 0.01, "<= 0.01")
    yield from quantiles("length + 0.5 sd under seasons, 24 references", delays, 600)


def seasons(rng: random.Random, number: int, shift: float, first: int = 0) -> Iterator[Row]:
    """Yield requests, one every six minutes, whose lengths follow the hour."""
    for at in range(first, first + number):
        swing = 0.5 * math.sin(2 * math.pi * at / 240)
        yield Row(id=f"r{at}", time_s=at * 360.0, numbers={"length": rng.gauss(swing + shift, 1)})


def moved(texts: Texts) -> Iterator[Result]:
    """Measure delays of changes of length, thumbs and latency."""
    ready = [armed(base_of(texts), at) for at in range(NUM_REFERENCES)]
    changes: list[tuple[str, str, float, dict[str, float]]] = [
        ("length", "length + 0.5 sd", 600, {"shift": 0.5}),
        ("thumb", "thumbs 0.8 -> 0.7", 1200, {"happy": 0.7}),
        ("latency", "latency + 50 %", 600, {"slow": 1.5}),
    ]
    for feature, name, limit, change in changes:
        delays = []
        for run in range(RUNS_MOVED):
            data, rest = ready[run % NUM_REFERENCES]
            rng, monitor = random.Random(f"{name} {run}"), Monitor(PLAN, data)
            stream = (rng.choice(rest) for _ in range(4000))
            delays.append(delay(monitor, requests(rng, stream, first=NUM_REFERENCE, **change), (feature,)))
        yield from quantiles(name, delays, limit)


def topics(texts: Texts) -> Iterator[Result]:
    """Measure delays until a topic that a share of the requests is about is found, for each pair of sources."""
    if "maths" not in texts:
        return
    bases = [name for name in ("maths", "manuals") if len(texts.get(name, ())) > 1.5 * NUM_REFERENCE]
    for base in bases:
        ready = [armed(texts[base], at) for at in range(NUM_REFERENCES)]
        for new in ("medicine", "code", "manuals", "maths"):
            if new == base or new not in texts:
                continue
            for share, limit in ((0.1, 400), (0.25, 80)):
                delays = []
                for run in range(RUNS_MOVED // 2):
                    data, rest = ready[run % NUM_REFERENCES]
                    rng, monitor = random.Random(f"{base} {new} {share} {run}"), Monitor(PLAN, data)
                    stream = (rng.choice(texts[new] if rng.random() < share else rest) for _ in range(1500))
                    delays.append(delay(monitor, requests(rng, stream, first=NUM_REFERENCE), ("prompt",)))
                yield from quantiles(f"{share:.0%} {new} among {base}", delays, limit)


def quantiles(name: str, delays: list[float], limit: float) -> Iterator[Result]:
    """Yield the rows of a change: the median, and the share that is found in time."""
    share = sum(one <= limit for one in delays) / len(delays)
    middle, ordered = statistics.median(delays), sorted(delays)
    late = ordered[math.ceil(len(ordered) * 0.95) - 1]
    yield row_of(f"requests until found, median: {name}", middle if middle < math.inf else -1, limit, "information")
    yield row_of(f"requests until found, 95 of 100: {name}", late if late < math.inf else -1, limit, f"<= {limit:g}")
    yield row_of(f"share found within {limit:g}: {name}", share, 0.95, ">= 0.95")


def peers() -> Iterator[Result]:
    """Run the peers on numbers like ours: false alarms in 10,000, and delay of half a standard deviation."""
    folder = ROOT / "build" / "peers" / "drift"
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PEER], check=True)
    script = ROOT / "tests" / "bench" / "peer_drift.py"
    done = subprocess.run([python, script], check=True, capture_output=True, text=True)
    for name, found in json.loads(done.stdout).items():
        mine: Callable[[], float] = {"false": _our_false, "delay": _our_delay}[found["what"]]
        yield row_of(name, mine(), found["limit"], "information", found["value"])


@cache
def _our_false() -> float:
    alarmed = 0
    for run in range(40):
        rng, monitor = random.Random(f"peer {run}"), Monitor(_LENGTH)
        rows = requests(rng, ([] for _ in range(NUM_REFERENCE + NUM_STREAM)))
        alarmed += any(monitor.observe(row) for row in rows)
    return alarmed / 40


@cache
def _our_delay() -> float:
    delays = []
    for run in range(40):
        rng, monitor = random.Random(f"peer {run}"), Monitor(_LENGTH)
        for row in requests(rng, ([] for _ in range(NUM_REFERENCE))):
            monitor.observe(row)
        rows = requests(rng, ([] for _ in range(4000)), first=NUM_REFERENCE, shift=0.5)
        delays.append(delay(monitor, rows, ("length",)))
    return statistics.median(delays)


_LENGTH = Plan(features=[FEATURES[1]], num_reference=NUM_REFERENCE, false_alarms=0.01)

if __name__ == "__main__":
    main()
