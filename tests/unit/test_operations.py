"""The files that run a node: they name settings, metrics and folders that exist, and what can be tried of them is."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from eth_account import Account
from typer.main import get_command

from oracle import ENVIRONMENT_PREFIX
from oracle.api.guard import ALIVE
from oracle.api.server import MOST_CONNECTIONS
from oracle.chain.keys import load_keystore
from oracle.cli import app as cli
from oracle.errors import InsecureKeyFile
from oracle.node.metrics import Metrics
from oracle.node.settings import OUTSIDE, Settings
from tools import grafana

ROOT = Path(__file__).resolve().parents[2]
OPERATIONS = ROOT / "operations"
RULES = yaml.safe_load((OPERATIONS / "alerts.yml").read_text())["groups"][0]["rules"]
UNIT = (OPERATIONS / "didyma.service").read_text()
HARDENED = 3.0
"""What `systemd-analyze security` may give the unit: 0 is locked up, 10 is open. A node has the network, and its
workers' boxes need namespaces."""


def metric_names() -> set[str]:
    """Every name that a scrape has."""
    families = Metrics().registry.collect()
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
    return {family.name + suffix for family in families for suffix in suffixes.get(family.type, ("",))}


def named_in(expression: str) -> set[str]:
    return set(re.findall(r"\bdidyma_\w+", expression))


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_alert__its_metrics__exist(rule):
    assert named_in(rule["expr"]) <= metric_names()
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert set(rule["annotations"]) == {"summary", "runbook"}


def test_alerts__operators_page__lists_the_same():
    page = (ROOT / "docs/operators.md").read_text()
    rows = re.findall(r"^\| (\w+) \| ", page.partition("\n## Watch it")[2].partition("\n## ")[0], re.MULTILINE)
    assert [row for row in rows if row[0].isupper()] == [rule["alert"] for rule in RULES]


