"""Whole daemons on a chain: an answer to the end, a lie found out, a request nobody answers."""

from e2e.world import drive, team


async def test_request__honest_nodes__is_answered_and_finalized(earth, tmp_path):
    request = earth.ask()
    async with team(earth, tmp_path, None, None, None, None, None) as nodes:
        await drive(earth, nodes, lambda: earth.status(request) == "final")
    assert earth.steps(request) == ["RequestPosted", "AnswerPosted", "RequestFinalized"]
