"""The manifests are valid for Kubernetes, and what they name is what the code has: settings, commands, ports, paths, topics."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import kubernetes_validate
import pytest

from services.commands.cli import COMMANDS
from services.compose.server import GRACE_SECONDS
from shared.config import parse_calendar, parse_policy, parse_registry
from shared.settings import SETTINGS, Settings, read_settings
from shared.topics import MIN_ISR, REPLICATION, TOPICS
from tests.deploy.manifests import (
    FORMS,
    OVERLAYS,
    WORKLOADS,
    Manifest,
    built,
    container,
    foreign_settings,
    mounts,
    of_kind,
    plain_settings,
    template,
)
from tests.docs.markdown import read
from tests.docs.test_docs_commands import leaf, options
from tests.service import Served, served

OLDEST, NEWEST = "1.30", "1.37"  # of Kubernetes
PAGES = ("docs/kubernetes.md", "docs/kubernetes.zh-CN.md")


def workloads() -> list[tuple[str, str]]:
    """(overlay, workload) of all that run pods; named here, so that a missing one is noticed."""
    return [
        ("standalone", "liuyan"),
        ("example-city", "liuyan"),
        ("distributed", "liuyan-ingest"),
        ("distributed", "liuyan-sla"),
        ("distributed", "liuyan-alerts"),
    ]


def workload_of(overlay: str, name: str) -> Manifest:
    return of_kind(overlay, *WORKLOADS)[name]


def settings_of(overlay: str, name: str) -> Settings:
    """As the program would read them."""
    workload = workload_of(overlay, name)
    foreign = dict.fromkeys(foreign_settings(workload), "given-when-the-pod-starts")
    return read_settings(plain_settings(overlay, workload) | foreign)


every_workload = pytest.mark.parametrize(("overlay", "name"), workloads())


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("overlay", FORMS)
def test_what_is_built_is_valid(overlay: str, version: str) -> None:
    for found in built(overlay):
        assert kubernetes_validate.validate(found, version, strict=True) == version


def test_the_overlays_are_the_documented_ones_and_all_workloads_are_looked_at() -> None:
    assert OVERLAYS == ["distributed", "example-city", "standalone", "topics"]
    assert sorted(workloads()) == [(form, name) for form in FORMS for name in sorted(of_kind(form, *WORKLOADS))]
    for page in PAGES:
        shown = set(re.findall(r"deploy/k8s/overlays/([\w-]+)", read(page)))
        assert shown == set(OVERLAYS)


def test_the_topics_are_those_of_the_table() -> None:
    assert built("topics") == [
        {
            "apiVersion": "kafka.strimzi.io/v1",
            "kind": "KafkaTopic",
            "metadata": {
                "name": topic.name,
                "namespace": "liuyan",
                "labels": {"app.kubernetes.io/name": "liuyan", "strimzi.io/cluster": "kafka"},
            },
            "spec": {"partitions": topic.partitions, "replicas": REPLICATION, "config": topic.configs(MIN_ISR)},
        }
        for topic in sorted(TOPICS, key=lambda topic: topic.name)
    ]


@every_workload
def test_every_setting_is_one_that_the_program_takes(overlay: str, name: str) -> None:
    workload = workload_of(overlay, name)
    given = {*plain_settings(overlay, workload), *foreign_settings(workload)}
    assert given <= {setting.variable for setting in SETTINGS}
    read = settings_of(overlay, name)
    assert (read.host, read.log) == ("0.0.0.0", "json")  # noqa: S104 - in its own network namespace
    assert template(workload)["spec"]["enableServiceLinks"] is False, "they would add LIUYAN_… that are no settings"


def test_the_services_of_the_distributed_form_know_kafka() -> None:
    for name in of_kind("distributed", *WORKLOADS):
        read = settings_of("distributed", name)
        assert (read.environment, read.kafka) == ("production", "kafka-kafka-bootstrap:9092")


def test_who_shares_partitions_has_a_name_that_outlives_a_restart() -> None:
    """Those are the commands with the option `--instance`."""
    named = set()
    for name, workload in of_kind("distributed", *WORKLOADS).items():
        (command,) = container(workload)["args"]
        if "--instance" in options(leaf([command])[0]):
            assert workload["kind"] == "StatefulSet", "a Deployment's pods get new names"
            assert foreign_settings(workload)["LIUYAN_INSTANCE"] == {"fieldRef": {"fieldPath": "metadata.name"}}
            named.add(name)
    assert named == {"liuyan-sla", "liuyan-alerts"}


def test_the_address_of_the_database_comes_from_the_secret_that_the_page_creates() -> None:
    """Who needs it are the commands with the option `--db`."""
    secret = {"secretKeyRef": {"name": "liuyan-database", "key": "LIUYAN_DB"}}
    found = {name: foreign_settings(each) for name, each in of_kind("distributed", *WORKLOADS).items()}
    for name, workload in of_kind("distributed", *WORKLOADS).items():
        (command,) = container(workload)["args"]
        wanted = secret if "--db" in options(leaf([command])[0]) else None
        assert found[name].get("LIUYAN_DB") == wanted
    for page in PAGES:
        assert "create secret generic liuyan-database" in read(page)
        assert "LIUYAN_DB=postgresql://" in read(page)


@every_workload
def test_the_command_is_one_of_the_program(overlay: str, name: str) -> None:
    workload = workload_of(overlay, name)
    (command,) = container(workload)["args"]
    assert command in COMMANDS
    assert command == template(workload)["metadata"]["labels"]["app.kubernetes.io/component"]
    assert "command" not in container(workload), "the image's entry point is the program"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("k8s") / "k8s.db") as found:
        yield found


@every_workload
def test_ports_and_paths_are_those_of_the_program(overlay: str, name: str, service: Served) -> None:
    workload = workload_of(overlay, name)
    port = settings_of(overlay, name).port
    assert container(workload)["ports"] == [{"name": "http", "containerPort": port}]
    annotations = template(workload)["metadata"]["annotations"]
    assert annotations["prometheus.io/scrape"] == "true"
    assert annotations["prometheus.io/port"] == str(port)
    probes = [container(workload)[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")]
    assert [probe["path"] for probe in probes] == ["/livez", "/livez", "/readyz"]
    assert {probe["port"] for probe in probes} == {"http"}
    for path in (annotations["prometheus.io/path"], *(probe["path"] for probe in probes)):
        assert service.client.get(path).status_code == 200


@every_workload
def test_a_pod_may_do_nothing_but_its_work(overlay: str, name: str) -> None:
    workload = workload_of(overlay, name)
    pod = template(workload)["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container(workload)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"cpu", "memory"} <= container(workload)["resources"]["requests"].keys()
    assert "memory" in container(workload)["resources"]["limits"]


@every_workload
def test_a_pod_may_write_where_it_has_to(overlay: str, name: str) -> None:
    workload = workload_of(overlay, name)
    volumes = {each["name"]: each for each in template(workload)["spec"]["volumes"]}
    assert volumes[mounts(workload)["/tmp"]] == {"name": "tmp", "emptyDir": {}}  # noqa: S108 - the container's own
    if name == "liuyan":
        (claim,) = workload["spec"]["volumeClaimTemplates"]
        folder = str(Path(settings_of(overlay, name).db).parent)
        assert mounts(workload)[folder] == claim["metadata"]["name"]
        assert workload["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Retain"
    if name == "liuyan-sla":
        assert container(workload)["workingDir"] == "/tmp"  # noqa: S108 - where Faust makes its folder


@every_workload
def test_a_stop_gets_the_time_that_it_takes(overlay: str, name: str) -> None:
    workload = workload_of(overlay, name)
    before = container(workload).get("lifecycle", {}).get("preStop", {"sleep": {"seconds": 0}})["sleep"]["seconds"]
    assert template(workload)["spec"]["terminationGracePeriodSeconds"] >= before + 2 * GRACE_SECONDS


def test_what_stands_more_than_once_stays_up_while_a_machine_is_emptied() -> None:
    assert {name: found["spec"]["replicas"] for name, found in of_kind("standalone", *WORKLOADS).items()} == {
        "liuyan": 1  # a second one on the same file is not supported
    }
    found = of_kind("distributed", *WORKLOADS)
    assert {workload["spec"]["replicas"] for workload in found.values()} == {2}
    budgets = of_kind("distributed", "PodDisruptionBudget")
    assert budgets.keys() == found.keys()
    assert {budget["spec"]["maxUnavailable"] for budget in budgets.values()} == {1}


@every_workload
def test_every_selector_finds_the_pods_of_its_own_workload_only(overlay: str, name: str) -> None:
    labels = template(workload_of(overlay, name))["metadata"]["labels"]
    selectors = [workload_of(overlay, name)["spec"]["selector"]["matchLabels"]]
    selectors.append(of_kind(overlay, "Service")[name]["spec"]["selector"])
    if name in of_kind(overlay, "PodDisruptionBudget"):
        selectors.append(of_kind(overlay, "PodDisruptionBudget")[name]["spec"]["selector"]["matchLabels"])
    spread = template(workload_of(overlay, name))["spec"].get("topologySpreadConstraints", [])
    selectors += [each["labelSelector"]["matchLabels"] for each in spread]
    assert all(selector == labels for selector in selectors)
    assert [port["targetPort"] for port in of_kind(overlay, "Service")[name]["spec"]["ports"]] == ["http"]
    others = [other for other in of_kind(overlay, *WORKLOADS).values() if other["metadata"]["name"] != name]
    assert all(template(other)["metadata"]["labels"] != labels for other in others)


def test_a_citys_files_are_mounted_where_the_settings_look_for_them() -> None:
    workload = workload_of("example-city", "liuyan")
    read = settings_of("example-city", "liuyan")
    volumes = {each["name"]: each for each in template(workload)["spec"]["volumes"]}
    folder = next(path for path, volume in mounts(workload).items() if volume == "city")
    files = of_kind("example-city", "ConfigMap")[volumes["city"]["configMap"]["name"]]["data"]
    assert {os.path.join(folder, file) for file in files} == {str(read.platforms), str(read.policy), str(read.calendar)}
    registry = parse_registry(files["platforms.toml"])
    parse_policy(files["policy.toml"])
    assert "dongxian" in {platform.county for platform in registry.platforms}
    parse_calendar(files["calendar.toml"], registry)


@pytest.mark.parametrize("overlay", FORMS)
def test_every_version_of_the_image_is_named(overlay: str) -> None:
    for workload in of_kind(overlay, *WORKLOADS).values():
        image, _, tag = container(workload)["image"].rpartition(":")
        assert image == "registry.example/liuyan"
        assert re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+", tag)


def test_the_pages_name_the_oldest_version() -> None:
    for page in PAGES:
        assert f"Kubernetes {OLDEST}" in read(page)
