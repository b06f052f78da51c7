"""The manifests against the schemas of Kubernetes, and against what the gateway itself says."""

import re
import subprocess
import tomllib

import kubernetes_validate
import pytest
import yaml
from conftest import ROOT

FILES = sorted((ROOT / "config/kubernetes").glob("*.yaml"))
# The oldest on which `preStop.sleep` is on by default, and the newest there is a schema of.
VERSIONS = ["1.30", kubernetes_validate.latest_version()]

pytestmark = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


def documents(file):
    return [document for document in yaml.safe_load_all(file.read_text()) if document]


def of_kind(file, kind):
    found = [document for document in documents(file) if document["kind"] == kind]
    assert found, f"{file.name} has no {kind}"
    return found


def pod(file):
    [deployment] = of_kind(file, "Deployment")
    return deployment["spec"]["template"]


def container(file, name="gateway"):
    [found] = [each for each in pod(file)["spec"]["containers"] if each["name"] == name]
    return found


def settings(file):
    [config] = of_kind(file, "ConfigMap")
    return config["data"]["config.toml"]


def seconds(duration):
    return int(re.fullmatch(r"(\d+)s", duration)[1])


def test_kubernetes_knows_every_field(file):
    for version in VERSIONS:
        for document in documents(file):
            kubernetes_validate.validate(document, version, strict=True)


def test_the_gateway_takes_the_settings(file, gateway, tmp_path):
    text = settings(file)
    secret = tmp_path / "secret"
    secret.write_text("secret-test-0000\n")
    mounted = tomllib.loads(text)["stytch"]["secret_file"]
    config = tmp_path / "config.toml"
    config.write_text(text.replace(mounted, str(secret)))
    checked = subprocess.run([gateway, "check", "-c", config], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    assert "note:" not in checked.stdout


def test_what_the_settings_name_is_mounted(file):
    toml = tomllib.loads(settings(file))
    mounts = {mount["mountPath"]: mount for mount in container(file)["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod(file)["spec"]["volumes"]}
    [config] = of_kind(file, "ConfigMap")

    def volume(path):
        folder, _, name = path.rpartition("/")
        mount = mounts[folder]
        assert "subPath" not in mount, "would not follow changes"
        return mount, volumes[mount["name"]], name

    mount, secret, key = volume(toml["stytch"]["secret_file"])
    assert secret["secret"]["secretName"] == "stytch" and key == "secret"
    assert f"stytch --from-literal={key}=" in file.read_text()
    mount, keys, _ = volume(toml["stytch"]["key_cache_file"])
    assert "emptyDir" in keys and not mount.get("readOnly")
    [path] = [word for word in container(file)["args"] if word.startswith("/")]
    _, settings_volume, name = volume(path)
    assert settings_volume["configMap"]["name"] == config["metadata"]["name"] and name in config["data"]


def test_probes_ask_the_admin_listener_from_outside(file):
    toml = tomllib.loads(settings(file))
    gateway = container(file)
    ports = {port["name"]: port["containerPort"] for port in gateway["ports"]}
    assert toml["admin"]["listen"] == f"0.0.0.0:{ports['admin']}"
    assert toml["server"]["listen"] == f"0.0.0.0:{ports['http']}"
    for probe, path in [("livenessProbe", "/livez"), ("readinessProbe", "/readyz")]:
        assert gateway[probe]["httpGet"] == {"path": path, "port": "admin"}


def test_there_is_time_to_drain(file):
    drain = seconds(tomllib.loads(settings(file))["server"]["timeouts"]["drain"])
    pause = container(file)["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod(file)["spec"]["terminationGracePeriodSeconds"] > pause + drain
    for other in pod(file)["spec"]["containers"]:
        if other["name"] != "gateway":
            assert other["lifecycle"]["preStop"]["sleep"]["seconds"] >= pause + drain


def test_the_pod_has_no_rights_to_spare(file):
    spec = pod(file)["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for each in spec["containers"]:
        context = {**spec["securityContext"], **each["securityContext"]}
        assert context["runAsNonRoot"] is True
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert each["resources"]["requests"].keys() == {"cpu", "memory"}
        assert "memory" in each["resources"]["limits"]
    assert {**spec["securityContext"], **container(file)["securityContext"]}["runAsUser"] == 65532


def test_selectors_find_their_pods(file):
    labels = pod(file)["metadata"]["labels"]
    [deployment] = of_kind(file, "Deployment")
    [service] = of_kind(file, "Service")
    [budget] = of_kind(file, "PodDisruptionBudget")
    for selector in [
        deployment["spec"]["selector"]["matchLabels"],
        service["spec"]["selector"],
        budget["spec"]["selector"]["matchLabels"],
    ]:
        assert selector == labels
    assert service["spec"]["ports"][0]["targetPort"] in {port["name"] for port in container(file)["ports"]}


def test_the_application_is_reached_through_the_gateway_alone(file):
    labels = pod(file)["metadata"]["labels"]
    [upstream] = tomllib.loads(settings(file))["upstreams"].values()
    host, _, port = upstream["url"].removeprefix("http://").partition(":")
    guarded = {str(p["spec"]["podSelector"]["matchLabels"]): p["spec"] for p in of_kind(file, "NetworkPolicy")}
    if host == "127.0.0.1":
        opened = {int(each["port"]) for rule in guarded[str(labels)]["ingress"] for each in rule["ports"]}
        assert opened == {8080, 9090} and int(port) not in opened
    else:
        policy = guarded[str({"app.kubernetes.io/name": host})]
        assert policy["policyTypes"] == ["Ingress"]
        assert policy["ingress"] == [
            {"from": [{"podSelector": {"matchLabels": labels}}], "ports": [{"port": int(port)}]}
        ]
    for spec in guarded.values():
        assert "Ingress" in spec["policyTypes"] and all(rule["from"] for rule in spec["ingress"])
