"""Which GPUs an engine may have: NVIDIA's claims, one rule each, and tools that fail in every way."""

import hashlib
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from eth_hash.auto import keccak

from oracle.attestation import gpu
from oracle.attestation.gpu import Appraisal, GpuAppraiser, Nvattest, gate, gpu_nonce, parse
from oracle.errors import GpuRefused

SIGNER = "0x00000000219ab540356cBB839Cbe05303d7705Fa"
CHALLENGE = keccak(b"a block")
NONCE = gpu_nonce(SIGNER, CHALLENGE)
UUIDS = ("GPU-6e2f5a8e-7d0a-4c1d-9a54-0f7b0d6c2a11", "GPU-b1f4c9d2-03aa-4f0e-8c77-5d1e9b3a4c22")
USES = ["0", "1"]
CHAIN = {
    "x-nvidia-cert-expiration-date": "9999-12-31T23:59:59Z",
    "x-nvidia-cert-status": "valid",
    "x-nvidia-cert-ocsp-status": "good",
    "x-nvidia-cert-revocation-reason": None,
}


def claims(nonce: bytes = NONCE, number: int = 0) -> dict[str, Any]:
    """Of an H100, as the verifier's claims 3.0 name them."""
    made: dict[str, Any] = {
        "eat_nonce": nonce.hex(),
        "measres": "success",
        "secboot": True,
        "dbgstat": "disabled",
        "hwmodel": "GH100 A01 GSP BROM",
        "ueid": str(4_000_000_000 + number),
        "oemid": "5703",
        "x-nvidia-device-type": "gpu",
        "x-nvidia-mismatch-measurement-records": None,
        "x-nvidia-gpu-arch-check": True,
        "x-nvidia-gpu-driver-version": "580.65.06",
        "x-nvidia-gpu-vbios-version": "96.00.5E.00.00",
        "x-nvidia-gpu-vbios-index-no-conflict": True,
        "x-nvidia-gpu-claims-version": "3.0",
    }
    for name in ("parsed", "nonce-match", "signature-verified", "cert-chain-fwid-match"):
        made[f"x-nvidia-gpu-attestation-report-{name}"] = True
    for rim in ("driver", "vbios"):
        for name in ("fetched", "signature-verified", "version-match", "measurements-available"):
            made[f"x-nvidia-gpu-{rim}-rim-{name}"] = True
    for chain in ("attestation-report", "driver-rim", "vbios-rim"):
        made[f"x-nvidia-gpu-{chain}-cert-chain"] = dict(CHAIN)
    return made


@dataclass(frozen=True)
class Double:
    """A `GpuAppraiser` of a guest whose GPUs are sealed, until a test changes what it says."""

    changes: Mapping[str, Any]
    """Claims of the second GPU."""
    without: Sequence[str] = ()

    def appraise(self, nonce: bytes) -> Appraisal:
        second = claims(nonce, 1) | self.changes
        for name in self.without:
            del second[name]
        return Appraisal(True, False, UUIDS, (claims(nonce, 0), second))


def appraised(**changes: Any) -> Appraisal:
    appraiser: GpuAppraiser = Double(changes)
    return appraiser.appraise(NONCE)


# THE RULE


def test_gate__all_gpus_sealed__gives_the_hash_of_their_claims():
    appraisal = appraised()
    digest = gate(appraisal, NONCE, USES)
    text = json.dumps([claims(number=0), claims(number=1)], sort_keys=True, separators=(",", ":"))
    assert digest == hashlib.sha256(text.encode()).digest()
    assert gate(appraisal, NONCE, list(UUIDS)) == digest


def test_gate__claims_nobody_asks_about__change_the_hash():
    assert gate(appraised(oemid="1"), NONCE, USES) != gate(appraised(), NONCE, USES)


