"""The C kernels on ARM, emulated: the same bits as here, from the plain variant and from every one for ARM's vectors.

The kernels are built by Debian's cross compiler; an ARM Python runs them under QEMU, as a node would. `tools/arm` gets
all that. Where it is missing these tests skip and say so.
"""

import base64
import json
import shutil
import subprocess
import sysconfig
import zlib
from pathlib import Path

import numpy as np
import pytest
from exact.extremes import extreme
from exact.make_vectors import FOLDER, FORWARD

from oracle.engines.exact import operators as ops
from oracle.engines.exact.constants import INT32
from oracle.engines.exact.cpu_kernels import Kernels
from oracle.engines.exact.quants import MATRIX_TYPES

ROOT = Path(__file__).resolve().parents[2]
KERNELS = ROOT / "oracle" / "engines" / "exact" / "kernels"
ARM = ROOT / ".build" / "arm"
"""The root of an ARM machine's files, made by `tools/arm`."""
CC, QEMU = "aarch64-linux-gnu-gcc", "qemu-aarch64"
PROCESSORS = {"cortex-a72": ["plain"], "neoverse-n1": ["plain", "neon"], "max": ["plain", "neon", "i8mm"]}
"""What QEMU emulates: without 8-bit dot products, with them, and with 8-bit matrix products; and what each runs."""

pytestmark = pytest.mark.skipif(
    not (shutil.which(CC) and shutil.which(QEMU) and (ARM / "done").exists()),
    reason=f"needs {CC}, {QEMU} and a Python for ARM; tools/arm gets them on Debian",
)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The package's files, with the kernels built for ARM."""
    folder = tmp_path_factory.mktemp("package")
    shutil.copytree(ROOT / "oracle", folder / "oracle", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    (folder / "on_arm.py").write_bytes(Path(__file__).with_name("on_arm.py").read_bytes())
    flags = ["-O3", "-std=gnu11", "-fvisibility=hidden", "-ffp-contract=off", "-pthread", "-shared", "-fPIC"]
    headers = sysconfig.get_path("include")
    sources = sorted(map(str, KERNELS.glob("*.c")))
    target = folder / "oracle" / "engines" / "exact" / "_kernels.so"
    subprocess.run([CC, *flags, "-Werror", "-I", headers, "-o", target, *sources, "-lm"], check=True)
    return folder


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """Models and matrices, with what is right for them."""
    folder, arrays = tmp_path_factory.mktemp("cases"), {}
    for name in FORWARD:
        vector = json.loads((FOLDER / f"forward-{name}.json").read_text())
        (folder / f"{name}.gguf").write_bytes(zlib.decompress(base64.b64decode(vector["model"])))
        arrays |= {f"{name} tokens": vector["tokens"], f"{name} logits": np.array(vector["logits"], np.int32)}
    rng = np.random.default_rng(8)
    for kind, name in MATRIX_TYPES.items():
        matrix = extreme(kind, 37, 1024, kind)
        x = rng.integers(-(2**31) + 1, 2**31, (15, 1024)) >> rng.integers(0, 31, (15, 1))
        x[:3] = [[2**31 - 1], [-(2**31) + 1], [0]]
        bias, down = rng.integers(-(2**31), 2**31, 37), matrix.bits + 2
        y = ops.linear(ops.quantize(x), matrix.integers(), 20, 18, bias, INT32, matrix.bits).astype(np.int32)
        arrays |= {f"{name} raw": matrix.raw, f"{name} x": x.astype(np.int32), f"{name} bias": bias, f"{name} y": y}
        arrays[f"{name} numbers"] = np.array([kind, matrix.bits, down, (np.abs(y.astype(np.int64)) == INT32).sum()])
    arrays["matrices"] = np.array(list(MATRIX_TYPES.values()))
    arrays["draws"] = Kernels(0, 1).draws(bytes(range(32)), 7, 1000)
    np.savez(folder / "cases.npz", **arrays)
    return folder


def emulated(package, cases, processor):
    python = next((ARM / "usr" / "bin").glob("python3.*"))
    variables = {"PYTHONHOME": ARM / "usr", "PYTHONPATH": f"{package}:{ARM / 'packages'}", "OPENBLAS_NUM_THREADS": "1"}
    given = [part for name, value in variables.items() for part in ("-E", f"{name}={value}")]
    command = [QEMU, "-cpu", processor, "-L", ARM, *given, python, package / "on_arm.py", cases]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("processor", PROCESSORS)
def test_kernels__on_an_arm_processor__every_variant_it_runs_gives_our_bits(package, cases, processor):
    found = emulated(package, cases, processor)
    assert found["variants"] == PROCESSORS["max"]
    assert found["variants"][: found["runs"]] == PROCESSORS[processor]
    assert found["wrong"] == [[]] * found["runs"]


def test_kernels__one_bit_of_what_is_right_is_changed__is_told(package, cases, tmp_path):
    arrays = dict(np.load(cases / "cases.npz"))
    for name in ("llama logits", "Q4_K y", "draws"):
        arrays[name].flat[-1] ^= 1
    shutil.copytree(cases, tmp_path, dirs_exist_ok=True)
    np.savez(tmp_path / "cases.npz", **arrays)
    expected = ["llama, 6 tokens at a time", "llama, 1 tokens at a time", "linear, Q4_K", "draws"]
    assert emulated(package, tmp_path, "cortex-a72")["wrong"] == [expected]
