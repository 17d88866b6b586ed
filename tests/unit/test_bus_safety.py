"""What weakens a bus is named, from its settings alone, and without a word of its secrets."""

import pytest

from worker.rpc.bus import BusSettings
from worker.rpc.safety import Unsafe, told_apart, unsafe_settings

SECRET = "sesame-7391"
TLS = "?ssl=1"
QUORUM_AND_CLASSIC = (
    "received the value 'quorum' of type 'longstr'"
    " but current is the value 'classic' of type 'longstr'"
)
DEAD_AND_NONE = "received the value 'q.dead' of type 'longstr' but current is none"


def named(url: str, *, quorum: bool = True) -> list[str]:
    found = unsafe_settings(BusSettings(url=url, host="h", quorum=quorum))
    assert all(each.what and each.why and each.do for each in found)
    assert SECRET not in repr(found)
    return [each.what for each in found]


@pytest.mark.parametrize(
    "url",
    [
        "rabbit://guest:guest@127.0.0.1:5672/",
        "rabbit://guest:guest@[::1]:5672/",
        "rabbit://localhost/",
        f"rabbit://worker:{SECRET}@a:5671,worker:{SECRET}@b:5671/v{TLS}",
    ],
)
def test_a_safe_bus_has_no_warning(url: str) -> None:
    assert named(url) == []


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("fake:/", "fake"),
        ("kombu+memory://localhost/", "kombu+memory"),
        (f"rabbit://worker:{SECRET}@broker/", "TLS"),
        (f"rabbit://guest:guest@10.0.0.1/{TLS}", "guest"),
        (f"rabbit://broker/{TLS}", "guest"),
        ("rabbit://localhost/?heartbeat_timeout_threshold=0", "heartbeat"),
        ("rabbit://localhost/?rabbit_quorum_queue=false", "rabbit_quorum_queue"),
    ],
)
def test_each_weakness_is_named(url: str, word: str) -> None:
    (what,) = named(url)
    assert word in what


def test_each_host_of_several_is_looked_at() -> None:
    found = named(f"rabbit://worker:{SECRET}@a,guest:guest@b/")
    assert [("broker at a" in what, "broker at b" in what) for what in found] == [
        (True, False),
        (False, True),
        (False, True),
    ]


def test_quorum_off_is_named_for_a_broker_only() -> None:
    assert "quorum" in named("rabbit://localhost/", quorum=False)[0]
    assert len(named("kombu+memory://localhost/", quorum=False)) == 1


@pytest.mark.parametrize(
    ("said", "what", "why"),
    [
        (
            "inequivalent arg 'x-queue-type' for queue 'q' in vhost '/': " + QUORUM_AND_CLASSIC,
            "x-queue-type classic where the worker wants quorum",
            "node",
        ),
        (
            "inequivalent arg 'x-dead-letter-exchange' for queue 'q': " + DEAD_AND_NONE,
            "x-dead-letter-exchange none where the worker wants q.dead",
            "silence",
        ),
        (
            "inequivalent arg 'durable' for exchange 'x': received 'true' but current is 'false'",
            "durable false where the worker wants true",
            "node",
        ),
        ("a word of another release", "is not as the worker declares it", "another release"),
    ],
)
def test_the_brokers_words_become_ours(said: str, what: str, why: str) -> None:
    found = told_apart("the queue q on the broker", said, "do this")
    assert isinstance(found, Unsafe)
    assert what in found.what
    assert why in found.why
    assert "do this" in str(found)
