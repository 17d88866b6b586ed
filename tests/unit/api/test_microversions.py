"""Which microversion a request speaks."""

import pytest

from worker.api.asked import Refused, Version
from worker.api.microversions import HEADER, LEGACY, UNVERSIONED, negotiated, said
from worker.api.route import Service

COMPUTE, VOLUME = Service.COMPUTE, Service.VOLUME


def spoken(service: Service, new: str | None = None, old: str | None = None) -> Version:
    headers = {HEADER.lower(): new, LEGACY.lower(): old}
    return negotiated(
        service, {name: value for name, value in headers.items() if value is not None}
    )


@pytest.mark.parametrize(
    ("service", "new", "old", "version"),
    [
        (COMPUTE, None, None, "2.1"),
        (VOLUME, None, None, "3.0"),
        (COMPUTE, "compute 2.60", None, "2.60"),
        (COMPUTE, "Compute  2.60 ", None, "2.60"),
        (COMPUTE, "compute latest", None, "2.101"),
        (COMPUTE, "compute LATEST", None, "2.101"),
        (COMPUTE, None, "2.60", "2.60"),
        (COMPUTE, None, "latest", "2.101"),
        (COMPUTE, "compute 2.60", "2.70", "2.60"),
        (COMPUTE, "volume 3.5", "2.70", "2.70"),
        (COMPUTE, "volume 3.5", None, "2.1"),
        (COMPUTE, "volume 3.5, compute 2.60", None, "2.60"),
        (VOLUME, "volume 3.5, compute 2.60", None, "3.5"),
        (VOLUME, "compute 2.60", "2.60", "3.0"),
        (COMPUTE, "", None, "2.1"),
    ],
)
def test_it_is_that_of_the_service(
    service: Service, new: str | None, old: str | None, version: str
) -> None:
    assert str(spoken(service, new, old)) == version


@pytest.mark.parametrize(
    "wrong",
    [
        "2",
        "2.",
        ".1",
        "2.01",
        "02.1",
        "2.1.1",
        "-2.1",
        "two",
        "2.x",
        "2 .1",
        "\u0662.\u0661",
        "2." + "9" * 9,
    ],
)
def test_what_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(Refused, match=r"is no version; say compute X\.Y, or latest") as refused:
        spoken(COMPUTE, f"compute {wrong}")
    assert refused.value.status == 400


@pytest.mark.parametrize("wrong", ["2.0", "1.9", "2.102", "3.0", "2.9999"])
def test_what_is_not_spoken_is_not_acceptable(wrong: str) -> None:
    with pytest.raises(Refused, match=r"Minimum is 2\.1 and maximum is 2\.101") as refused:
        spoken(COMPUTE, f"compute {wrong}")
    assert refused.value.status == 406


def test_a_service_without_any_has_none() -> None:
    assert spoken(Service.IMAGE, "image 2.5") == UNVERSIONED
    assert said(Service.IMAGE, UNVERSIONED) == {}


def test_the_answer_says_it_in_both_headers_of_compute() -> None:
    found = said(COMPUTE, Version(2, 60))
    assert (found[HEADER], found[LEGACY]) == ("compute 2.60", "2.60")
    assert found["Vary"] == f"{HEADER}, {LEGACY}"


def test_the_answer_says_it_in_the_one_header_of_volumes() -> None:
    assert said(VOLUME, Version(3, 5)) == {HEADER: "volume 3.5", "Vary": HEADER}


def test_ten_is_later_than_nine() -> None:
    assert Version(2, 10) > Version(2, 9)
