"""The Grafana dashboard over a node's metrics: `python tools/grafana.py` writes operations/grafana/didyma.json."""

import json
from pathlib import Path
from typing import Any

FILE = Path(__file__).resolve().parents[1] / "operations" / "grafana" / "didyma.json"
WIDTH, HEIGHT = 8, 7  # of a panel, in Grafana's grid of 24 columns

Panel = tuple[str, str, dict[str, str]]
"""Title, unit, and for each legend the query."""

ROWS: dict[str, tuple[Panel, ...]] = {
    "Is the node well?": (
        ("Ready", "bool_yes_no", {"ready": "didyma_ready"}),
        ("Services in trouble", "short", {"{{service}}: {{reason}}": "didyma_service_trouble"}),
        ("Time left for a move; -1 if none is due", "s", {"move": "didyma_game_clock_seconds"}),
    ),
    "Chain": (
        ("Age of the head", "s", {"age": "didyma_head_age_seconds"}),
        ("Blocks behind, blocks taken back", "short", {"behind": "didyma_blocks_behind", "back": "didyma_reorg_depth"}),
        (
            "Faults of endpoints, a minute",
            "short",
            {"{{endpoint}}: {{kind}}": "sum by (endpoint, kind) (rate(didyma_rpc_errors_total[5m])) * 60"},
        ),
    ),
    "Work": (
        ("Open requests and cases", "short", {"{{state}}": "didyma_jobs"}),
        ("Oldest open request", "s", {"age": "didyma_oldest_job_seconds"}),
        ("Answers, missed turns, rejected answers, an hour", "short", {"{{outcome}}": "increase(didyma_turns[1h])"}),
    ),
    "Engine": (
        (
            "Duration of jobs, 95 of 100 are shorter",
            "s",
            {"{{kind}}": "histogram_quantile(0.95, sum by (le, kind) (rate(didyma_engine_seconds_bucket[10m])))"},
        ),
        ("Jobs in hand", "short", {"jobs": "didyma_engine_jobs"}),
        (
            "Workers lost, self-checks failed, an hour",
            "short",
            {
                "workers": "increase(didyma_engine_restarts_total[1h])",
                "self-checks": "increase(didyma_selfcheck_failures_total[1h])",
            },
        ),
    ),
    "Fleet": (
        ("Jobs that wait for a worker", "short", {"{{queue}}": "didyma_fleet_waiting"}),
        ("Workers that live", "short", {"{{queue}}": "didyma_fleet_workers"}),
        ("Which daemon signs", "bool_yes_no", {"{{instance}}": "didyma_leads"}),
    ),
    "Disputes": (
        ("Games", "short", {"{{side}}: {{state}}": "didyma_games"}),
        ("Wrong answers of others, a day", "short", {"found": "increase(didyma_wrong_answers_total[1d])"}),
        ("Answers not judged, a day", "short", {"{{reason}}": "increase(didyma_unwatched_answers_total[1d])"}),
    ),
    "Money": (
        ("Balance, ether", "short", {"{{key}}": "didyma_balance_wei / 1e18", "reserve": "didyma_reserve_wei / 1e18"}),
        ("Credit, ether", "short", {"{{key}}": "didyma_credit_wei / 1e18"}),
        (
            "Transactions: waiting; signed and failed in an hour",
            "short",
            {
                "{{key}} waiting": "didyma_tx_pending",
                "{{key}} signed": "increase(didyma_tx_attempts_total[1h])",
                "{{key}} failed": "increase(didyma_tx_failed_total[1h])",
            },
        ),
    ),
}


def dashboard() -> dict[str, Any]:
    """What Grafana reads."""
    panels: list[dict[str, Any]] = []
    for row, (title, shown) in enumerate(ROWS.items()):
        top = row * (HEIGHT + 1)
        panels.append({"type": "row", "title": title, "gridPos": {"x": 0, "y": top, "w": 24, "h": 1}})
        panels += [
            {
                "type": "timeseries",
                "title": name,
                "datasource": {"type": "prometheus", "uid": "prometheus"},
                "gridPos": {"x": column * WIDTH, "y": top + 1, "w": WIDTH, "h": HEIGHT},
                "fieldConfig": {"defaults": {"unit": unit}, "overrides": []},
                "targets": [
                    {"refId": chr(ord("A") + at), "expr": expression, "legendFormat": legend}
                    for at, (legend, expression) in enumerate(queries.items())
                ],
            }
            for column, (name, unit, queries) in enumerate(shown)
        ]
    numbered = [{"id": number, **panel} for number, panel in enumerate(panels, 1)]
    return {
        "uid": "didyma",
        "title": "Didyma node",
        "timezone": "browser",
        "refresh": "30s",
        "schemaVersion": 41,
        "time": {"from": "now-24h", "to": "now"},
        "panels": numbered,
    }


def text() -> str:
    """The file's."""
    return json.dumps(dashboard(), indent=2) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
