"""What comes off the wire is one of our dataclasses, or one of our errors."""

import json
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import RequestMalformed, VersionUnsupported
from worker.handlers.attach_volume import AttachVolume
from worker.handlers.build_instance import BuildInstance
from worker.handlers.create_volume import CreateVolume
from worker.handlers.detach_volume import DetachVolume
from worker.handlers.list_operations import ListOperations
from worker.handlers.reserve_block_device_name import ReserveBlockDeviceName
from worker.model.plain import built, plain
from worker.model.update import Event, OutboxEntry
from worker.rpc import wire
from worker.rpc.methods import CALLS, OPERATIONS
from worker.rpc.reading import request_from
from worker.rpc.wire import Message, envelope_in

INSTANCE = "6f9a5bd0-5d50-4f3c-9c35-1a7c61d2e001"
VOLUME = "2b1c8a52-0a52-4c8c-8f5b-3d3e6d9e0001"
REQUESTS: list[type[Any]] = [
    *(call.request for call in CALLS.values()),
    *(kind.request for kind in OPERATIONS.values()),
]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([INSTANCE, VOLUME, "\ud800", "a\0b"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(data=st.data(), request_type=st.sampled_from(REQUESTS))
def test_any_arguments_give_a_request_or_the_typed_error(
    data: st.DataObject, request_type: type[Any]
) -> None:
    known = [field.name for field in fields(request_type)]
    names = st.sampled_from([*known, "more"]) | st.text(max_size=3)
    arguments = data.draw(st.dictionaries(names, JSON, max_size=6))
    try:
        request = request_from(request_type, arguments)
    except RequestMalformed as error:
        str(error).encode(errors="strict")
    else:
        assert isinstance(request, request_type)


@given(message=JSON, wrapped=st.booleans())
def test_any_json_gives_a_message_or_the_typed_error(message: object, *, wrapped: bool) -> None:
    body = json.dumps(message)
    if wrapped:
        body = json.dumps({"oslo.version": "2.0", "oslo.message": body})
    try:
        found = envelope_in(body)
    except RequestMalformed:
        return
    assert isinstance(found, Message)


@given(body=st.binary() | st.text())
def test_any_bytes_give_a_message_or_the_typed_error(body: bytes | str) -> None:
    try:
        envelope_in(body)
    except RequestMalformed:
        return


def test_deep_nesting_is_malformed_not_a_crash() -> None:
    with pytest.raises(RequestMalformed):
        envelope_in("[" * 100_000)


@given(arguments=st.dictionaries(st.text(max_size=4), JSON, max_size=4))
def test_an_operation_id_or_expiry_is_readable_or_refused(arguments: dict[str, Any]) -> None:
    for name, read in (("operation_id", wire.operation_id_in), ("expires_at", wire.expiry_in)):
        try:
            read({name: next(iter(arguments.values()), None)})
        except RequestMalformed:
            continue


def test_a_problem_within_an_argument_is_named_by_the_way_to_it() -> None:
    wanted = {
        "instance_uuid": INSTANCE,
        "name": "web",
        "vcpus": 1,
        "memory_mb": 64,
        "ephemeral_gb": [1, "2"],
        "block_devices": [
            {"source_type": "blank"},
            {"size": True, "colour": 1},
            "vdb",
            {"source_type": "image", "image_id": "../etc/passwd"},
        ],
        "networks": {},
        "metadata": {"role": 7, "a": "b"},
    }
    with pytest.raises(RequestMalformed) as caught:
        request_from(BuildInstance, wanted)
    assert str(caught.value).split("; ") == [
        "ephemeral_gb[1] must be an integer, not a string",
        "block_devices[1].'colour' is unknown",
        "block_devices[1].source_type is missing",
        "block_devices[1].size must be an integer, not a boolean",
        "block_devices[2] must be a mapping, not a string",
        "block_devices[3].image_id is no id of an image: 36 letters, digits, '.', '_', '-' at most",
        "networks must be a list, not a mapping",
        "metadata['role'] must be a string, not a number",
    ]
    with pytest.raises(RequestMalformed, match="64 are the most"):
        request_from(BuildInstance, wanted | {"block_devices": [{}] * 65})
    with pytest.raises(RequestMalformed, match="metadata must be a mapping"):
        request_from(BuildInstance, wanted | {"metadata": []})


def test_a_request_with_parts_is_the_same_after_the_journal() -> None:
    wanted = {
        "instance_uuid": INSTANCE,
        "name": "web",
        "vcpus": 1,
        "memory_mb": 64,
        "ephemeral_gb": [1, 2],
        "block_devices": [{"source_type": "volume", "volume_id": VOLUME.upper()}],
        "networks": [{"port_id": INSTANCE, "kind": "user"}],
        "metadata": {"role": "web"},
    }
    request = request_from(BuildInstance, wanted)
    kept = json.loads(json.dumps(plain(request)))
    assert kept == plain(request)
    assert built(BuildInstance, kept) == request
    assert request.block_devices[0].volume_id == VOLUME


def test_every_problem_is_named_at_once() -> None:
    with pytest.raises(RequestMalformed) as caught:
        request_from(
            DetachVolume, {"instance_uuid": "i-1", "force": 1, "bdm_uuid": 7, "colour": "red"}
        )
    assert str(caught.value) == (
        "'colour' is unknown; instance_uuid is no UUID; volume_id is missing;"
        " bdm_uuid is no UUID; force must be true or false, not a number"
    )


@pytest.mark.parametrize("value", [1, 0, "true", None, []])
def test_a_boolean_is_a_boolean(value: object) -> None:
    with pytest.raises(RequestMalformed, match="multiattach must be true or false"):
        request_from(
            ReserveBlockDeviceName,
            {"instance_uuid": INSTANCE, "volume_id": VOLUME, "multiattach": value},
        )


@pytest.mark.parametrize("value", [True, False, 1.0, "7", None])
def test_an_integer_is_no_boolean(value: object) -> None:
    with pytest.raises(RequestMalformed, match="limit must be an integer"):
        request_from(ListOperations, {"limit": value})


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1])
def test_an_integer_fits_a_database(value: int) -> None:
    with pytest.raises(RequestMalformed, match="limit is out of range"):
        request_from(ListOperations, {"limit": value})


