"""Contracts whose code is data: tables that other contracts read with EXTCODECOPY."""


def creation_code(data: bytes) -> bytes:
    """Deploys a contract whose code is `data`, at most 64 KiB that do not begin with 0xEF."""
    # PUSH2 length, DUP1, PUSH1 10, PUSH0, CODECOPY, PUSH0, RETURN
    return bytes.fromhex(f"61{len(data):04x}80600a5f395ff3") + data
