"""The Helm charts, rendered: valid, hardened, and of one mind with the images and with the code."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from charts import CASES, Manifest, Rendered, chart_of, render, rendered, values_of
from deploy_files import (
    ACCOUNT,
    FRONT_PORT,
    HEALTH_PORTS,
    STOP_SECONDS,
    VERSION,
    check_command,
    check_environment,
)
from dockerfile import command, environment, last

from sealora_client.site.config import SiteConfig
from sealora_common.identity import PASSPHRASE_FILE
from sealora_server.deployment.config import ServerConfig

KUBERNETES = ("1.27", "1.37")
"""The oldest that the charts admit, and a recent one."""
SERVERS = [case for case in CASES if case.startswith("sealora-server/")]
SITES = [case for case in CASES if case.startswith("sealora-site/")]


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def chart(case: str) -> Rendered:
    return rendered(case)


def containers(chart: Rendered) -> list[Manifest]:
    return [*chart.pod["initContainers"], *chart.pod["containers"]]


def target(case: str) -> str:
    """The image's name in the Dockerfile."""
    if case in SERVERS:
        return "server"
    return "site-cuda" if values_of(case).get("gpu") else "site-cpu"


def test_there_is_an_example_of_every_kind() -> None:
    assert {"sealora-server/minimal", "sealora-site/minimal", "sealora-site/gpu"} <= set(CASES)


def test_helm_finds_nothing_and_renders_objects_that_kubernetes_knows(case: str, chart: Rendered) -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    assert chart.error is None
    assert chart.lint == ()
    described = yaml.safe_load((chart_of(case) / "Chart.yaml").read_text())
    assert described["kubeVersion"] == f">={KUBERNETES[0]}.0-0"
    known = [manifest for manifest in chart.manifests if manifest["kind"] != "ServiceMonitor"]  # another project's
    assert len(known) >= 3
    for manifest in known:
        for version in KUBERNETES:
            kubernetes_validate.validate(manifest, version, strict=True)


def test_the_pod_keeps_to_the_restricted_pod_security_standard_on_a_read_only_root(chart: Rendered) -> None:
    pod = chart.pod
    context = pod["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] == context["runAsGroup"] == context["fsGroup"] == ACCOUNT
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    # `Always` adds group rights to the private keys at every start, and they would be refused.
    assert context["fsGroupChangePolicy"] == "OnRootMismatch"
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert not any(pod.get(name) for name in ("hostNetwork", "hostPID", "hostIPC"))
    for container in containers(chart):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"cpu", "memory"} <= container["resources"]["limits"].keys()


def test_every_mount_has_a_volume_and_only_state_cache_and_tmp_are_writable(case: str, chart: Rendered) -> None:
    claims = chart.one("StatefulSet")["spec"]["volumeClaimTemplates"]
    volumes = {volume["name"]: volume for volume in chart.pod["volumes"]}
    names = [*volumes, *(claim["metadata"]["name"] for claim in claims)]
    mounts = [mount for container in containers(chart) for mount in container["volumeMounts"]]
    assert {mount["name"] for mount in mounts} == set(names)
    writable = {mount["name"]: mount["mountPath"] for mount in mounts if not mount.get("readOnly")}
    expected = {"state": last(target(case), "WORKDIR"), "tmp": environment(target(case))["HOME"]}
    if case in SITES:
        expected["cache"] = environment(target(case))["SEALORA_CACHE"]
    assert writable == expected
    assert volumes["tmp"]["emptyDir"]["medium"] == "Memory"
    assert volumes["tmp"]["emptyDir"]["sizeLimit"]
    assert not [volume for volume in volumes.values() if "hostPath" in volume]
    assert [volume["secret"]["defaultMode"] for volume in volumes.values() if "secret" in volume] in ([], [0o440])


def test_there_is_one_pod_with_time_to_stop_and_an_image_of_this_version(case: str, chart: Rendered) -> None:
    described = yaml.safe_load((chart_of(case) / "Chart.yaml").read_text())
    assert described["version"] == described["appVersion"] == VERSION
    assert chart.one("StatefulSet")["spec"]["replicas"] == 1
    program, arguments = command(target(case))
    assert chart.pod["terminationGracePeriodSeconds"] > STOP_SECONDS[program]
    suffix = target(case).partition("-")[2]
    images = {container["image"] for container in containers(chart)}
    assert images == {f"sealora-{target(case).partition('-')[0]}:{VERSION}" + (f"-{suffix}" if suffix else "")}
    (main,) = chart.pod["containers"]
    if values_of(case).get("maintenance"):
        assert main["command"] == ["sleep", "infinity"]
        assert not {"ports", "livenessProbe", "readinessProbe", "startupProbe"} & main.keys()
    else:
        assert main["args"] == arguments
        assert "command" not in main
        check_command(program, main["args"])
    variables = {variable["name"]: variable for variable in main["env"]}
    check_environment(variables)
    assert variables["OMP_NUM_THREADS"]["valueFrom"] == {"resourceFieldRef": {"resource": "limits.cpu"}}