WRONG = [
    ("eat_nonce", bytes(32).hex()),
    ("eat_nonce", "0x" + NONCE.hex()),
    ("measres", "fail"),
    ("measres", "Success"),
    ("measres", "not-run"),
    ("measres", None),
    ("dbgstat", "enabled"),
    ("dbgstat", "disabled-since-boot"),
    ("dbgstat", None),
    ("secboot", False),
    ("secboot", None),
    ("secboot", "true"),
    ("secboot", 1),
    ("x-nvidia-device-type", "nvswitch"),
    ("x-nvidia-gpu-arch-check", False),
    ("x-nvidia-gpu-attestation-report-parsed", False),
    ("x-nvidia-gpu-attestation-report-nonce-match", False),
    ("x-nvidia-gpu-attestation-report-signature-verified", False),
    ("x-nvidia-gpu-attestation-report-cert-chain-fwid-match", False),
    ("x-nvidia-gpu-driver-rim-fetched", False),
    ("x-nvidia-gpu-driver-rim-signature-verified", False),
    ("x-nvidia-gpu-driver-rim-version-match", False),
    ("x-nvidia-gpu-driver-rim-measurements-available", False),
    ("x-nvidia-gpu-vbios-rim-fetched", False),
    ("x-nvidia-gpu-vbios-rim-signature-verified", False),
    ("x-nvidia-gpu-vbios-rim-version-match", False),
    ("x-nvidia-gpu-vbios-rim-measurements-available", False),
    ("x-nvidia-gpu-vbios-index-no-conflict", False),
    ("x-nvidia-gpu-attestation-report-cert-chain", CHAIN | {"x-nvidia-cert-ocsp-status": "revoked"}),
    ("x-nvidia-gpu-attestation-report-cert-chain", CHAIN | {"x-nvidia-cert-status": "expired"}),
    ("x-nvidia-gpu-driver-rim-cert-chain", CHAIN | {"x-nvidia-cert-ocsp-status": "unknown"}),
    ("x-nvidia-gpu-vbios-rim-cert-chain", {}),
    ("x-nvidia-gpu-vbios-rim-cert-chain", "valid"),
    ("ueid", ""),
    ("ueid", 7),
    ("ueid", claims(number=0)["ueid"]),
]


@pytest.mark.parametrize(("name", "value"), WRONG, ids=str)
def test_gate__one_claim_of_one_gpu_is_wrong__is_refused_by_name(name, value):
    with pytest.raises(GpuRefused, match=f"GPU 1: the claim {name}"):
        gate(appraised(**{name: value}), NONCE, USES)


@pytest.mark.parametrize("name", [*gpu.REQUIRED, *gpu.CHAINS, "eat_nonce", "ueid"])
def test_gate__one_claim_is_missing__is_refused_by_name(name):
    with pytest.raises(GpuRefused, match=f"GPU 1: the claim {name} is None"):
        gate(Double({}, [name]).appraise(NONCE), NONCE, USES)


def test_gate__gpu_that_no_engine_uses_is_not_sealed__is_refused():
    """Nothing says which claims are those of which GPU."""
    with pytest.raises(GpuRefused, match="GPU 1: the claim secboot"):
        gate(appraised(secboot=False), NONCE, ["0"])


def test_gate__confidential_computing_off__is_refused():
    with pytest.raises(GpuRefused, match="confidential computing is off"):
        gate(replace(appraised(), confidential=False), NONCE, USES)


def test_gate__dev_tools_mode__is_refused():
    with pytest.raises(GpuRefused, match="dev-tools"):
        gate(replace(appraised(), dev_tools=True), NONCE, USES)


def test_gate__gpu_without_claims__is_refused():
    with pytest.raises(GpuRefused, match="shows 2 GPUs, but 1 were appraised"):
        gate(replace(appraised(), claims=(claims(),)), NONCE, USES)


def test_gate__claims_without_gpu__are_refused():
    with pytest.raises(GpuRefused, match="shows 1 GPUs, but 2 were appraised"):
        gate(replace(appraised(), uuids=UUIDS[:1]), NONCE, ["0"])


@pytest.mark.parametrize("use", ["2", "-1", "", "0,1", UUIDS[0][:8], "MIG-1"])
def test_gate__engine_would_use_a_gpu_that_is_not_shown__is_refused(use):
    with pytest.raises(GpuRefused, match="is none of the 2"):
        gate(appraised(), NONCE, ["0", use])


def test_gate__no_gpu_at_all__is_a_mistake():
    """Nothing to check must not pass for everything checked."""
    with pytest.raises(ValueError, match="no GPU"):
        gate(Appraisal(True, False, (), ()), NONCE, [])


def test_gate__evidence_for_another_key_or_block__is_refused():
    others = gpu_nonce("0x" + "11" * 20, CHALLENGE), gpu_nonce(SIGNER, keccak(b"another block"))
    for other in others:
        with pytest.raises(GpuRefused, match="GPU 0: the claim eat_nonce"):
            gate(Double({}).appraise(other), NONCE, USES)


