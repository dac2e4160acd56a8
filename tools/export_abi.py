"""Write the ABIs and creation code that the node needs from forge's build into `oracle/abi/`.

Run by `make abi` after `forge build`; a test fails when what is committed is stale.
"""

import json
from pathlib import Path

from eth_utils.crypto import keccak

ROOT = Path(__file__).resolve().parent.parent
# The node talks to the first fourteen; a development chain also deploys the families of operators and the examples,
# and dapps test with the mock.
CONTRACTS = (
    *("ModelRegistry", "Oracle", "Seats", "Lens", "PanelArbiter", "DisputeGame", "Referee", "TokenReferee"),
    *("TextReferee", "AnswerReferee", "Refutations"),
    *("AttestedAnswers", "DcapVerifier", "DcapCollateral"),
    *("LinearReferee", "RowReferee", "AttentionReferee", "Critic", "Correspondent", "Wager", "MockOracle"),
)


def exported(name: str) -> str:
    """The file content for one contract: sorted, so that equal builds give equal files."""
    build = json.loads((ROOT / f".build/forge/{name}.sol/{name}.json").read_text())
    abi = sorted(build["abi"], key=lambda entry: (entry["type"], entry.get("name", "")))
    runtime = build["deployedBytecode"]
    gaps = sorted(
        (gap["start"], gap["length"]) for gaps in runtime.get("immutableReferences", {}).values() for gap in gaps
    )
    content = {
        "abi": abi,
        "bytecode": build["bytecode"]["object"],
        # Of the code on the chain, with zeros in place of immutables: what a node compares at start.
        "runtime_hash": "0x" + keccak(hexstr=runtime["object"]).hex(),
        "immutables": gaps,
    }
    return json.dumps(content, indent=1, sort_keys=True) + "\n"


def main() -> None:
    for name in CONTRACTS:
        (ROOT / "oracle/abi" / f"{name}.json").write_text(exported(name))


if __name__ == "__main__":
    main()
