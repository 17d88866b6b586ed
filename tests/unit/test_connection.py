"""A connection without its secrets, and the little that shows of one with them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.model.connection import SECRET_KEYS, Connection, is_secret

SECRET = "sesame-open-7391"
LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
KEYS = st.text(max_size=5) | st.sampled_from(sorted(SECRET_KEYS))


def plant(value: Any) -> Any:  # noqa: ANN401 - JSON has no narrower type
    """Return the JSON with the secret as the value of every key that names one."""
    match value:
        case dict():
            return {key: SECRET if is_secret(key) else plant(item) for key, item in value.items()}
        case list() | tuple():
            return type(value)(plant(item) for item in value)
        case _:
            return value


JSON = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(KEYS, inner, max_size=3),
    ),
    max_leaves=20,
).map(plant)


@given(st.dictionaries(KEYS, JSON, max_size=4).map(plant))
def test_no_secret_is_left_at_any_depth(properties: dict[str, Any]) -> None:
    scrubbed = Connection(protocol="iscsi", properties=properties).without_secrets()

    assert SECRET not in repr(scrubbed.properties)


@given(JSON)
def test_a_repr_shows_nothing_of_the_properties(value: Any) -> None:  # noqa: ANN401
    connection = Connection(protocol="iscsi", properties={"auth_password": SECRET, "x": value})

    assert repr(connection) == "Connection(protocol='iscsi')"


def test_what_is_no_secret_is_kept_as_it_is() -> None:
    plain = {"target_lun": 1, "paths": ["a", "b"], "deep": {"discard": True, "none": None}}

    kept = Connection(protocol="iscsi", properties=plain).without_secrets()

    assert kept == Connection(protocol="iscsi", properties=plain)


def test_a_user_of_cephs_is_kept_and_one_of_chaps_is_not() -> None:
    said = {"auth_username": "us", "secret_type": "ceph"}
    ceph = Connection(protocol="rbd", properties={**said, "keyring": SECRET})
    assert ceph.without_secrets().properties == said
    for other in ({}, {"secret_type": None}, {"secret_type": "iscsi"}):
        chap = Connection(protocol="iscsi", properties={"auth_username": "us", **other})
        assert chap.without_secrets().properties == other


def test_the_connection_itself_keeps_what_it_needs_to_connect() -> None:
    connection = Connection(protocol="iscsi", properties={"auth_password": SECRET})

    connection.without_secrets()

    assert connection.properties["auth_password"] == SECRET


@pytest.mark.parametrize(
    "key", [*sorted(SECRET_KEYS), "Password", "mutualChapPassword", "luks_passphrase"]
)
def test_every_name_of_a_secret_is_known(key: str) -> None:
    assert is_secret(key)


@pytest.mark.parametrize("key", ["target_lun", "volume_id", "auth_method", 7, None])
def test_other_names_are_not(key: object) -> None:
    assert not is_secret(key)
