"""What a browser sends with a request decides whether another site's page may make the API work."""

import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from oracle.api.guard import ALIVE, Guard

HOSTS = {"127.0.0.1", "localhost", "::1", "node.example"}
ASKED = "/view/requests?search=0x12"


@pytest.fixture
def api():
    return TestClient(Guard(PlainTextResponse("it works"), HOSTS, None), base_url="http://127.0.0.1:8547")


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize("mode", ["no-cors", "cors", "navigate"])
def test_guard__page_of_another_site_or_port__makes_nothing_work(api, site, mode):
    refused = api.get(ASKED, headers={"sec-fetch-site": site, "sec-fetch-mode": mode})
    assert (refused.status_code, refused.json()) == (403, {"detail": "another site's page asks"})


@pytest.mark.parametrize("origin", ["https://evil.example", "http://127.0.0.1.evil.example:8547", "null", "http://[::"])
def test_guard__origin_of_another_host__is_refused(api, origin):
    assert api.get(ASKED, headers={"origin": origin}).status_code == 403
    assert api.get(ASKED, headers={"origin": origin, "sec-fetch-site": "same-origin"}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors", "origin": "http://127.0.0.1:8547"},
        {"sec-fetch-site": "none", "sec-fetch-mode": "navigate"},
        {"origin": "http://[::1]:8547"},
        {"origin": "https://Node.example"},
    ],
)
def test_guard__own_page_typed_address_or_script__is_answered(api, headers):
    assert api.get(ASKED, headers=headers).text == "it works"


def test_guard__link_on_another_site__opens_the_dashboard_alone(api):
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert api.get("/", headers=link).status_code == 200
    assert api.get("/", headers={**link, "sec-fetch-mode": "no-cors"}).status_code == 403
    assert api.post("/", headers=link).status_code == 403
    assert api.get("/metrics", headers=link).status_code == 403


def test_guard__question_whether_the_process_works__is_answered_to_anyone(api):
    assert api.get(ALIVE, headers={"sec-fetch-site": "cross-site", "host": "10.0.0.7"}).status_code == 200
