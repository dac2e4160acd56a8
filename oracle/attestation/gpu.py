"""The gate before a GPU: no engine gets one that is not known to be sealed.

NVIDIA's verifier appraises each GPU's signed evidence inside the guest, against reference values and certificates that
it fetches; `gate` then says which claims are enough. That the rule was applied follows from the measurement of this
program: nobody outside needs to see the claims, whose hash is kept. The nonce ties them to the key and to the chain's
challenge, so claims of another day or another guest do not pass.

The claims name no UUID, so nothing ties one of them to one value of CUDA_VISIBLE_DEVICES. Hence every GPU that the
driver shows must pass, also those that no engine uses. A GPU that appears later was not appraised: pass the gate again
before an engine is started anew. Protected PCIe, NVIDIA's mode for eight Hopper GPUs with switches, does not encrypt
NVLink and is no confidential computing here: the driver says OFF.

Not tried on hardware: no such guest was at hand. Options, exit status, output and claims (versions 3.0 and 4.0) are
those of github.com/NVIDIA/attestation-sdk at commit 443b9e3a, `nv-attestation-cli/src/attest.cpp` and `utils.cpp`,
`nv-attestation-sdk-cpp/src/gpu/claims.cpp` and `verify.cpp`; described in NVIDIA's command reference
(docs.nvidia.com/attestation/nv-attestation-sdk-cpp, sdk-cli) and in its claims guide
(docs.nvidia.com/attestation/advanced-documentation, gpu_claims). What `nvidia-smi conf-compute` prints is from NVIDIA's
deployment guides and logs of driver 595. Making the GPUs ready (`nvidia-smi conf-compute -srs 1`) needs root: the
image does it.
"""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

from eth_typing import ChecksumAddress
from eth_utils.address import to_canonical_address

from oracle.errors import GpuRefused

NONCE_BYTES = 32
MAX_OUTPUT_BYTES = 4 << 20  # one GPU's claims are about 3 kB, and its token as much again
PASSED_ON = ("PATH", "LD_LIBRARY_PATH")
"""Of the environment: not what could send the verifier to other services (NVAT_*)."""
ON_OFF = {"ON": True, "OFF": False}

REPORT = "x-nvidia-gpu-attestation-report-"
DRIVER = "x-nvidia-gpu-driver-rim-"
VBIOS = "x-nvidia-gpu-vbios-rim-"
REQUIRED: Mapping[str, object] = {
    "x-nvidia-device-type": "gpu",
    "measres": "success",
    "dbgstat": "disabled",
    "secboot": True,
    "x-nvidia-gpu-arch-check": True,
    REPORT + "parsed": True,
    REPORT + "signature-verified": True,
    REPORT + "nonce-match": True,
    REPORT + "cert-chain-fwid-match": True,
    DRIVER + "fetched": True,
    DRIVER + "signature-verified": True,
    DRIVER + "version-match": True,
    DRIVER + "measurements-available": True,
    VBIOS + "fetched": True,
    VBIOS + "signature-verified": True,
    VBIOS + "version-match": True,
    VBIOS + "measurements-available": True,
    "x-nvidia-gpu-vbios-index-no-conflict": True,
}
"""Claims of each GPU and their only good value. NVIDIA's own verdict is `measres` alone."""
CHAINS = (REPORT + "cert-chain", DRIVER + "cert-chain", VBIOS + "cert-chain")
REQUIRED_OF_CHAINS: Mapping[str, object] = {"x-nvidia-cert-status": "valid", "x-nvidia-cert-ocsp-status": "good"}


@dataclass(frozen=True)
class Appraisal:
    """What this guest's driver and NVIDIA's verifier say of its GPUs."""

    confidential: bool
    """The driver runs in confidential computing mode."""
    dev_tools: bool
    """That mode's variant for debugging, which protects nothing."""
    uuids: tuple[str, ...]
    """Of all GPUs that the driver shows."""
    claims: tuple[Mapping[str, Any], ...]
    """Of each GPU, in no known order, as NVIDIA names them; plain JSON values."""


