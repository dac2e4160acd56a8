"""The small model that comes with the package, for the demo and development networks; docs/model.md describes it."""

from pathlib import Path

SHIPPED_MODEL = Path(__file__).with_name("didyma-tiny.json")
"""Its description; the file lies beside it."""
