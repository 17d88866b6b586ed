"""Requests that are wrong: each has its status, and a message that says what to do."""

from dataclasses import dataclass

import pytest
from falcon.testing import Result, simulate_request

from tests.api_rig import ApiRig
from worker.api.front.open_door import PROJECT

SERVER = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
ATTACH = f"/v2.1/servers/{SERVER}/os-volume_attachments"
WANTED = b'{"volumeAttachment": {"volumeId": "6f70656e-0000-4000-8000-000000000000"}}'


@dataclass(frozen=True, kw_only=True)
class Bad:
    """What is asked, and how it ends."""

    status: int
    words: str
    method: str = "POST"
    path: str = ATTACH
    body: bytes | None = None
    query: str = ""
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),)
    fault: str = "badRequest"

    def asked_of(self, api: ApiRig) -> Result:
        return simulate_request(
            api.application,
            self.method,
            self.path,
            host="localhost",
            body=self.body,
            query_string=self.query,
            headers=list(self.headers),
        )


def version(*said: str) -> tuple[tuple[str, str], ...]:
    return (("OpenStack-API-Version", ", ".join(said)), ("Content-Type", "application/json"))


def typed(media: str) -> tuple[tuple[str, str], ...]:
    return (("Content-Type", media),)


BODIES = {
    "no JSON": Bad(status=400, words="is no JSON", body=b"volumeId=1"),
    "cut off": Bad(status=400, words="is no JSON", body=WANTED[:-2]),
    "more after it": Bad(status=400, words="is no JSON", body=WANTED + b"{}"),
    "empty": Bad(status=400, words="empty: this request needs one"),
    "blank": Bad(status=400, words="empty: this request needs one", body=b" \n"),
    "a list": Bad(status=400, words="not of type 'object'", body=b"[]"),
    "null": Bad(status=400, words="not of type 'object'", body=b"null"),
    "a field too many": Bad(
        status=400, words="'x' was unexpected", body=WANTED.replace(b"}}", b'}, "x": 1}')
    ),
    "a name twice": Bad(
        status=400,
        words="'volumeAttachment' stands twice in one object",
        body=WANTED[:-1] + b", " + WANTED[1:],
    ),
    "nested too deep": Bad(
        status=400, words="nested more than 32 deep", body=b"[" * 40 + b"]" * 40
    ),
    "nested beyond reading": Bad(
        status=400, words="nested more than 32 deep", body=b"[" * 50000 + b"]" * 50000
    ),
    "NaN": Bad(status=400, words="NaN is no number", body=b'{"volumeAttachment": NaN}'),
    "Infinity": Bad(status=400, words="Infinity is no number", body=b'{"a": -Infinity}'),
    "an endless number": Bad(status=400, words="too large", body=b'{"a": 1e999}'),
    "a number of many digits": Bad(status=400, words="is no JSON", body=b"9" * 5000),
    "a number beyond columns": Bad(status=400, words="beyond 64 bits", body=b"9" * 30),
    "no UTF-8": Bad(status=400, words="no UTF-8 at byte 2", body=b'{"\xff": 1}'),
    "UTF-16": Bad(status=400, words="no UTF-8", body='{"a": 1}'.encode("utf-16")),
    "NUL": Bad(status=400, words="NUL", body=b'{"volumeAttachment": {"device": "\\u0000"}}'),
    "NUL in a name": Bad(status=400, words="NUL", body=b'{"\\u0000": 1}'),
    "half a pair": Bad(status=400, words="surrogate", body=b'{"a": ["\\ud800"]}'),
    "too long": Bad(
        status=413, words="longer than 114688 bytes", body=b" " * 114689, fault="overLimit"
    ),
    "a form": Bad(
        status=415,
        words="send JSON, with Content-Type: application/json",
        body=WANTED,
        headers=typed("application/x-www-form-urlencoded"),
        fault="badMediaType",
    ),
    "plain text": Bad(
        status=415,
        words="send JSON",
        body=WANTED,
        headers=typed("text/plain"),
        fault="badMediaType",
    ),
    "XML": Bad(
        status=415,
        words="'application/xml'",
        body=b"<a/>",
        headers=typed("application/xml"),
        fault="badMediaType",
    ),
    "of no type": Bad(
        status=415, words="of no type", body=WANTED, headers=(), fault="badMediaType"
    ),
    "a line's end after the name": Bad(
        status=400,
        words="does not match",
        body=WANTED.replace(b'00"', b'00", "device": "/dev/vdb\\n"'),
    ),
}

GONE = "itemNotFound"

