"""A hostile document of many nested lists is refused, and does not end the process that reads it."""

import subprocess
import sys

READS = """
import json, sys
ordinary = sys.getrecursionlimit()
import oracle.cli, py_ecc, eth_account, web3
assert sys.getrecursionlimit() == ordinary, sys.getrecursionlimit()
try:
    json.loads("[" * 1_000_000)
except RecursionError:
    print("refused")
"""


def test_json__nested_a_million_times__is_refused_whatever_libraries_set():
    done = subprocess.run([sys.executable, "-c", READS], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "refused\n"), done.stderr