def test_alerts__each__is_played_both_ways():
    played = yaml.safe_load((OPERATIONS / "alerts.test.yml").read_text())["tests"]
    names = {each["name"] for each in played}
    can_be_silent = {f"{rule['alert']} stays silent" for rule in RULES if rule["alert"] != "ServiceTrouble"}
    assert names == {f"{rule['alert']} fires" for rule in RULES} | can_be_silent  # its series is gone when all is well


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)")
@pytest.mark.parametrize(
    "arguments",
    [("test", "rules", "alerts.test.yml"), ("check", "config", "--syntax-only", "prometheus.yml")],
    ids=["alerts", "config"],
)
def test_promtool__our_files__are_right(arguments):
    done = subprocess.run(["promtool", *arguments], cwd=OPERATIONS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_grafana__dashboard__is_what_its_tool_writes_and_asks_for_metrics_that_exist():
    assert grafana.FILE.read_text() == grafana.text()
    queries = [target["expr"] for panel in grafana.dashboard()["panels"] for target in panel.get("targets", [])]
    assert queries
    assert {name for query in queries for name in named_in(query)} <= metric_names()


@pytest.mark.parametrize(
    "file", ["Dockerfile", "compose.yaml", "compose.fleet.yaml", "didyma.service", "kubernetes/node.yaml"]
)
def test_environment__every_name__is_a_setting(file):
    text = (OPERATIONS / file).read_text()
    names = set(re.findall(rf"\b{ENVIRONMENT_PREFIX}\w+", text))
    assert names
    assert names - set(OUTSIDE) <= {ENVIRONMENT_PREFIX + name.upper() for name in Settings.model_fields}


def test_image__what_it_copies__exists_and_is_let_through():
    lines = (OPERATIONS / "Dockerfile").read_text().splitlines()
    copied = {
        word for line in lines if line.startswith("COPY ") and "--from" not in line for word in line.split()[1:-1]
    }
    ignored = (OPERATIONS / "Dockerfile.dockerignore").read_text().splitlines()
    assert {line[1:] for line in ignored if line.startswith("!")} == copied
    assert all((ROOT / path).exists() for path in copied)


def test_containers__probes__ask_what_needs_no_token():
    node = next(yaml.safe_load_all((OPERATIONS / "kubernetes/node.yaml").read_text()))
    (container,) = node["spec"]["template"]["spec"]["containers"]
    assert {container[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe")} == {ALIVE}
    assert f"8547{ALIVE}'" in (OPERATIONS / "Dockerfile").read_text()


def test_containers__root__is_read_only_and_nobody_is_root():
    node = next(yaml.safe_load_all((OPERATIONS / "kubernetes/node.yaml").read_text()))["spec"]["template"]["spec"]
    assert node["securityContext"]["runAsNonRoot"]
    assert node["containers"][0]["securityContext"]["readOnlyRootFilesystem"]
    service = yaml.safe_load((OPERATIONS / "compose.yaml").read_text())["services"]["node"]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    users = re.findall(r"^(FROM|USER) (.*)$", (OPERATIONS / "Dockerfile").read_text(), re.MULTILINE)
    assert users[-1] == ("USER", "10001")


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A mounted secret, as Kubernetes lays it out: links to files that their group may read."""
    kept = tmp_path / "secret/..data"
    kept.mkdir(parents=True)
    key = Account.encrypt(b"\x01" * 32, "word", kdf="pbkdf2", iterations=10)
    for name, text in (("operator.json", json.dumps(key)), ("operator.password", "word\n")):
        (kept / name).write_text(text)
        (kept / name).chmod(0o440)
        (tmp_path / "secret" / name).symlink_to(f"..data/{name}")
    return tmp_path / "secret"


def test_kubernetes__keys__are_copied_so_that_the_node_takes_them(secret, tmp_path):
    pod = next(yaml.safe_load_all((OPERATIONS / "kubernetes/node.yaml").read_text()))["spec"]["template"]["spec"]
    with pytest.raises(InsecureKeyFile, match="open to others"):
        load_keystore(secret / "operator.json", secret / "operator.password")
    (before,) = pod["initContainers"]
    shell, option, script = before["command"]
    keys = tmp_path / "keys"
    keys.mkdir()
    command = [shell, option, script.replace("/keys", str(keys)).replace("/secret", str(secret))]
    subprocess.run(command, check=True)
    load_keystore(keys / "operator.json", keys / "operator.password").close()
    copied = {mount["mountPath"]: mount["name"] for mount in before["volumeMounts"]}
    seen = {mount["mountPath"]: mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert seen["/etc/didyma/keys"] == copied["/keys"]
    assert volumes[copied["/keys"]]["emptyDir"]["medium"] == "Memory"  # on no disk
    assert volumes[copied["/secret"]]["secret"]["secretName"] == "didyma-keys"
    assert copied["/secret"] not in seen.values()


def test_kubernetes__api__takes_calls_by_the_address_that_discovery_finds():
    pod = next(yaml.safe_load_all((OPERATIONS / "kubernetes/node.yaml").read_text()))["spec"]["template"]["spec"]
    environment = {each["name"]: each for each in pod["containers"][0]["env"]}
    assert "$(POD_IP)" in environment["DIDYMA_API_NAMES"]["value"].split(",")
    assert environment["POD_IP"]["valueFrom"]["fieldRef"]["fieldPath"] == "status.podIP"
    names = list(environment)
    assert names.index("POD_IP") < names.index("DIDYMA_API_NAMES")  # only earlier ones are put in


def test_compose__secrets_from_files__name_no_owner_or_mode_which_compose_would_not_heed():
    services = yaml.safe_load((OPERATIONS / "compose.yaml").read_text())["services"].values()
    secrets = [each for service in services for each in service["secrets"]]
    assert len(secrets) == len(services)
    assert not [each for each in secrets if {"uid", "gid", "mode"} & set(each)]


def test_fleet__compose__every_service_is_locked_up_and_the_database_is_reached_from_inside_alone():
    fleet = yaml.safe_load((OPERATIONS / "compose.fleet.yaml").read_text())
    added = {name: each for name, each in fleet["services"].items() if name != "node"}
    assert set(added) == {"postgres", "prepare", "worker"}
    for service in added.values():
        assert (service["read_only"], service["cap_drop"], service["networks"]) == (True, ["ALL"], ["fleet"])
        assert "ports" not in service
    assert fleet["networks"]["fleet"]["internal"]
    told = {
        each if isinstance(each, str) else each["source"] for s in fleet["services"].values() for each in s["secrets"]
    }
    assert told == set(fleet["secrets"])
    assert added["worker"]["secrets"] == ["fleet_worker_url"], "a worker knows no other role's password"


def test_fleet__autoscaler__follows_a_metric_that_exists():
    workers, scaler, policy = yaml.safe_load_all((OPERATIONS / "kubernetes/fleet.yaml").read_text())
    (asked,) = scaler["spec"]["metrics"]
    assert asked["external"]["metric"]["name"] in metric_names()
    assert scaler["spec"]["scaleTargetRef"]["name"] == workers["metadata"]["name"]
    assert policy["spec"]["podSelector"] == workers["spec"]["selector"]
    pod = workers["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    grace = int(container["args"][container["args"].index("--grace") + 1])
    assert pod["terminationGracePeriodSeconds"] > grace


@pytest.mark.parametrize(
    "words",
    [
        yaml.safe_load((OPERATIONS / "compose.fleet.yaml").read_text())["services"]["prepare"]["command"],
        yaml.safe_load((OPERATIONS / "compose.fleet.yaml").read_text())["services"]["worker"]["command"],
        next(yaml.safe_load_all((OPERATIONS / "kubernetes/fleet.yaml").read_text()))["spec"]["template"]["spec"][
            "containers"
        ][0]["args"],
    ],
    ids=["prepare", "worker", "worker in a cluster"],
)
def test_fleet__commands__are_ours(words):
    group, command, *rest = words
    options = {name for each in get_command(cli).commands[group].commands[command].params for name in each.opts}
    assert {word for word in rest if word.startswith("-")} <= options


def test_scrape__its_job__is_the_one_that_node_gone_asks_for():
    (job,) = yaml.safe_load((OPERATIONS / "prometheus.yml").read_text())["scrape_configs"]
    expression = next(rule["expr"] for rule in RULES if rule["alert"] == "NodeGone")
    assert expression == f'up{{job="{job["job_name"]}"}} == 0'
    for page in ("README.md", "kubernetes/node.yaml"):
        assert f'up{{job="{job["job_name"]}"}}' in (OPERATIONS / page).read_text()
    assert "DIDYMA_API_TOKEN}" in (OPERATIONS / "kubernetes/node.yaml").read_text().partition("\napiVersion")[0]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd__unit__is_valid_and_hardened(tmp_path):
    unit = tmp_path / "didyma.service"
    unit.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", UNIT, flags=re.MULTILINE))
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False
    )
    assert (verified.returncode, verified.stderr) == (0, "")
    asked = ["--offline=true", f"--threshold={HARDENED * 10:.0f}", unit]
    judged = subprocess.run(["systemd-analyze", "security", *asked], capture_output=True, text=True, check=False)
    assert judged.returncode == 0, judged.stdout


def test_systemd__open_files__are_enough_for_every_connection():
    assert int(re.search(r"^LimitNOFILE=(\d+)$", UNIT, re.MULTILINE)[1]) >= 100 * MOST_CONNECTIONS


def test_systemd__node_stops__before_it_is_killed():
    seconds = int(re.search(r"^TimeoutStopSec=(\d+)$", UNIT, re.MULTILINE)[1])
    assert seconds > 2 * Settings.model_fields["grace_seconds"].default