@pytest.mark.parametrize("case", [case for case in CASES if not values_of(case).get("maintenance")], indirect=True)
def test_the_probes_ask_the_health_paths_on_the_port_that_the_configuration_serves(case: str, chart: Rendered) -> None:
    (main,) = chart.pod["containers"]
    ports = {port["name"]: port["containerPort"] for port in main["ports"]}
    program, _ = command(target(case))
    assert ports["health"] == HEALTH_PORTS[program]
    assert main["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "health"}
    assert main["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "health"}
    config = chart.one("ConfigMap")["data"]
    if case in SERVERS:
        assert ports["front"] == FRONT_PORT
        assert yaml.safe_load(config["server.yaml"])["health"] == {"http": f"0.0.0.0:{ports['health']}"}
    else:
        assert yaml.safe_load(config["site.yaml"])["health"] == f"0.0.0.0:{ports['health']}"


@pytest.mark.parametrize("case", SERVERS, indirect=True)
def test_the_server_s_configuration_is_one_that_it_takes(case: str, chart: Rendered, tmp_path: Path) -> None:
    path = tmp_path / "server.yaml"
    path.write_text(chart.one("ConfigMap")["data"]["server.yaml"])
    config = ServerConfig.load(path)
    values = values_of(case)
    assert list(config.hosts) == values["hosts"]
    assert config.listen == f"0.0.0.0:{FRONT_PORT}"
    assert config.log == "json"
    for name, limit in values.get("limits", {}).items():
        assert getattr(config.limits, name) == limit
    if values.get("tls"):
        mounts = {mount["name"]: mount["mountPath"] for mount in chart.pod["containers"][0]["volumeMounts"]}
        files = [config.tls.certificate, config.tls.key, config.tls.ca]
        assert {str(path.parent) for path in files if path} == {mounts["tls"]}


@pytest.mark.parametrize("case", SITES, indirect=True)
def test_the_site_s_configuration_is_one_that_it_takes(case: str, chart: Rendered, tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(chart.one("ConfigMap")["data"]["site.yaml"])
    config = SiteConfig.load(path)
    values = values_of(case)
    assert (config.name, config.coordinator, config.server) == tuple(
        values[name] for name in ("name", "coordinator", "server")
    )
    mounts = {mount["name"]: mount["mountPath"] for mount in chart.pod["containers"][0]["volumeMounts"]}
    assert config.data.parent == Path(mounts["data"])
    assert config.log_format == "json"
    assert config.ca == Path("ca.pem")
    (passphrase,) = [each["value"] for each in chart.pod["containers"][0]["env"] if each["name"] == PASSPHRASE_FILE]
    assert Path(passphrase).parent == Path(mounts["passphrase"])


@pytest.mark.parametrize("case", SERVERS, indirect=True)
def test_the_server_s_network_is_its_front_and_it_connects_to_nobody(case: str, chart: Rendered) -> None:
    spec = chart.one("NetworkPolicy")["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec["egress"] == []
    ports = [(port["port"], bool(rule["from"])) for rule in spec["ingress"] for port in rule["ports"]]
    assert ports == [("front", True), ("health", True)][: 2 if values_of(case).get("networkPolicy") else 1]
    front, *others = chart.all("Service")
    assert [port["targetPort"] for port in front["spec"]["ports"]] == ["front"]
    assert [service["spec"]["clusterIP"] for service in others] == ["None"] * len(others)


@pytest.mark.parametrize("case", SITES, indirect=True)
def test_a_site_s_network_is_its_server_and_the_names_and_nobody_connects_to_it(case: str, chart: Rendered) -> None:
    spec = chart.one("NetworkPolicy")["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    policy = values_of(case)["networkPolicy"]
    server, names = spec["egress"]
    assert server["to"] == policy["server"]["to"]
    assert server["ports"] == [{"protocol": "TCP", "port": policy["server"].get("port", FRONT_PORT)}]
    assert names["to"]
    assert {port["port"] for port in names["ports"]} == {53}
    monitoring = policy.get("monitoring", [])
    rules = [{"from": monitoring, "ports": [{"protocol": "TCP", "port": "health"}]}] if monitoring else []
    assert spec["ingress"] == rules
    assert [service["spec"]["clusterIP"] for service in chart.all("Service")] == (["None"] if monitoring else [])


def test_what_selects_the_pod_selects_it_and_what_scrapes_finds_its_service(chart: Rendered) -> None:
    stateful = chart.one("StatefulSet")
    labels = stateful["spec"]["template"]["metadata"]["labels"].items()
    assert stateful["spec"]["selector"]["matchLabels"].items() <= labels
    for kind, path in (("NetworkPolicy", "podSelector"), ("PodDisruptionBudget", "selector")):
        for manifest in chart.all(kind):
            assert manifest["spec"][path]["matchLabels"].items() <= labels
            assert manifest["spec"][path]["matchLabels"]
    for service in chart.all("Service"):
        assert service["spec"]["selector"].items() <= labels
    for monitor in chart.all("ServiceMonitor"):
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        (found,) = [each for each in chart.all("Service") if wanted <= each["metadata"]["labels"].items()]
        (endpoint,) = monitor["spec"]["endpoints"]
        assert endpoint["path"] == "/metrics"
        assert endpoint["port"] in [port["name"] for port in found["spec"]["ports"]]


def test_a_gpu_is_asked_for_by_the_main_container_alone() -> None:
    chart = rendered("sealora-site/gpu")
    (main,) = chart.pod["containers"]
    assert main["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert "nvidia.com/gpu" not in chart.pod["initContainers"][0]["resources"]["limits"]
    assert chart.pod["runtimeClassName"] == "nvidia"
    assert "nvidia.com/gpu" not in rendered("sealora-site/minimal").pod["containers"][0]["resources"]["limits"]


def test_the_notes_name_commands_that_the_programs_take(chart: Rendered) -> None:
    commands = [line.partition(" -- ")[2].split() for line in chart.notes.splitlines() if " -- " in line]
    assert commands
    for words in commands:
        if words[0].startswith("sealora"):
            check_command(words[0], words[1:])


WRONG = [
    ("sealora-server/minimal", {"hosts": []}, "/hosts"),
    ("sealora-server/minimal", {"hosts": ["a; rm -r /"]}, "/hosts/0"),
    ("sealora-server/minimal", {"image": {"tag": "latest"}}, "/image/tag"),
    ("sealora-server/minimal", {"networkPolicy": {"sites": []}}, "/networkPolicy/sites"),
    ("sealora-server/minimal", {"replicas": 2}, "replicas"),
    ("sealora-site/minimal", {"name": "Hospital A"}, "/name"),
    ("sealora-site/minimal", {"coordinator": "abc"}, "/coordinator"),
    ("sealora-site/minimal", {"server": "http://sealora.example.org"}, "/server"),
    ("sealora-site/minimal", {"data": {}}, "/data/volume"),
    ("sealora-site/minimal", {"passphrase": {"existingSecret": ""}}, "/passphrase/existingSecret"),
    ("sealora-site/minimal", {"networkPolicy": {"server": {"to": []}}}, "/networkPolicy/server/to"),
    ("sealora-site/minimal", {"networkPolicy": {"server": {"to": [{}]}}}, "/networkPolicy/server/to/0"),
]


@pytest.mark.parametrize(("case", "change", "place"), WRONG, ids=[f"{case}:{place}" for case, _, place in WRONG])
def test_values_that_cannot_be_right_are_refused(case: str, change: dict[str, Any], place: str) -> None:
    error = render(chart_of(case), values_of(case) | change).error
    assert error is not None
    assert place in error


def test_a_digest_outranks_a_tag() -> None:
    digest = "sha256:" + "0" * 64
    values = values_of("sealora-server/minimal") | {"image": {"tag": "0.1.0", "digest": digest}}
    chart = render(chart_of("sealora-server/minimal"), values)
    assert {container["image"] for container in containers(chart)} == {f"sealora-server@{digest}"}


def test_values_that_have_a_field_of_server_yaml_misspelt_would_be_refused_by_the_server(tmp_path: Path) -> None:
    values = values_of("sealora-server/minimal") | {"limits": {"connection": 3}}
    path = tmp_path / "server.yaml"
    path.write_text(render(chart_of("sealora-server/minimal"), values).one("ConfigMap")["data"]["server.yaml"])
    with pytest.raises(Exception, match=re.escape("limits.connection")):
        ServerConfig.load(path)


def test_shell_words_in_the_preparation_are_programs_of_the_image(chart: Rendered) -> None:
    (prepare,) = chart.pod["initContainers"]
    assert prepare["command"] == ["/bin/sh", "-euc"]
    first = {shlex.split(line)[0] for line in prepare["args"][0].splitlines() if line.strip()}
    assert first <= {"umask", "cd", "mkdir", "for", "done", "test", "install"}
