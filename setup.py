"""Builds the exact engine's CPU kernels with any C compiler; without one the engine falls back to torch, slower.

Each instruction set's variant is compiled for itself and chosen when the program starts, so a wheel runs anywhere.
"""

from pathlib import Path

from setuptools import Extension, setup

KERNELS = Path("oracle/engines/exact/kernels")

setup(
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
    ]
)
