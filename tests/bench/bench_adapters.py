"""What it costs to ask for another adapter: SmolLM2-135M with more adapters of rank 8 than its engine holds.

The whole service over gRPC. Costs are CPU milliseconds of service, client and engine for a request of one token, each
with a prompt of some 35 tokens that nobody asked before, adapters taking turns: the bare model, adapters that the
engine holds, adapters that it has to take in from the disk (and give one up for), and adapters that this machine has
not seen, whose files come from the object store. The object store is a folder here.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from unittest.mock import patch

import psutil

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bessemer.api.serve.v1 import deployment_service_pb2 as api  # noqa: E402
from serve_svc.config import EngineConfig  # noqa: E402
from train_svc.worker.gguf_folder import expand_gguf  # noqa: E402
from train_svc.worker.models import catalogue_file, normalise  # noqa: E402

from tests.bench.bench_serving import RANK, row, write_adapter  # noqa: E402
from tests.integration.test_serve_svc import VERSION, answer, world_in  # noqa: E402

RESIDENT, ROUNDS = 4, 12
LIMIT_MS = 150


def main() -> None:
    """Measure, print the table, write `build/bench/adapters.json`."""
    with tempfile.TemporaryDirectory() as name:
        rows = asyncio.run(measure(Path(name)))
    path = ROOT / "build" / "bench" / "adapters.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=2))
    for entry in rows:
        print(f"{entry['metric']:80} " + "  ".join(f"{key} {entry[key]}" for key in ("ours", "peer", "ratio", "goal")))
    print(f"wrote {path.relative_to(ROOT)}; load {os.getloadavg()[0]:.1f}")


async def measure(folder: Path) -> list[dict[str, object]]:
    """Return the rows."""
    source = catalogue_file("smollm2-135m-instruct")[0]
    model = normalise(expand_gguf(source, folder / "raw"), folder / "model")
    with patch("serve_svc.wiring.EngineConfig", partial(EngineConfig, adapters_max=RESIDENT)):
        async with world_in(folder / "home", model) as world:
            deployment = (await world.ready()).name
            for number in range(RESIDENT + ROUNDS):
                await load(world, deployment, folder, number)
            return await turns(world, deployment, folder)


async def load(world, deployment: str, folder: Path, number: int) -> None:
    """Make a version whose weights are those of the base, and let requests name its adapter."""
    made, name = folder / f"v{number}", f"projects/default/models/adapted/versions/a{number}"
    made.mkdir()
    for file in (folder / "model").iterdir():
        os.link(file, made / file.name)
    write_adapter(folder / "model", made / "adapter", number)
    decision = world.publish(made, name, parent=VERSION, adapter_rank=RANK)
    request = {"name": deployment, "adapter_id": f"a{number}", "model_version": name, "gate_decision": decision}
    await world.deployments.LoadAdapter(api.LoadAdapterRequest(**request), timeout=120)


async def turns(world, deployment: str, folder: Path) -> list[dict[str, object]]:
    """Ask in turn and return what it took."""
    took: dict[str, list[float]] = {"bare": [], "held": [], "disk": [], "store": []}

    async def ask(kind: str, adapter: str) -> None:
        text = f"Number {next(numbers)}: what is the capital of France, and since when?"
        prompt = {"messages": [{"role": "user", "content": text}]}
        began = time.process_time() + cpu_s(engine)
        await answer(world, adapter=adapter, prompt=prompt, sampling={"max_tokens": 1})
        took[kind].append(1000 * (time.process_time() + cpu_s(engine) - began))

    engine, numbers = psutil.Process(world.engines()[0]), itertools.count(100)
    files = world.home / "serve" / "models" / "adapters"
    for number in range(ROUNDS):
        cold = world.train.versions[f"projects/default/models/adapted/versions/a{number}"].manifest.sha256
        for file in (files / cold / "adapter").iterdir():
            file.unlink()
        await ask("bare", "")
        await ask("store", f"a{number}")
        await ask("held", f"a{number}")
        await ask("disk", f"a{(number + RESIDENT) % ROUNDS}")
        await ask("bare", "")
    middle = {kind: statistics.median(values) for kind, values in took.items()}
    print({kind: [round(value) for value in values] for kind, values in took.items()})
    return [
        row(
            "CPU ms of a request with an adapter that the engine holds, against the bare model",
            *pick(middle, "held"),
            None,
        ),
        row("CPU ms with one that it takes in from the disk, against the bare model", *pick(middle, "disk"), None),
        row("CPU ms with one that comes from the object store, against the bare model", *pick(middle, "store"), None),
        row(
            "CPU ms that taking one in adds (disk less held), against the limit",
            middle["disk"] - middle["held"],
            LIMIT_MS,
            1,
        ),
    ]


def cpu_s(process: psutil.Process) -> float:
    """Return the CPU seconds of a process."""
    times = process.cpu_times()
    return float(times.user + times.system)


def pick(middle: dict[str, float], kind: str) -> tuple[float, float]:
    """Return a time and that of the bare model."""
    return middle[kind], middle["bare"]


if __name__ == "__main__":
    main()