class GpuAppraiser(Protocol):
    """Has evidence of all GPUs made and appraised: `Nvattest`."""

    def appraise(self, nonce: bytes) -> Appraisal:
        """nonce: 32 bytes that the evidence is to contain. Raises GpuRefused."""


def gpu_nonce(signer: ChecksumAddress, challenge_hash: bytes) -> bytes:
    """32 bytes that tie evidence to the key made in this guest and to the block that its registration names."""
    if len(challenge_hash) != 32:
        raise ValueError(f"a challenge hash of {len(challenge_hash)} bytes, not 32")
    return hashlib.sha256(to_canonical_address(signer) + challenge_hash).digest()


def gate(appraisal: Appraisal, nonce: bytes, uses: Sequence[str]) -> bytes:
    """SHA-256 of the claims (JSON, keys sorted, no spaces) if an engine may have the GPUs. Raises GpuRefused.

    uses: values for CUDA_VISIBLE_DEVICES, one a worker: a GPU's index or its UUID. At least one.
    """
    if not uses:
        raise ValueError("there is no GPU to let an engine have")
    if not appraisal.confidential:
        raise GpuRefused("confidential computing is off: the host must enable it on the GPUs")
    if appraisal.dev_tools:
        raise GpuRefused("the GPUs are in dev-tools mode, which can be looked into: the host must set the mode `on`")
    for use in uses:
        _check_shown(use, appraisal.uuids)
    if len(appraisal.claims) != len(appraisal.uuids):
        raise GpuRefused(f"the driver shows {len(appraisal.uuids)} GPUs, but {len(appraisal.claims)} were appraised")
    seen: dict[str, int] = {}
    for index, claims in enumerate(appraisal.claims):
        _check_claims(index, claims, nonce)
        first = seen.setdefault(claims["ueid"], index)
        if first != index:
            _refuse(index, "ueid", claims["ueid"], f"another than that of GPU {first}")
    return hashlib.sha256(_canonical(appraisal.claims)).digest()


def _check_shown(use: str, uuids: Sequence[str]) -> None:
    """One device, and one that the driver shows: an empty value would hide all, a list would name several."""
    if use not in uuids and use not in map(str, range(len(uuids))):
        raise GpuRefused(f"GPU {use!r} is none of the {len(uuids)} that the driver shows: {', '.join(uuids)}")


def _check_claims(index: int, claims: Mapping[str, Any], nonce: bytes) -> None:
    if claims.get("eat_nonce") != nonce.hex():
        _refuse(index, "eat_nonce", claims.get("eat_nonce"), nonce.hex())
    for name, good in REQUIRED.items():
        _check_claim(index, name, claims.get(name), good)
    for chain in CHAINS:
        found = claims.get(chain)
        if not isinstance(found, Mapping):
            _refuse(index, chain, found, "an object")
        for name, good in REQUIRED_OF_CHAINS.items():
            _check_claim(index, f"{chain} {name}", found.get(name), good)
    ueid = claims.get("ueid")
    if not isinstance(ueid, str) or not ueid:
        _refuse(index, "ueid", ueid, "a text")


def _check_claim(index: int, name: str, found: object, good: object) -> None:
    if type(found) is not type(good) or found != good:  # 1 is not true
        _refuse(index, name, found, good)


def _refuse(index: int, name: str, found: object, wanted: object) -> NoReturn:
    raise GpuRefused(f"GPU {index}: the claim {name} is {ascii(found)[:100]}, not {wanted}")


def _canonical(claims: Sequence[Mapping[str, Any]]) -> bytes:
    return json.dumps([dict(each) for each in claims], sort_keys=True, separators=(",", ":")).encode()


