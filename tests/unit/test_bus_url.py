"""A transport URL that cannot be used is refused at once, and nothing of it is repeated."""

import pytest

from worker.errors import Invalid
from worker.rpc.bus import check_url

SECRET = "sesame-7391"


@pytest.mark.parametrize(
    "url",
    [
        f"rabbit://u:{SECRET}@h,x:{SECRET}/",
        f"rabbit://u:p@h:{SECRET}/",
        f"foo://u:{SECRET}@h/",
        SECRET,
        "",
    ],
)
def test_it_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_url(url)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "url",
    ["rabbit://u:p@h:5672/v", "rabbit://u:p@a:1,u:p@b:2/", "kombu+memory://localhost/", "fake:/"],
)
def test_what_can_be_used_passes(url: str) -> None:
    check_url(url)
