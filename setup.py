"""Builds the exact engine's CPU kernels with any C compiler; without one the engine falls back to torch, slower.

Each instruction set's variant is compiled for itself and chosen when the program starts, so a wheel runs anywhere.
"""

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

KERNELS = Path("oracle/engines/exact/kernels")
AMX = """
#pragma GCC target("amx-tile,amx-int8")
#include <immintrin.h>
void probe(void) { _tile_zero(0); _tile_dpbusd(0, 1, 2); _tile_release(); }
"""


class SideBySide(build_ext):
    """Compiles an extension's files at the same time: each variant takes many seconds."""

    def build_extensions(self) -> None:
        compile_some = self.compiler.compile
        if not self.knows_amx():
            for extension in self.extensions:
                extension.define_macros.append(("WITHOUT_AMX", None))

        def compile_all(sources: list[str], **options: Any) -> list[str]:
            with ThreadPoolExecutor(os.cpu_count()) as threads:
                found = threads.map(lambda source: compile_some([source], **options), sources)
                return [made for several in found for made in several]

        self.compiler.compile = compile_all
        super().build_extensions()

    def knows_amx(self) -> bool:
        """Whether compiler and assembler know Intel's tiles; other processors' do not, nor do old ones."""
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "amx.c")
            source.write_text(AMX)
            try:
                self.compiler.compile([str(source)], output_dir=folder, extra_postargs=["-Werror"])
            except CompileError:
                return False
        return True


setup(
    cmdclass={"build_ext": SideBySide},
    ext_modules=[
        Extension(
            "oracle.engines.exact._kernels",
            sources=sorted(str(path) for path in KERNELS.glob("*.c")),
            depends=sorted(str(path) for path in KERNELS.glob("*.h")),
            extra_compile_args=["-O3", "-std=gnu11", "-fvisibility=hidden", "-ffp-contract=off", "-pthread"],
            extra_link_args=["-pthread"],
            libraries=["m"],
            optional=True,
        )
    ],
)
