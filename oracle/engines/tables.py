"""The tables that referees read from the code of contracts."""

from oracle.engines import sampling
from oracle.engines.exact import unicode_classes


def creation_codes() -> dict[str, bytes]:
    """What makes each, by its name in `wiring.GIVEN`."""
    return {"noise_table": sampling.table_code(), "class_table": unicode_classes.table_code()}
