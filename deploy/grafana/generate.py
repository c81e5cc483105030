"""Writes the dashboards beside it from what serving really exports: `python deploy/grafana/generate.py`.

Names are read from the text that the exporter makes of one answer and one rollout, never typed; a test runs this again
and compares.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "libs"), str(ROOT / "services")]

from bessemer.api.serve.v1.deployment_pb2 import Deployment  # noqa: E402
from bessemer.api.serve.v1.rollout_pb2 import MetricEvidence, Rollout  # noqa: E402
from bessemer.svckit import telemetry  # noqa: E402
from serve_svc.app import measures as m  # noqa: E402
from serve_svc.app.fleet import Load  # noqa: E402
from serve_svc.engine.protocol import Piece  # noqa: E402

DEPLOYMENT = "projects/p/endpoints/e/deployments/d"
ENDPOINT = '{endpoint=~"$endpoint"}'
FAILED = '{endpoint=~"$endpoint",outcome!~"answered|cancelled|refused"}'  # through no fault of the caller
Panel = tuple[str, str, list[tuple[str, str]]]  # title, unit, queries with legends


def exported() -> dict[str, str]:
    """Return the name in Prometheus of each instrument, without the suffixes of a histogram's series."""
    stop = telemetry.setup("serve", None, scraped=True)
    found = m.Measures(m.Prices(1.0, 1.0), loads=lambda: {DEPLOYMENT: Load(1, 8)})
    deployment = Deployment(name=DEPLOYMENT)
    with found.answer(deployment) as times:
        times.saw(Piece("1", "a", (1,)))
        times.saw(Piece("1", "b", (2,), "stop", 3, 2))
    found.shadow_dropped(deployment)
    rollout = Rollout(name="projects/p/endpoints/e/rollouts/r", evidence=[MetricEvidence(metric="feedback")])
    found.set_rollouts([rollout])
    text = telemetry.prometheus_text().decode()
    stop()
    families = re.findall(r"^# HELP (\S+) (.*)$", text, re.MULTILINE)
    names = {help_text: name for name, help_text in families}
    return {one.name: names[one.description] for one in m.INSTRUMENTS}


def rate(name: str, by: str, where: str = ENDPOINT) -> str:
    """Return a query of events per second."""
    return f"sum by ({by}) (rate({name}{where}[$__rate_interval]))"


def quantile(name: str, share: float, by: str) -> str:
    """Return a query of a quantile of a histogram."""
    return f"histogram_quantile({share}, {rate(f'{name}_bucket', f'le, {by}')})"


def failed_share(names: Mapping[str, str]) -> str:
    """Return a query of the share of requests that failed."""
    requests = names[m.REQUESTS.name]
    return f"{rate(requests, 'deployment', FAILED)} / {rate(requests, 'deployment')}"


def panels(rows: list[Panel]) -> list[dict[str, Any]]:
    """Lay panels out two in a row."""
    return [
        {
            "id": at + 1,
            "title": title,
            "type": "timeseries",
            "datasource": {"type": "prometheus", "uid": "${datasource}"},
            "gridPos": {"h": 8, "w": 12, "x": 12 * (at % 2), "y": 8 * (at // 2)},
            "fieldConfig": {"defaults": {"unit": unit}, "overrides": []},
            "targets": [
                {"refId": chr(65 + number), "expr": query, "legendFormat": legend}
                for number, (query, legend) in enumerate(queries)
            ],
        }
        for at, (title, unit, queries) in enumerate(rows)
    ]


def serving(names: Mapping[str, str]) -> list[Panel]:
    """Return the panels of traffic, speed, cost and engines."""
    requests, tokens = names[m.REQUESTS.name], names[m.TOKENS.name]
    by = "{{deployment}}"
    speed = [
        (title, names[one.name])
        for title, one in (
            ("In the queue", m.WAITED),
            ("First token", m.TTFT),
            ("Per further token", m.TPOT),
            ("Whole answer", m.DURATION),
        )
    ]
    return [
        ("Requests by deployment", "reqps", [(rate(requests, "deployment"), by)]),
        ("Share that failed", "percentunit", [(failed_share(names), by)]),
        *(
            (title, "s", [(quantile(name, share, "deployment"), f"{by} p{100 * share:.0f}") for share in (0.5, 0.95)])
            for title, name in speed
        ),
        ("Tokens by type", "short", [(rate(tokens, "deployment, type"), f"{by} {{{{type}}}}")]),
        (
            "Cost per hour",
            "short",
            [(f"3600 * {rate(names[m.COST.name], 'deployment')}", by)],
        ),
        ("Answers being given", "short", [(f"{names[m.IN_FLIGHT.name]}{ENDPOINT}", by)]),
        ("Slots in use", "percentunit", [(f"{names[m.OCCUPANCY.name]}{ENDPOINT}", by)]),
        ("Requests that wait for a slot", "short", [(f"{names[m.QUEUE.name]}{ENDPOINT}", by)]),
    ]


def rollouts(names: Mapping[str, str]) -> list[Panel]:
    """Return the panels of a rollout's evidence."""
    evidence, threshold = names[m.EVIDENCE.name], names[m.THRESHOLD.name]

    def side(name: str) -> str:
        return f'{{endpoint=~"$endpoint",side="{name}"}}'

    return [
        (
            "Evidence that the candidate is worse",
            "short",
            [(f"{evidence}{side('worse')}", "{{metric}}"), (f"{threshold}{side('worse')}", "turns back at")],
        ),
        (
            "Evidence that it is safe to go on",
            "short",
            [(f"{evidence}{side('safe')}", "{{metric}}"), (f"{threshold}{side('safe')}", "passes at")],
        ),
        (
            "Difference: candidate minus baseline",
            "percentunit",
            [(f"{names[m.DIFFERENCE.name]}{ENDPOINT}", "{{metric}}")],
        ),
        ("Stage", "short", [(f"{names[m.STAGE.name]}{ENDPOINT}", "{{rollout}}")]),
        (
            "Requests that the shadow did not hear",
            "reqps",
            [(rate(names[m.DROPPED.name], "deployment"), "{{deployment}}")],
        ),
        ("Share that failed", "percentunit", [(failed_share(names), "{{deployment}}")]),
    ]


def dashboard(title: str, uid: str, names: Mapping[str, str], rows: Any) -> dict[str, Any]:
    """Return a dashboard with variables for the data source and the endpoint."""
    endpoints = f"label_values({names[m.REQUESTS.name]}, endpoint)"
    return {
        "uid": uid,
        "title": title,
        "tags": ["bessemer"],
        "schemaVersion": 39,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {
            "list": [
                {"name": "datasource", "type": "datasource", "query": "prometheus"},
                {
                    "name": "endpoint",
                    "type": "query",
                    "datasource": {"type": "prometheus", "uid": "${datasource}"},
                    "query": endpoints,
                    "refresh": 2,
                    "multi": True,
                    "includeAll": True,
                },
            ]
        },
        "panels": panels(rows),
    }


def dashboards() -> dict[str, str]:
    """Return the content of each file."""
    names = exported()
    made = {
        "serving.json": dashboard("Bessemer: serving", "bessemer-serving", names, serving(names)),
        "rollouts.json": dashboard("Bessemer: rollouts", "bessemer-rollouts", names, rollouts(names)),
    }
    return {file: json.dumps(content, indent=2) + "\n" for file, content in made.items()}


if __name__ == "__main__":
    for file, text in dashboards().items():
        (Path(__file__).parent / file).write_text(text)
