"""deploy/: each file by its published schema or by its own program, and what they promise of a mesh that is run there."""

import json
import re
import shutil
import subprocess
import tomllib
from importlib.resources import files

import pytest

from tests.support.places import PROJECT
from tickmesh.bus.config import load
from tickmesh.tools.verdict import EXIT_CODES

DEPLOY = PROJECT / "deploy"
COMPOSE = ("compose.yaml", "compose.exchange.yaml")


def documents(name):
    yaml = pytest.importorskip("yaml", reason="needs PyYAML (dev)")
    return list(yaml.safe_load_all((DEPLOY / name).read_text()))


@pytest.mark.parametrize("name", COMPOSE)
def test_compose_files_are_as_the_specification_has_them(name):
    jsonschema = pytest.importorskip("jsonschema", reason="needs check-jsonschema (dev)")
    pytest.importorskip("check_jsonschema", reason="needs check-jsonschema (dev)")
    schema = json.loads((files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json").read_text())
    jsonschema.validators.validator_for(schema)(schema).validate(documents(name)[0])


def test_the_kubernetes_file_is_as_the_api_has_it():
    validate = pytest.importorskip("kubernetes_validate", reason="needs kubernetes-validate (dev)")
    for document in documents("kubernetes.yaml"):
        validate.validate(document, validate.latest_version(), strict=True)
    broken = documents("kubernetes.yaml")[2]
    broken["spec"]["template"]["spec"]["containers"][0]["livenessProbes"] = {}
    with pytest.raises(validate.ValidationError):
        validate.validate(broken, validate.latest_version(), strict=True)


def test_the_unit_is_understood_by_systemd(tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("needs systemd-analyze")
    unit = tmp_path / "tickmesh.service"
    unit.write_text((DEPLOY / "tickmesh.service").read_text().replace("/srv/mesh/.venv/bin/mesh", shutil.which("true") or ""))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False)
    if "Failed to initialize manager" in done.stderr or "Operation not permitted" in done.stderr:
        pytest.skip(f"systemd-analyze cannot verify here: {done.stderr.strip()}")
    assert done.returncode == 0 and "tickmesh.service" not in done.stderr, done.stderr


def test_the_image_runs_a_mesh_as_nobody_in_particular():
    parse = pytest.importorskip("dockerfile_parse", reason="needs dockerfile-parse (dev)")
    lines = parse.DockerfileParser(path=str(DEPLOY / "Dockerfile"), env_replace=False).structure
    stages = [line["value"] for line in lines if line["instruction"] == "FROM"]
    final = {line["instruction"]: line["value"] for line in lines[[one["instruction"] for one in lines].index("FROM") :]}
    assert len(stages) == 2 and final["USER"] == "10001:10001", "not root"
    assert json.loads(final["ENTRYPOINT"]) == ["mesh"] and json.loads(final["CMD"]) == ["run"]
    assert "mesh status" in final["HEALTHCHECK"] and final["STOPSIGNAL"] == "SIGTERM"
    for line in lines:
        if line["instruction"] == "COPY" and "--from" not in line["value"]:
            for source in line["value"].split()[:-1]:
                assert (PROJECT / source).exists(), source
    ignored = (PROJECT / ".dockerignore").read_text().split()
    for secret in ("data", "run", "key.toml", ".git"):
        assert secret in ignored


def test_every_container_is_read_only_has_no_capability_and_time_to_end():
    for name in COMPOSE:
        for service in documents(name)[0]["services"].values():
            assert service["read_only"] and service["cap_drop"] == ["ALL"]
            if "entrypoint" not in service:
                assert service["stop_grace_period"] == "2m" and service["shm_size"] == "1gb"
    (stateful,) = [one for one in documents("kubernetes.yaml") if one["kind"] == "StatefulSet"]
    pod = stateful["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] and container["securityContext"]["readOnlyRootFilesystem"]
    assert container["resources"]["requests"] and pod["terminationGracePeriodSeconds"] >= 120
    mounted = {one["mountPath"] for one in container["volumeMounts"]}
    assert mounted == {"/mesh", "/mesh/mesh.toml", "/dev/shm", "/tmp"}
    assert EXIT_CODES["degraded"] < 2 <= EXIT_CODES["down"], "what the probes compare with"
    assert "-lt 2" in container["livenessProbe"]["exec"]["command"][-1]


def test_settings_in_deploy_files_are_settings(tmp_path):
    """Every mesh.toml that stands in one of them can be loaded."""
    texts = [one["data"]["mesh.toml"] for one in documents("kubernetes.yaml") if one["kind"] == "ConfigMap"]
    texts += [one["content"] for one in documents("compose.exchange.yaml")[0]["configs"].values()]
    assert len(texts) == 3
    for number, text in enumerate(texts):
        tomllib.loads(text)
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "mesh.toml").write_text(text)
        assert load(folder).instruments


def test_pages_name_the_files_that_are_there():
    pages = "".join((PROJECT / f"docs/{name}.md").read_text() for name in ("deployment", "metrics"))
    named = set(re.findall(r"deploy/([\w.-]+\w)", pages))
    assert named - {"mesh.toml"} == {path.name for path in DEPLOY.iterdir()}
