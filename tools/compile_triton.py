"""Compiles every Triton kernel of the exact engine for the GPUs that people run, without one: part of `make check`.

    python tools/compile_triton.py

Each kernel is compiled as `triton_forward.TritonForward` launches it, for every tensor type, one token and many, and
heads of 128 numbers, for compute capability 8.0 (A100), 9.0 (H100) and 10.0 (B200). Prints registers a thread, bytes of
shared memory a block and bytes of spilled registers a thread. Fails if one does not compile, or spills.
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

from oracle.engines.exact import self_test
from oracle.engines.exact.quants import MATRIX_TYPES
from oracle.engines.exact.triton_forward import TritonForward
from oracle.engines.exact.triton_products import FEW

CAPABILITIES = (80, 90, 100)
HEAD_WIDTH = 128
ALIGNED = [["tt.divisibility", 16]]  # as every tensor's memory is
CUOBJDUMP = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
RESOURCES = re.compile(r"REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)")
TYPES = {torch.uint8: "*u8", torch.int16: "*i16", torch.int32: "*i32", torch.int64: "*i64"}


def sources() -> Iterator[tuple[str, Any]]:
    """Name and source of every launch whose types or constants differ."""
    seen = set()
    for family in self_test.KNOWN:
        model = TritonForward(self_test.model(family, HEAD_WIDTH), "cpu")
        for kernel, _, arguments in (*model.launches(1), *model.launches(FEW + 1)):
            types, constants, attributes = {}, {}, {}
            for index, (parameter, value) in enumerate(zip(kernel.params, arguments, strict=True)):
                if parameter.is_constexpr:
                    types[parameter.name], constants[parameter.name] = "constexpr", value
                elif isinstance(value, torch.Tensor):
                    types[parameter.name], attributes[(index,)] = TYPES[value.dtype], ALIGNED
                else:
                    types[parameter.name] = "i32"
            key = kernel.__name__, *types.values(), *constants.values()
            if key not in seen:
                seen.add(key)
                what = MATRIX_TYPES[constants["kind"]] if "kind" in constants else family
                yield f"{kernel.__name__} {what}", ASTSource(kernel, types, constants, attributes)


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
            print(f"{name:22} sm_{capability:<4} {registers:4} registers {shared:6} bytes shared {local:4} spilled")
            if local:
                spilled.append(f"{name} for sm_{capability}")
    if spilled:
        sys.exit(f"registers spill in {', '.join(spilled)}: choose smaller tiles")


if __name__ == "__main__":
    main()
