"""Versions, as keystoneauth finds them: what every client of OpenStack begins with."""

import json
from collections.abc import Iterator

import pytest
from keystoneauth1 import adapter, discover, exceptions, noauth, session

from tests.api_rig import ApiRig
from worker.api.asked import Version
from worker.api.front.open_door import PROJECT
from worker.api.front.server import WebServer
from worker.api.openapi import NEWEST, document
from worker.api.route import Service
from worker.api.routes import ROUTES


@pytest.fixture(scope="module")
def url(api: ApiRig) -> Iterator[str]:
    server = WebServer(api.application, ("127.0.0.1", 0), threads=4)
    yield f"http://127.0.0.1:{server.start()}"
    server.stop()


@pytest.fixture
def plain() -> session.Session:
    return session.Session(auth=noauth.NoAuth(endpoint="http://127.0.0.1:1"))


@pytest.mark.parametrize("path", ["", "/", "/v2.1", "/v2.1/"])
def test_compute_is_found_with_its_microversions(
    plain: session.Session, url: str, path: str
) -> None:
    found = discover.Discover(plain, url + path).version_data()
    (compute,) = [each for each in found if each["version"] == (2, 1)]
    assert compute["url"] == f"{url}/v2.1/"
    assert (compute["min_microversion"], compute["max_microversion"]) == ((2, 1), (2, 101))
    assert compute["status"] == "CURRENT"


@pytest.mark.parametrize("path", ["", "/v2.1", "/v2.1/", f"/v2.1/{PROJECT}"])
def test_an_endpoint_in_a_catalogue_is_understood(url: str, path: str) -> None:
    auth = noauth.NoAuth(endpoint=url + path)
    compute = adapter.Adapter(
        session.Session(auth=auth),
        service_type="compute",
        endpoint_override=url + path,
        min_version="2.1",
        max_version="2.latest",
    )
    data = compute.get_endpoint_data()
    assert data is not None
    assert (data.api_version, data.max_microversion) == ((2, 1), (2, 101))
    asked = "/servers" if path else "/v2.1/servers"
    answer = compute.get(asked, microversion="2.100")
    assert answer.headers["OpenStack-API-Version"] == "compute 2.100"


def test_what_no_version_answers_is_not_acceptable(url: str) -> None:
    auth = noauth.NoAuth(endpoint=url)
    compute = adapter.Adapter(session.Session(auth=auth), service_type="compute")
    with pytest.raises(exceptions.NotAcceptable):
        compute.get("/v2.1/servers", microversion="2.200")


def test_the_document_that_is_served_is_that_of_all_requests(api: ApiRig) -> None:
    served = api.ask("GET", "/openapi.json").body
    assert served == json.loads(json.dumps(document(ROUTES)))


def test_a_document_of_another_microversion_can_be_had(api: ApiRig) -> None:
    served = api.ask("GET", "/openapi.json", query="compute=2.60").body
    then = document(ROUTES, NEWEST | {Service.COMPUTE: Version(2, 60)})
    assert served == json.loads(json.dumps(then))
    assert api.ask("GET", "/openapi.json", query="compute=2.999").status == 400
