"""What is measured, and that what is drawn is what is measured."""

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from bessemer.api.serve.v1.deployment_pb2 import Deployment
from bessemer.kernel.errors import InvalidRequest, Unavailable
from serve_svc.app.fleet import Load
from serve_svc.app.measures import Measures, Prices, Stopwatch
from serve_svc.engine.protocol import Piece

ROOT = Path(__file__).resolve().parents[3]
DEPLOYMENT = Deployment(name="projects/p/endpoints/e/deployments/d", model_version="projects/p/models/m/versions/v1")


def measures():
    return Measures(Prices(0.1, 2.0), loads=lambda: {DEPLOYMENT.name: Load(6, 4)})


def test_answers_are_counted_with_their_tokens_and_their_price():
    found = measures()
    with found.answer(DEPLOYMENT) as times:
        times.saw(Piece("1", "a", (1, 2)))
        times.saw(Piece("1", "b", (3,), "stop", 10, 3, queued_s=0.25))
    assert times.queued_s == 0.25
    for error in (Unavailable("gone"), InvalidRequest("no"), asyncio.CancelledError()):
        with pytest.raises(type(error)), found.answer(DEPLOYMENT):
            raise error
    stats = found.stats(DEPLOYMENT)
    assert (stats.requests, stats.errors, stats.in_flight) == (4, 1, 6)
    assert (stats.prompt_tokens, stats.completion_tokens) == (10, 3)
    assert stats.cost == pytest.approx(0.1 * 10 / 1000 + 2.0 * 3 / 1000)
    assert stats.model_version == DEPLOYMENT.model_version
    assert stats.ttft_p50_s > 0


def test_time_per_token_leaves_out_the_first():
    times = Stopwatch(began_s=0.0, first_s=1.0, last_s=3.0, tokens=5)
    assert (times.ttft_s, times.tpot_s) == (1.0, 0.5)
    assert Stopwatch(began_s=0.0, first_s=1.0, last_s=1.0, tokens=1).tpot_s is None


def test_dashboards_are_those_that_the_metrics_of_today_give():
    """In a process of its own, because a process has one meter provider."""
    code = "import json, runpy; print(json.dumps(runpy.run_path('deploy/grafana/generate.py')['dashboards']()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    made = json.loads(done.stdout)
    assert set(made) == {path.name for path in (ROOT / "deploy" / "grafana").glob("*.json")}
    for file, text in made.items():
        assert (ROOT / "deploy" / "grafana" / file).read_text() == text, "run python deploy/grafana/generate.py"
    queries = [t["expr"] for text in made.values() for panel in json.loads(text)["panels"] for t in panel["targets"]]
    assert len(queries) > 20
    assert all(re.search(r"(bessemer_serve|gen_ai_server)_[a-z_]+", query) for query in queries)