def test_gpu_nonce__is_the_hash_of_address_and_challenge():
    assert hashlib.sha256(bytes.fromhex(SIGNER[2:]) + CHALLENGE).digest() == NONCE
    with pytest.raises(ValueError, match="31 bytes"):
        gpu_nonce(SIGNER, CHALLENGE[:31])


# WHAT THE VERIFIER PRINTS


def printed(**changes: Any) -> bytes:
    made = [claims(number=0), claims(number=1)]
    return json.dumps({"result_code": 0, "result_message": "Ok", "claims": made, "detached_eat": []} | changes).encode()


def test_parse__success__gives_claims():
    assert parse(0, printed()) == (claims(number=0), claims(number=1))


GARBAGE = [
    (b"", "no JSON"),
    (b"\xff\xfe", "no JSON"),
    (b"Devices:\n- Device 0:\n", "no JSON"),
    (printed() + b"{}", "no JSON"),
    (b'{"result_code": 0, "result_code": 0, "claims": []}', "no JSON"),
    (printed().replace(b'"secboot": true', b'"secboot": false, "secboot": true'), "no JSON"),
    (b'{"result_code": NaN}', "no JSON"),
    (b"[" * 100_000, "no JSON"),
    (b'{"result_code": ' + b"9" * 5000 + b"}", "no JSON"),
    (b"[]", "no JSON object"),
    (b"{}", "result code None"),
    (printed(result_code=False), "result code False"),
    (printed(result_code="0"), "result code '0'"),
    (printed(result_code=12, result_message="Overall Attestation Result is False"), "Overall Attestation Result"),
    (printed(claims={}), "no list of claims"),
    (printed(claims=None), "no list of claims"),
    (printed(claims=[claims(), "gpu"]), "no list of claims"),
]


@pytest.mark.parametrize(("output", "why"), GARBAGE, ids=range(len(GARBAGE)))
def test_parse__anything_else__is_refused(output, why):
    with pytest.raises(GpuRefused, match=why):
        parse(0, output)


def test_parse__failed_though_it_prints_good_claims__is_refused():
    with pytest.raises(GpuRefused, match="status 12"):
        parse(12, printed())


# THE TOOLS

SMI = """
case "$*" in
"conf-compute -f") echo "CC status: ON" ;;
"conf-compute -d") echo "DevTools Mode: OFF" ;;
"--query-gpu=uuid --format=csv,noheader") echo "UUIDS" ;;
*) exit 2 ;;
esac
"""
ATTEST = """
assert sys.argv[1:6] == ["attest", "--device", "gpu", "--verifier", "local"]
assert sys.argv[6] == "--nonce" and sys.argv[8:] == ["--format", "json"]
assert not [name for name in os.environ if name.startswith("NVAT_")]
print("a line of its log", file=sys.stderr)
print(PRINTED.replace("NONCE", sys.argv[7]))
"""