PATHS = {
    "an unknown one": Bad(
        status=404, words="nothing is at /v2.1/nowhere", path="/v2.1/nowhere", fault=GONE
    ),
    "an unknown root": Bad(status=404, words="/openapi.json", path="/v1", method="GET", fault=GONE),
    "two slashes within": Bad(
        status=404, words="nothing", path="/v2.1//servers", method="GET", fault=GONE
    ),
    "a slash in an id": Bad(
        status=404, words="nothing", path=ATTACH + "/a%2Fb", method="GET", fault=GONE
    ),
    "an id that is none": Bad(
        status=404,
        words="could not be found",
        path=ATTACH.replace("3f", "zz"),
        method="GET",
        fault=GONE,
    ),
    "a NUL": Bad(
        status=400, words="server_id in the path", path=ATTACH.replace("3f", "%00"), body=WANTED
    ),
    "a header in an id": Bad(
        status=400,
        words="character",
        path=f"{ATTACH}/x%0d%0aSet-Cookie:%20a=b",
        method="GET",
    ),
    "too long an id": Bad(
        status=400, words="longer than 255 characters", path=f"{ATTACH}/{'a' * 300}", method="GET"
    ),
    "another's project": Bad(
        status=400,
        words="URL's project_id 'other' doesn't match",
        path=ATTACH.replace("v2.1", "v2.1/other"),
        method="GET",
    ),
    "a method that is not taken": Bad(
        status=405, words="it takes GET, POST", method="PATCH", fault="badMethod"
    ),
    "HEAD": Bad(status=405, words="", method="HEAD", fault=""),
}

VERSIONS = {
    "no version": Bad(
        status=400, words="'new' is no version; say compute X.Y", headers=version("compute new")
    ),
    "nothing after the service": Bad(
        status=400, words="'' is no version", headers=version("compute")
    ),
    "endless": Bad(status=400, words="no version", headers=version("compute 2." + "9" * 5000)),
    "too old": Bad(
        status=406,
        words="Minimum is 2.1 and maximum is 2.101",
        headers=version("compute 2.0"),
        fault="computeFault",
    ),
    "of the future": Bad(
        status=406,
        words="Version 2.999 is not supported by the API.",
        headers=version("volume 3.0", "compute 2.999"),
        fault="computeFault",
    ),
    "of the future, in the older header": Bad(
        status=406,
        words="Version 3.5 is not supported",
        headers=(("X-OpenStack-Nova-API-Version", "3.5"),),
        fault="computeFault",
    ),
}


@pytest.mark.parametrize(
    "bad", [pytest.param(bad, id=name) for name, bad in (BODIES | PATHS | VERSIONS).items()]
)
def test_it_is_refused_with_what_to_do(api: ApiRig, bad: Bad) -> None:
    refused = bad.asked_of(api)

    assert refused.status_code == bad.status, refused.text
    assert refused.headers["X-Openstack-Request-Id"].startswith("req-")
    assert refused.headers["Content-Type"] == "application/json"
    assert "Set-Cookie" not in refused.headers
    if bad.fault:
        assert refused.json[bad.fault]["code"] == bad.status
        assert bad.words in refused.json[bad.fault]["message"]


@pytest.mark.parametrize("path", ["/v2.1/nowhere", "/v3/nowhere"])
def test_faults_of_nova_and_cinder_have_a_name(api: ApiRig, path: str) -> None:
    assert api.ask("GET", path).body["itemNotFound"]["code"] == 404


def test_faults_of_glance_are_webobs(api: ApiRig) -> None:
    found = api.ask("GET", "/v2/nowhere").body
    assert (found["code"], found["title"]) == ("404 Not Found", "Not Found")
    assert found["message"].startswith("nothing is at /v2/nowhere")


def test_faults_of_keystone_are_errors(api: ApiRig) -> None:
    found = api.ask("GET", "/identity/v3/nowhere").body["error"]
    assert (found["code"], found["title"]) == (404, "Not Found")


def test_an_error_of_ours_tells_its_code(api: ApiRig) -> None:
    refused = api.ask("GET", ATTACH)
    assert refused.status == 404
    assert refused.headers["X-Blockworker-Code"] == "instance.not_found"


def test_a_slash_at_the_end_is_no_other_path(api: ApiRig) -> None:
    server = api.server()
    path = f"/v2.1/servers/{server}/os-volume_attachments/"
    assert api.ask("GET", path).body == {"volumeAttachments": []}


def test_the_callers_project_may_stand_in_the_path(api: ApiRig) -> None:
    server = api.server()
    path = f"/v2.1/{PROJECT}/servers/{server}/os-volume_attachments"
    assert api.ask("GET", path).body == {"volumeAttachments": []}


def test_what_a_client_would_accept_changes_nothing(api: ApiRig) -> None:
    server = api.server()
    path = f"/v2.1/servers/{server}/os-volume_attachments"
    found = api.ask("GET", path, headers={"Accept": "text/html;q=1, */*;q=0"})
    assert (found.status, found.headers["Content-Type"]) == (200, "application/json")


def test_options_says_what_a_path_takes(api: ApiRig) -> None:
    found = simulate_request(api.application, "OPTIONS", ATTACH)
    assert found.status_code == 200
    assert found.headers["Allow"] == "GET, POST"
    assert found.headers["X-Openstack-Request-Id"]


def test_a_method_that_is_not_taken_is_told_those_that_are(api: ApiRig) -> None:
    assert api.ask("PATCH", ATTACH).headers["Allow"] == "GET, POST, OPTIONS"
