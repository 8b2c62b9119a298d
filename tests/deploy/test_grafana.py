"""The dashboard and the description of metrics name metrics that there are."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from core.metrics import Metrics

ROOT = Path(__file__).parents[2]
OF_A_HISTOGRAM = ("_bucket", "_count", "_sum")


def series() -> set[str]:
    """The names of all series that can be asked for."""
    text = Metrics().exposition("")[1].decode()
    found: set[str] = set()
    for family in text_string_to_metric_families(text):
        endings = {"histogram": OF_A_HISTOGRAM, "counter": ("_total",)}.get(family.type, ("",))
        found |= {f"{family.name}{ending}" for ending in endings}
    return found


def test_each_query_of_the_dashboard_is_about_series_that_there_are() -> None:
    dashboard: dict[str, Any] = json.loads((ROOT / "deploy" / "grafana.json").read_text(encoding="utf-8"))
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    queries += [each["definition"] for each in dashboard["templating"]["list"] if "definition" in each]
    named = {name for query in queries for name in re.findall(r"\b(?:bob|process)_\w+", query)}
    assert len(queries) > 18
    assert named <= series()
    ours = {re.sub(r"_(bucket|count|sum)$", "", name) for name in series() if name.startswith("bob_")}
    assert ours <= {re.sub(r"_(bucket|count|sum)$", "", name) for name in named}, "what is measured is shown"


def test_the_readme_describes_each_metric() -> None:
    text = (ROOT / "web" / "README.md").read_text(encoding="utf-8")
    described = set(re.findall(r"`(bob_\w+)", text))
    ours = {re.sub(r"_(bucket|count|sum)$", "", name) for name in series() if name.startswith("bob_")}
    shortened = {"bob_surface_rate_limited_seconds_total"}  # stands as …_seconds_total
    assert described | shortened == ours
