"""The Helm chart: what it makes is valid for Kubernetes, and fits the database."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from core import Settings
from tests.deploy.templates import rendered

CHART = Path(__file__).parents[2] / "deploy" / "chart"
KUBERNETES = ("1.28", "1.37")
SCHEMA = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
USUAL = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))


def values(**more: Any) -> dict[str, Any]:
    return {**copy.deepcopy(USUAL), **more}


def made(**more: Any) -> dict[str, Any]:
    """What is installed with these values, by its kind."""
    chosen = values(**more)
    jsonschema.validate(chosen, SCHEMA)
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    known = {"Values": chosen, "Release": {"Name": "bob"}, "Chart": {"AppVersion": chart["appVersion"]}}
    templates = sorted((CHART / "templates").glob("*.yaml"))
    texts = [rendered(each.read_text(encoding="utf-8"), known) for each in templates]
    return {each["kind"]: each for text in texts if (each := yaml.safe_load(text)) is not None}


CASES: dict[str, dict[str, Any]] = {
    "as it is": {},
    "with names, a class of storage and settings": {
        "hosts": "bob.example *.shop.example",
        "settings": {"SLACK_JOIN_SECONDS": "0", "CHAT_PAGE_TITLE": 'Bob: "hello" # here'},
        "storage": {"size": "1Gi", "className": "local"},
        "image": {"repository": "r.example/bob", "tag": "7", "pullPolicy": "Always"},
    },
    "on PostgreSQL": {"database": "postgresql", "replicas": 3, "settings": {}, "resources": {}},
}


@pytest.mark.parametrize("chosen", CASES.values(), ids=CASES)
def test_whatever_is_chosen_kubernetes_takes_it_word_for_word(chosen: dict[str, Any]) -> None:
    for version in KUBERNETES:
        for each in made(**chosen).values():
            kubernetes_validate.validate(each, version, strict=True)


def test_on_sqlite_there_is_one_pod_at_a_time_and_a_volume_that_outlives_it() -> None:
    objects = made()
    assert objects["Deployment"]["spec"]["replicas"] == 1
    assert objects["Deployment"]["spec"]["strategy"] == {"type": "Recreate"}
    assert objects["PersistentVolumeClaim"]["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    (data, _) = objects["Deployment"]["spec"]["template"]["spec"]["volumes"]
    assert data["persistentVolumeClaim"]["claimName"] == objects["PersistentVolumeClaim"]["metadata"]["name"]


def test_on_postgresql_there_may_be_several_which_are_replaced_one_by_one_and_none_has_a_volume() -> None:
    objects = made(database="postgresql", replicas=3)
    assert objects["Deployment"]["spec"]["replicas"] == 3
    assert objects["Deployment"]["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert "PersistentVolumeClaim" not in objects


def test_settings_come_as_they_are_written_and_are_settings_of_bob() -> None:
    (bob,) = made(**CASES["with names, a class of storage and settings"])["Deployment"]["spec"]["template"]["spec"][
        "containers"
    ]
    set_here = {each["name"]: each["value"] for each in bob["env"]}
    assert set_here["CHAT_PAGE_TITLE"] == 'Bob: "hello" # here'
    assert set_here["ALLOWED_HOSTS"] == "bob.example *.shop.example localhost", "else its probes are refused"
    assert bob["image"] == "r.example/bob:7"
    of_the_chart = {each["name"] for each in made()["Deployment"]["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert {name.lower() for name in of_the_chart} <= set(Settings.model_fields)


@pytest.mark.parametrize(
    "wrong",
    [
        {"replicas": 2}, {"database": "mysql"}, {"replica": 1}, {"settings": {"HOST": "::"}},
        {"settings": {"MAX_BODY_BYTES": 1000000}}, {"settings": {"log-level": "info"}}, {"drainSeconds": "25"},
        {"secret": ""}, {"image": {"repository": "bob"}},
    ],
    ids=str,
)  # fmt: skip
def test_values_that_would_not_do_are_refused_before_anything_is_installed(wrong: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(values(**wrong), SCHEMA)


def test_the_application_has_the_version_of_the_package() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert f'version = "{chart["appVersion"]}"' in (CHART.parents[1] / "pyproject.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "template", ["{{ .Values.nothing }}", "{{ include 1 }}", "{{ range .Values.settings }}{{ end }}"]
)
def test_what_the_tests_cannot_render_is_an_error(template: str) -> None:
    with pytest.raises((ValueError, KeyError)):
        rendered(template, {"Values": USUAL})
