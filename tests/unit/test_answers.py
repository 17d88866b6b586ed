"""The form of answers."""

import logging

import pytest

from worker import errors
from worker.errors import DeviceNameTaken, LeftBehind, Unavailable, WorkerError
from worker.rpc.answers import FAMILIES, answer_of, error_from, result_of


def raises(error: Exception) -> None:
    raise error


def test_a_result_comes_through() -> None:
    assert result_of(answer_of(lambda: [1, None])) == [1, None]
    assert result_of(answer_of(lambda: None)) is None


def kinds() -> list[type[WorkerError]]:
    found = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    return [kind for kind in found if issubclass(kind, WorkerError)]


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
def test_every_error_comes_through_as_its_class(kind: type[WorkerError]) -> None:
    with pytest.raises(kind) as caught:
        result_of(answer_of(lambda: raises(kind("why"))))
    assert type(caught.value) is kind
    assert str(caught.value) == "why"


def test_only_code_message_and_family_cross() -> None:
    answer = answer_of(lambda: raises(DeviceNameTaken("vdb is taken")))
    told = {"code": "block_device.name_taken", "message": "vdb is taken", "family": "conflict"}
    assert answer == {"error": told}


def test_an_unknown_code_keeps_its_family_and_code() -> None:
    error = error_from({"code": "volume.haunted", "message": "boo", "family": "unavailable"})
    assert isinstance(error, Unavailable)
    assert (error.code, str(error)) == ("volume.haunted", "boo")
    assert Unavailable.code == "unavailable"


def test_an_unknown_family_is_still_an_error_of_ours() -> None:
    error = error_from({"code": "x", "message": "y", "family": "martian"})
    assert (type(error).__mro__[1], error.code) == (WorkerError, "x")


def test_a_crash_is_logged_and_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        answer = answer_of(lambda: raises(ValueError("s3cret")))
    assert answer["error"]["code"] == "internal"
    assert "s3cret" not in str(answer)
    assert "call crashed" in caplog.text


def test_left_behind_has_a_family_of_its_own() -> None:
    assert answer_of(lambda: raises(LeftBehind("x")))["error"]["family"] == "left_behind"
    assert list(FAMILIES)[-1] == "internal"


@pytest.mark.parametrize("answer", [None, [], {}, {"failure": 1}])
def test_what_is_no_answer_is_an_error(answer: object) -> None:
    with pytest.raises(WorkerError):
        result_of(answer)