@dataclass(frozen=True)
class Nvattest:
    """A `GpuAppraiser` by NVIDIA's tools `nvattest` and `nvidia-smi`, found on PATH."""

    timeout_seconds: float = 300
    """For each tool; the verifier fetches reference values and asks for revocations over the network."""

    def appraise(self, nonce: bytes) -> Appraisal:
        if len(nonce) != NONCE_BYTES:
            raise ValueError(f"a nonce of {len(nonce)} bytes, not {NONCE_BYTES}")
        confidential = self._switch("-f", "CC status")
        dev_tools = self._switch("-d", "DevTools Mode")
        uuids = tuple(self._smi("--query-gpu=uuid", "--format=csv,noheader"))
        options = ("--device", "gpu", "--verifier", "local", "--nonce", nonce.hex(), "--format", "json")
        return Appraisal(confidential, dev_tools, uuids, parse(*self._run("nvattest", "attest", *options)))

    def _switch(self, option: str, label: str) -> bool:
        """Whether a line such as `CC status: ON` says so."""
        lines = self._smi("conf-compute", option)
        values = [line.removeprefix(label + ":").strip() for line in lines if line.startswith(label + ":")]
        if len(values) != 1 or values[0] not in ON_OFF:
            raise GpuRefused(f"`nvidia-smi conf-compute {option}` does not say what the {label} is: {_shown(lines)}")
        return ON_OFF[values[0]]

    def _smi(self, *arguments: str) -> list[str]:
        """Lines of its output."""
        status, output = self._run("nvidia-smi", *arguments)
        lines = [line.strip() for line in output.decode(errors="replace").splitlines() if line.strip()]
        if status != 0:
            raise GpuRefused(f"`nvidia-smi {' '.join(arguments)}` ended with status {status}: {_shown(lines)}")
        return lines

    def _run(self, tool: str, *arguments: str) -> tuple[int, bytes]:
        """Exit status and output. Raises GpuRefused where there is no tool, no end, or no end of output."""
        path = shutil.which(tool)
        if path is None:
            raise GpuRefused(f"{tool} is not installed: GPUs in a TEE need NVIDIA's driver and attestation SDK")
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        try:
            process = subprocess.Popen(
                [path, *arguments],
                env={**environment, "LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # its own process group: killed whole
            )
        except OSError as error:
            raise GpuRefused(f"{path} cannot be started: {error.strerror}") from error
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            _kill(process)

        timer = threading.Timer(self.timeout_seconds, expire)
        timer.start()
        with process:
            try:
                assert process.stdout is not None
                output = process.stdout.read(MAX_OUTPUT_BYTES + 1)
                if len(output) > MAX_OUTPUT_BYTES:
                    raise GpuRefused(f"{tool} prints more than {MAX_OUTPUT_BYTES} bytes; run it by hand")
                status = process.wait()
            finally:
                timer.cancel()
                _kill(process)
        if expired.is_set():
            raise GpuRefused(f"{tool} took longer than {self.timeout_seconds:g} s; run it by hand to see why")
        return status, output


def parse(status: int, output: bytes) -> tuple[Mapping[str, Any], ...]:
    """Each GPU's claims from what `nvattest attest --format json` printed. Raises GpuRefused.

    status: its exit status, which is its result code: 0, or e.g. 12 where measurements are not NVIDIA's.
    """
    try:
        result = json.loads(output.decode(), object_pairs_hook=_object, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise GpuRefused(f"nvattest ended with status {status} and printed no JSON; run it by hand") from error
    if not isinstance(result, dict):
        raise GpuRefused(f"nvattest ended with status {status} and printed no JSON object; run it by hand")
    code = result.get("result_code")
    if status != 0 or type(code) is not int or code != 0:
        message = ascii(result.get("result_message"))[:200]
        raise GpuRefused(f"nvattest ended with status {status}, result code {ascii(code)[:20]}: {message}")
    claims = result.get("claims")
    if not isinstance(claims, list) or not all(isinstance(each, dict) for each in claims):
        raise GpuRefused("nvattest printed no list of claims; is it of another version?")
    return tuple(claims)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A name that occurs twice could mean one thing here and another elsewhere."""
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a name occurs twice")
    return made


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _shown(lines: Sequence[str]) -> str:
    return ascii(" ".join(lines))[:200]


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """Kills it with all that it started, unless it was waited for: its number may then be another process's."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
