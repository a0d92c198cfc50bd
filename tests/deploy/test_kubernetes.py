"""deploy/kubernetes: what the manifests say of the server, and of each other."""

import re
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # it has annotations, and does not say so
import pytest
import yaml

from tests.deploy.proxies import DEPLOY
from wellnet_sse.app import create_app
from wellnet_sse.settings import PREFIX, AuthMode, Settings

FOLDER = DEPLOY / "kubernetes"
OLDEST, NEWEST = "1.30", kubernetes_validate.latest_version().removesuffix(".0")
GUIDE = DEPLOY.parent / "docs" / "deployment.md"
OBJECTS: dict[str, dict[str, Any]] = {
    found["kind"]: found
    for file in sorted(FOLDER.glob("*.yaml"))
    for found in yaml.safe_load_all(file.read_text())
}
SPEC: dict[str, Any] = OBJECTS["Deployment"]["spec"]
POD: dict[str, Any] = SPEC["template"]["spec"]
(CONTAINER,) = POD["containers"]
SECRETS = {
    "WELLNET_BROKER_URL": "redis://valkey:6379/0",
    "WELLNET_DATABASE_URL": "postgresql://postgres/wellnet",
    "WELLNET_TOKEN_KEY": "k" * 32,
}


def settings() -> Settings:
    """What a pod is given."""
    given = {it["name"]: SECRETS.get(it["name"], "secret") for it in CONTAINER["env"]}
    return Settings.from_environment(OBJECTS["ConfigMap"]["data"] | given)


def test_there_is_one_object_of_each_kind_and_all_have_one_name() -> None:
    assert OBJECTS.keys() == {
        "ConfigMap",
        "Deployment",
        "Ingress",
        "PodDisruptionBudget",
        "Service",
    }
    assert {it["metadata"]["name"] for it in OBJECTS.values()} == {"wellnet-sse"}


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_kubernetes_own_schema_finds_no_fault(version: str) -> None:
    """By its own description of its API, in which a word that it does not know is a fault, too."""
    for one in OBJECTS.values():
        assert kubernetes_validate.validate(one, version, strict=True) == version


def test_a_kubernetes_older_than_the_guide_says_would_not_do() -> None:
    """1.29 knows the word, but does not act by it unless it is told to."""
    assert f"Kubernetes {OLDEST}" in GUIDE.read_text()
    with pytest.raises(kubernetes_validate.ValidationError, match="'sleep' was unexpected"):
        kubernetes_validate.validate(OBJECTS["Deployment"], "1.28", strict=True)


def test_everything_that_is_given_is_a_setting_and_origins_are_named() -> None:
    assert settings().origins == ("https://wellnet-rd.com",)
    assert settings().auth is AuthMode.TOKEN
    assert CONTAINER["envFrom"] == [{"configMapRef": {"name": "wellnet-sse"}}]


def test_passwords_come_from_the_secret_alone() -> None:
    secret = {it["name"]: it["valueFrom"]["secretKeyRef"] for it in CONTAINER["env"]}
    assert {it["name"] for it in secret.values()} == {"wellnet-sse"}
    of_settings = {
        f"{PREFIX}{name.upper()}"
        for name, field in Settings.model_fields.items()
        if "SecretStr" in str(field.annotation)
    }
    assert not of_settings & OBJECTS["ConfigMap"]["data"].keys()
    lines = re.findall(r"^([a-z-]+)=", GUIDE.read_text(), re.MULTILINE)
    assert {it["key"] for it in secret.values()} == set(lines), "what the guide puts into it"
    assert secret.keys() >= {"WELLNET_BROKER_URL", "WELLNET_DATABASE_URL", "WELLNET_ROUTER_PASSWORD"}


def test_the_services_own_variables_do_not_look_like_settings() -> None:
    """A Service of this name brings WELLNET_SSE_PORT and others, which the server would refuse."""
    assert POD["enableServiceLinks"] is False


def test_a_rolling_update_takes_nobody_away_before_another_serves() -> None:
    assert SPEC["replicas"] >= 2
    rolling = {"maxSurge": 1, "maxUnavailable": 0}
    assert SPEC["strategy"] == {"type": "RollingUpdate", "rollingUpdate": rolling}
    assert OBJECTS["PodDisruptionBudget"]["spec"]["maxUnavailable"] < SPEC["replicas"]


def test_there_is_time_to_leave_and_to_drain() -> None:
    leaving = CONTAINER["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert leaving > 0
    assert POD["terminationGracePeriodSeconds"] >= leaving + settings().grace_seconds + 3


def test_probes_ask_for_what_there_is() -> None:
    assert CONTAINER["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "http"}
    assert CONTAINER["startupProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}
    (port,) = CONTAINER["ports"]
    assert settings().bind == f"0.0.0.0:{port['containerPort']}"
    annotations = SPEC["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(port["containerPort"])


def test_what_all_pods_share_takes_none_of_them_out_of_the_service_when_it_is_away() -> None:
    """Or else streams would be answered 503, which is final for an EventSource."""
    assert CONTAINER["readinessProbe"]["httpGet"] == {"path": "/healthz", "port": "http"}


def test_it_runs_without_rights_as_the_image_has_it() -> None:
    assert f"USER {POD['securityContext']['runAsUser']}\n" in (DEPLOY / "Dockerfile").read_text()
    assert POD["securityContext"]["runAsNonRoot"]
    assert POD["automountServiceAccountToken"] is False
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_selectors_find_the_pods() -> None:
    labels = SPEC["template"]["metadata"]["labels"]
    assert SPEC["selector"]["matchLabels"] == labels
    assert OBJECTS["Service"]["spec"]["selector"] == labels
    assert OBJECTS["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    (spread,) = POD["topologySpreadConstraints"]
    assert spread["labelSelector"]["matchLabels"] == labels


def test_the_ingress_leads_to_all_but_what_is_for_the_cluster_alone() -> None:
    (rule,) = OBJECTS["Ingress"]["spec"]["rules"]
    paths = rule["http"]["paths"]
    (port,) = OBJECTS["Service"]["spec"]["ports"]
    assert port["targetPort"] == CONTAINER["ports"][0]["name"]
    backend = {"service": {"name": "wellnet-sse", "port": {"name": port["name"]}}}
    assert all(it["backend"] == backend for it in paths)

    def is_reached(path: str) -> bool:
        return any(
            path == it["path"] or (it["pathType"] == "Prefix" and path.startswith(f"{it['path']}/"))
            for it in paths
        )

    app = create_app(Settings.from_environment({}, database_url="sqlite://", broker_url="memory://"))
    served = {rule.rule for rule in app.url_map.iter_rules()}
    assert {path for path in served if not is_reached(path)} == {"/healthz", "/metrics", "/readyz"}


def test_the_ingress_holds_no_stream_back_and_is_more_patient_than_the_heartbeat() -> None:
    annotations = OBJECTS["Ingress"]["metadata"]["annotations"]
    assert annotations["nginx.ingress.kubernetes.io/proxy-buffering"] == "off"
    assert annotations["nginx.org/proxy-buffering"] == "False"
    for name in ("nginx.ingress.kubernetes.io/proxy-read-timeout", "nginx.org/proxy-read-timeout"):
        assert int(annotations[name].removesuffix("s")) > 3 * settings().heartbeat_seconds
