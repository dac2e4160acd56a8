"""Measurements. They use the tests' rig: chains, worlds, engines without a model."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
