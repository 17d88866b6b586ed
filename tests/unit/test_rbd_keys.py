"""Who logs in to a cluster of Ceph's: user and key come from one source, and belong together."""

from pathlib import Path

import pytest

from worker.errors import ConnectFailed
from worker.model.secret import Secret
from worker.volume.rbd_keys import RbdLogin, RbdLogins

CINDERS = "AQCinders+key/AAAAAAAAAAAAAAAAAAAAAAAAAA=="
OURS = "AQOurs+key/AAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="
OTHERS = "AQOthers+key/AAAAAAAAAAAAAAAAAAAAAAAAAAA=="
OWN_SECTION = (
    "[global]\nkeyring = /none\n"
    "[client.cinder]\n; keyring = /no\nkeyring = '{folder}/keys/ceph.client.cinder'\n# keyring=/\n"
)
ASKS = {"auth_enabled": True, "auth_username": "cinder", "cluster_name": "ceph"}


def entry(user: str, key: str) -> str:
    return f'[client.{user}]\n\tkey = {key}\n\tcaps mon = "profile rbd"\n'


def login(user: str, key: str) -> RbdLogin:
    return RbdLogin(user=user, key=Secret(key))


@pytest.fixture
def keyring(tmp_path: Path) -> Path:
    """What an operator has put on this host."""
    path = tmp_path / "keyring"
    path.write_text(entry("other", OTHERS) + "\n" + entry("cinder", OURS))
    return path


@pytest.fixture
def logins(keyring: Path) -> RbdLogins:
    return RbdLogins(user="other", keyring=keyring)


@pytest.mark.parametrize(
    "sent", [CINDERS, f"{CINDERS}\n", entry("cinder", CINDERS), f"[client.cinder]\nkey={CINDERS}"]
)
def test_what_the_service_sends_is_taken_before_what_is_here(sent: str, logins: RbdLogins) -> None:
    assert logins.login({**ASKS, "keyring": sent}) == login("cinder", CINDERS)


@pytest.mark.parametrize("nothing", [{}, {"keyring": None}, {"keyring": ""}])
def test_the_services_user_comes_with_its_own_key(
    nothing: dict[str, object], logins: RbdLogins
) -> None:
    assert logins.login({**ASKS, **nothing}) == login("cinder", OURS)


@pytest.mark.parametrize("sent", [entry("other", CINDERS), "[client.cinder]\n", "no key at all"])
def test_a_keyring_of_somebody_else_is_not_made_up_for_from_here(
    sent: str, logins: RbdLogins
) -> None:
    with pytest.raises(ConnectFailed, match=r"sent has no key of client\.cinder") as refused:
        logins.login({**ASKS, "keyring": sent})
    assert CINDERS not in str(refused.value)


def test_another_users_key_is_not_tried(logins: RbdLogins, keyring: Path) -> None:
    with pytest.raises(
        ConnectFailed, match=rf"no key of Ceph's client\.third; looked in {keyring}"
    ):
        logins.login({**ASKS, "auth_username": "third"})


@pytest.mark.parametrize("said", [{}, {"auth_enabled": False, "auth_username": None}])
def test_where_the_service_names_nobody_the_user_configured_logs_in(
    said: dict[str, object], logins: RbdLogins
) -> None:
    assert logins.login(said) == login("other", OTHERS)
    assert RbdLogins().login(said) is None


@pytest.mark.parametrize("user", [None, "", "../etc/x", "a b", 7])
def test_a_login_without_a_user_is_refused(user: object, logins: RbdLogins) -> None:
    """A connection that was kept has lost it; the one configured would be another's."""
    with pytest.raises(ConnectFailed, match="names a user"):
        logins.login({**ASKS, "auth_username": user})


def test_a_cluster_does_not_lead_out_of_its_folder(logins: RbdLogins) -> None:
    with pytest.raises(ConnectFailed, match="names a cluster"):
        logins.login({**ASKS, "cluster_name": "../../tmp/x"})


@pytest.mark.parametrize(
    ("file", "cluster"),
    [
        ("ceph.client.cinder.keyring", None),
        ("ceph.keyring", "ceph"),
        ("keyring", "ceph"),
        ("east.client.cinder.keyring", "east"),
    ],
)
def test_keys_lie_where_ceph_looks_for_them(file: str, cluster: str | None, tmp_path: Path) -> None:
    (tmp_path / file).write_text(entry("cinder", OURS))
    (tmp_path / "west.client.cinder.keyring").write_text(entry("cinder", OTHERS))
    found = RbdLogins(etc=tmp_path).login({**ASKS, "cluster_name": cluster})
    assert found == login("cinder", OURS)


def test_the_users_own_keyring_is_looked_in_first(tmp_path: Path) -> None:
    (tmp_path / "ceph.keyring").write_text(entry("cinder", OTHERS))
    (tmp_path / "ceph.client.cinder.keyring").write_text(entry("cinder", OURS))
    assert RbdLogins(etc=tmp_path).login(ASKS) == login("cinder", OURS)


@pytest.mark.parametrize(
    "conf",
    [
        "[global]\nkeyring = {folder}/keys/$cluster.$name\n",
        "[client]\n keyring={folder}/none, {folder}/keys/ceph.$type.$id\n",
        OWN_SECTION,
    ],
)
def test_keys_lie_where_the_clusters_configuration_says(conf: str, tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "ceph.client.cinder").write_text(entry("cinder", OURS))
    (tmp_path / "ceph.conf").write_text("fsid = 1\n" + conf.format(folder=tmp_path))
    (tmp_path / "ceph.client.cinder.keyring").write_text(entry("cinder", OTHERS))
    assert RbdLogins(etc=tmp_path).login(ASKS) == login("cinder", OURS)


def test_without_a_key_it_is_said_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ConnectFailed) as refused:
        RbdLogins(etc=tmp_path).login(ASKS)
    assert f"looked in {tmp_path}/ceph.client.cinder.keyring, " in str(refused.value)


def test_a_keyring_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    logins = RbdLogins(keyring=tmp_path)
    with pytest.raises(ConnectFailed, match=f"cannot read {tmp_path}: Is a directory"):
        logins.login(ASKS)


def test_a_key_does_not_show(logins: RbdLogins) -> None:
    assert OURS not in repr(logins.login(ASKS))
