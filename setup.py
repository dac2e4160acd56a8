"""Builds the exact engine's CPU kernels with any C compiler; without one the engine falls back to torch, slower.

Each instruction set's variant is compiled for itself and chosen when the program starts, so a wheel runs anywhere.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

KERNELS = Path("oracle/engines/exact/kernels")


class SideBySide(build_ext):
    """Compiles an extension's files at the same time: each variant takes many seconds."""

    def build_extensions(self) -> None:
        compile_some = self.compiler.compile

        def compile_all(sources: list[str], **options: Any) -> list[str]:
            with ThreadPoolExecutor(os.cpu_count()) as threads:
                found = threads.map(lambda source: compile_some([source], **options), sources)
                return [made for several in found for made in several]

        self.compiler.compile = compile_all
        super().build_extensions()


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
