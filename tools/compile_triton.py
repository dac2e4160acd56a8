"""Compiles every Triton kernel of the exact engine for the GPUs that people run, without one: part of `make check`.

    python tools/compile_triton.py

Each kernel is compiled as `triton_kernels.product` launches it for each layout of scales and minima that a tensor type
has, for compute capability 8.0 (A100), 9.0 (H100) and 10.0 (B200). Prints registers a thread, bytes of shared memory a
block and bytes of spilled registers a thread. Fails if one does not compile, or spills.
"""

# mypy: disable-error-code="import-not-found,import-untyped"
# Triton has no types, and is not installed everywhere.

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from oracle.engines.exact import self_test, triton_kernels
from oracle.engines.exact.quants import F16, FLOATS, MATRIX_TYPES
from oracle.engines.exact.torch_forward import Quants

CAPABILITIES = (80, 90, 100)
CUOBJDUMP = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
RESOURCES = re.compile(r"REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)")
TYPES = {torch.int8: "*i8", torch.int16: "*i16", torch.int32: "*i32", torch.int64: "*i64"}


def sources() -> Iterator[tuple[str, Any]]:
    """Name and source of every launch whose types or constants differ."""
    seen = set()
    for kind, name in MATRIX_TYPES.items():
        if kind == F16 or kind in FLOATS:  # multiplied by torch
            continue
        w = Quants(self_test.matrix("some", kind, 16, 512), "cpu")
        for tokens in (1, triton_kernels.FEW + 1):
            x, out = torch.zeros(tokens, 512, dtype=torch.int64), torch.zeros(tokens, 16, dtype=torch.int64)
            kernel, _, arguments = triton_kernels.launch(x, w.q, w.scale, w.minimum, out)
            types, constants = {}, {}
            for parameter, value in zip(kernel.params, arguments, strict=True):
                if parameter.is_constexpr or value is None:
                    types[parameter.name], constants[parameter.name] = "constexpr", value
                else:
                    types[parameter.name] = TYPES[value.dtype] if isinstance(value, torch.Tensor) else "i32"
            key = kernel.__name__, *types.values(), *constants.values()
            if key not in seen:
                seen.add(key)
                yield f"{kernel.__name__} {name}", ASTSource(kernel, types, constants)


def used(source: Any, capability: int) -> tuple[int, int, int]:
    """Registers a thread, bytes of shared memory a block, spilled bytes a thread."""
    compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32))
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        Path(file.name).write_bytes(compiled.asm["cubin"])
        shown = subprocess.run([CUOBJDUMP, "-res-usage", file.name], capture_output=True, text=True, check=True).stdout
    found = RESOURCES.search(shown)
    if found is None:
        raise RuntimeError(f"cuobjdump shows no resources: {shown}")
    registers, _, _, local = map(int, found.groups())
    return registers, compiled.metadata.shared, local


def main() -> None:
    spilled = []
    for name, source in sources():
        for capability in CAPABILITIES:
            registers, shared, local = used(source, capability)
            print(f"{name:14} sm_{capability:<4} {registers:4} registers {shared:6} bytes shared {local:4} spilled")
            if local:
                spilled.append(f"{name} for sm_{capability}")
    if spilled:
        sys.exit(f"registers spill in {', '.join(spilled)}: choose smaller tiles")


if __name__ == "__main__":
    main()