class Tools:
    """A folder on PATH, with programs by the names of NVIDIA's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shell("nvidia-smi", SMI.replace("UUIDS", "\n".join(UUIDS)))
        text = printed().decode().replace(NONCE.hex(), "NONCE")
        self.install("nvattest", f"#!{sys.executable} -I\nimport os, sys\nPRINTED = {text!r}\n{ATTEST}")

    def shell(self, name: str, code: str) -> None:
        self.install(name, f"#!/bin/sh\nPATH=/usr/bin:/bin\n{code}\n")

    def install(self, name: str, text: str) -> None:
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o755)

    def answer(self, was: str, now: str) -> None:
        """Changes what nvidia-smi prints."""
        text = (self.folder / "nvidia-smi").read_text()
        assert was in text
        self.install("nvidia-smi", text.replace(was, now))


@pytest.fixture
def tools(tmp_path, monkeypatch) -> Tools:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("NVAT_RIM_SERVICE_BASE_URL", "https://elsewhere.example")
    return Tools(tmp_path)


def test_nvattest__guest_with_sealed_gpus__passes_the_gate(tools):
    appraisal = Nvattest().appraise(NONCE)
    assert appraisal == Double({}).appraise(NONCE)
    assert gate(appraisal, NONCE, USES) == gate(appraised(), NONCE, USES)


def test_nvattest__nonce__is_the_one_it_is_asked_for(tools):
    other = bytes(range(32))
    assert [each["eat_nonce"] for each in Nvattest().appraise(other).claims] == [other.hex()] * 2
    with pytest.raises(ValueError, match="31 bytes"):
        Nvattest().appraise(NONCE[:31])


def test_nvattest__driver_says_off_or_dev_tools__is_told_to_the_gate(tools):
    tools.answer("CC status: ON", "CC status: OFF")
    tools.answer("DevTools Mode: OFF", "DevTools Mode: ON")
    appraisal = Nvattest().appraise(NONCE)
    assert (appraisal.confidential, appraisal.dev_tools) == (False, True)


@pytest.mark.parametrize("name", ["nvattest", "nvidia-smi"])
def test_nvattest__tool_is_not_installed__is_refused(tools, name):
    (tools.folder / name).unlink()
    with pytest.raises(GpuRefused, match=f"{name} is not installed"):
        Nvattest().appraise(NONCE)


@pytest.mark.parametrize("name", ["nvattest", "nvidia-smi"])
def test_nvattest__tool_does_not_start__is_refused(tools, name):
    tools.install(name, "#!/nowhere/at/all\n")
    with pytest.raises(GpuRefused, match=f"{name} cannot be started"):
        Nvattest().appraise(NONCE)


def test_nvattest__verifier_fails__is_refused_with_its_message(tools):
    tools.shell("nvattest", 'echo \'{"result_code": 300, "result_message": "NVML init failed"}\'; exit 44')
    with pytest.raises(GpuRefused, match="status 44, result code 300: 'NVML init failed'"):
        Nvattest().appraise(NONCE)


def test_nvattest__verifier_is_killed__is_refused(tools):
    tools.shell("nvattest", "kill -9 $$")
    with pytest.raises(GpuRefused, match="status -9 and printed no JSON"):
        Nvattest().appraise(NONCE)


def test_nvattest__driver_tool_fails__is_refused_with_what_it_prints(tools):
    tools.shell("nvidia-smi", "echo NVIDIA-SMI has failed; exit 9")
    with pytest.raises(GpuRefused, match="status 9: 'NVIDIA-SMI has failed'"):
        Nvattest().appraise(NONCE)


@pytest.mark.parametrize(
    "text", ["", "CC status:", "CC status: MAYBE", "CC status: ON\nCC status: OFF", "no CC status: ON", "\x1b[2J"]
)
def test_nvattest__driver_tool_prints_something_else__is_refused(tools, text):
    tools.answer("CC status: ON", text)
    with pytest.raises(GpuRefused, match="does not say what the CC status is"):
        Nvattest().appraise(NONCE)


HANGS = {
    "silent": "sleep 60",
    "after its output": "echo 1; exec >&-; sleep 60",
    "in a child that keeps the output": "sleep 60 & exit 0",
    "printing slowly": "while :; do echo 1; sleep 0.05; done",
}


def running(group: int) -> list[int]:
    """Processes of that group which have not ended."""
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = file.read_text().rpartition(")")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(its_group) == group and state not in "ZX":
            found.append(int(file.parent.name))
    return found


def ends(group: int) -> None:
    """Waits: a killed process takes its moment."""
    deadline = time.monotonic() + 10
    while running(group):
        assert time.monotonic() < deadline, running(group)
        time.sleep(0.01)


@pytest.mark.parametrize("code", HANGS.values(), ids=HANGS.keys())
def test_nvattest__tool_hangs__is_refused_in_time_and_killed(tools, code):
    note = tools.folder / "pid"
    tools.shell("nvattest", f"echo $$ > {note}\n{code}")
    started = time.monotonic()
    with pytest.raises(GpuRefused, match="nvattest took longer than 1 s"):
        Nvattest(timeout_seconds=1).appraise(NONCE)
    assert time.monotonic() - started < 30
    ends(int(note.read_text()))


def test_nvattest__tool_prints_without_end__is_refused_and_killed(tools):
    note = tools.folder / "pid"
    tools.shell("nvattest", f"echo $$ > {note}\nwhile :; do head -c 65536 /dev/zero; done")
    with pytest.raises(GpuRefused, match="more than 4194304 bytes"):
        Nvattest().appraise(NONCE)
    ends(int(note.read_text()))
