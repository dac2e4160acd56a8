"""Didyma's node: follows the chain, answers its turns, checks others' answers, disputes wrong ones."""

import contextlib
import importlib
import sys

ENVIRONMENT_PREFIX = "DIDYMA_"
"""Of every environment variable that sets something here."""

# py_ecc, which eth-account imports, raises Python's limit of recursion for the whole process, beyond what CPython's own
# C code can stand: a JSON document of many nested lists would end the process that reads it. It does so once, so here.
_ordinary = sys.getrecursionlimit()
with contextlib.suppress(ImportError):
    importlib.import_module("py_ecc")
sys.setrecursionlimit(_ordinary)