def test_none_is_taken_only_where_the_type_says_so() -> None:
    wanted = {"instance_uuid": INSTANCE, "bdm_uuid": VOLUME, "attachment_id": None}
    assert request_from(AttachVolume, wanted).attachment_id is None
    with pytest.raises(RequestMalformed, match="bdm_uuid is no UUID"):
        request_from(AttachVolume, wanted | {"bdm_uuid": None})
    with pytest.raises(RequestMalformed, match="name must be a string, not null"):
        request_from(CreateVolume, {"volume_id": VOLUME, "name": None})


def test_an_upper_case_id_is_the_same_id() -> None:
    request = request_from(ListOperations, {"instance_uuid": INSTANCE.upper()})
    assert request.instance_uuid == INSTANCE


@pytest.mark.parametrize(
    "text", [INSTANCE.replace("-", ""), f"{{{INSTANCE}}}", f"urn:uuid:{INSTANCE}", f" {INSTANCE}"]
)
def test_no_other_form_of_an_id_is_taken(text: str) -> None:
    with pytest.raises(RequestMalformed, match="instance_uuid is no UUID"):
        request_from(ListOperations, {"instance_uuid": text})


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_a_string_is_text(text: str) -> None:
    with pytest.raises(RequestMalformed, match="name has a character"):
        request_from(CreateVolume, {"volume_id": VOLUME, "name": text})


def test_values_are_never_repeated_in_an_error() -> None:
    with pytest.raises(RequestMalformed) as caught:
        request_from(CreateVolume, {"volume_id": "s3cret", "size": "s3cret", "path": ["s3cret"]})
    assert "s3cret" not in str(caught.value)


def enveloped(**message: Any) -> str:  # noqa: ANN401 - as on the wire
    return json.dumps({"oslo.version": "2.0", "oslo.message": json.dumps(message)})


def test_tokens_are_dropped_and_the_request_id_is_kept() -> None:
    body = enveloped(
        method="ping",
        args={"a": 1},
        version="1.0",
        _unique_id="x",
        _msg_id="y",
        _context_auth_token="s3cret",
        _context_request_id="req-1",
        _context_user_id="u",
    )
    found = envelope_in(body)
    assert found == Message(method="ping", arguments={"a": 1}, version="1.0", request_id="req-1")
    kept = wire.without_context(body)
    assert "s3cret" not in str(kept)
    assert envelope_in(kept) == found


def test_a_message_without_its_envelope_is_read_too() -> None:
    found = envelope_in('{"method": "ping", "_context_global_request_id": "req-2"}')
    assert (found.method, found.version, found.request_id) == ("ping", "1.0", "req-2")


@pytest.mark.parametrize("request_id", [7, "two words", "x" * 129, "", ["req"]])
def test_a_request_id_is_a_short_word_or_none(request_id: object) -> None:
    assert wire.message_in({"method": "m"}, {"request_id": request_id}).request_id is None


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("nothing", "no JSON"),
        ("[]", "no mapping"),
        ("{}", "names no method"),
        ('{"method": "m", "args": []}', "arguments are no mapping"),
        ('{"oslo.version": "3.0", "oslo.message": "{}"}', "version is not 2"),
        ('{"oslo.version": "2.0", "oslo.message": {}}', "holds no text"),
    ],
)
def test_a_message_that_cannot_be_read_says_why(body: str, reason: str) -> None:
    with pytest.raises(RequestMalformed, match=reason):
        envelope_in(body)


def test_what_cannot_be_read_is_kept_as_it_is() -> None:
    assert wire.without_context("nothing") == "nothing"


@pytest.mark.parametrize("version", ["1.0", "1.2", "1.2.9"])
def test_an_older_or_equal_version_is_spoken(version: str) -> None:
    wire.check_version(version, "1.2")


@pytest.mark.parametrize("version", ["1.3", "2.0", "0.9", "", "1", "one.two", "²"])
def test_any_other_version_is_refused(version: str) -> None:
    with pytest.raises(VersionUnsupported):
        wire.check_version(version, "1.2")


def test_an_expiry_has_a_zone() -> None:
    assert wire.expiry_in({"expires_at": "2030-01-01T00:00:00Z"}) == datetime(
        2030, 1, 1, tzinfo=UTC
    )
    for text in ("2030-01-01T00:00:00", "tomorrow", 7):
        with pytest.raises(RequestMalformed, match="expires_at"):
            wire.expiry_in({"expires_at": text})


def test_an_update_is_a_notification_with_a_lasting_id() -> None:
    entry = OutboxEntry(
        id=1,
        message_id="m-1",
        event=Event.RESERVED,
        instance=None,
        payload={"at": "2030-01-01T00:00:00+00:00", "sequence": 1},
    )
    first, second = (wire.update_out(entry, "blockworker.host-1") for _ in range(2))
    assert first["oslo.version"] == "2.0"
    assert wire.update_in(json.dumps(first)) == wire.update_in(json.dumps(second))
    inner, again = (json.loads(each["oslo.message"]) for each in (first, second))
    assert inner["priority"] == "INFO"
    assert inner["message_id"] == again["message_id"] == "m-1"
    assert inner["_unique_id"] != again["_unique_id"]
