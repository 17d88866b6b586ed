"""The Cinder adapter on a Cinder of its own, and volumes to try it with."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.contract.cinder_answers import PROJECT
from tests.contract.cinder_server import PASSWORD, Cinder
from worker import conf
from worker.errors import VolumeTaken
from worker.model.ids import VolumeId
from worker.model.volume import GIB, NewVolume, Volume
from worker.ports import PoolVolumes
from worker.volume.cinder.making import CinderMaking
from worker.volume.cinder.reading import volume_of
from worker.wiring.volumes import VolumeService, make_cinder_session, make_volume_service

CONNECTOR = {"host": "host-1", "ip": "192.0.2.1", "initiator": "iqn.2026-01.org.example:host-1"}


def options(cinder: Cinder, **more: object) -> dict[str, Any]:
    """Return what is configured; without a Keystone unless more is said."""
    given = {
        "auth_type": "noauth",
        "endpoint": f"{cinder.url}/volume/v3",
        "project_id": PROJECT,
        **more,
    }
    return {"volume__service": "cinder", **{f"cinder__{name}": given[name] for name in given}}


def by_keystone(cinder: Cinder, **more: object) -> dict[str, Any]:
    """Return what is configured for a worker with an account, and have Cinder ask for tokens."""
    cinder.identity = True
    given: dict[str, object] = {
        "auth_type": "password",
        "auth_url": f"{cinder.url}/identity/v3",
        "password": PASSWORD,
        "endpoint": None,
        "project_id": None,
    }
    return options(cinder, **(given | more))


def service_of(given: dict[str, Any]) -> VolumeService:
    """Return the adapters that are configured so, on a host whose connector is known."""
    # The records of the built-in pool are not looked at.
    nothing: Any = None
    return make_volume_service(conf.load(**given), nothing, lambda: CONNECTOR)


def session_of(given: dict[str, Any]) -> Any:  # noqa: ANN401 - loaded by name
    return make_cinder_session(conf.load(**given))


class Storage(PoolVolumes):
    """Makes volumes as their owner would, and deletes them as the worker does."""

    def __init__(self, cinder: Cinder, pool: PoolVolumes) -> None:
        assert isinstance(pool, CinderMaking)
        self.cinder = cinder
        self.pool = pool

    def confirm(self, wanted: NewVolume) -> None:
        raise VolumeTaken(wanted.id)

    def create(self, wanted: NewVolume) -> Volume:
        assert wanted.size is not None
        size, name, shared = wanted.size // GIB, wanted.name, wanted.multiattach
        return volume_of(self.cinder.state.add(wanted.id, size=size, name=name, multiattach=shared))

    def check_growth(self, volume: VolumeId, size: int) -> None:
        self.pool.check_growth(volume, size)

    def grow(self, volume: VolumeId, size: int) -> Volume:
        return self.pool.grow(volume, size)

    def delete(self, volume: VolumeId) -> None:
        self.pool.delete(volume)

    def list(self) -> tuple[Volume, ...]:
        return tuple(volume_of(one) for one in self.cinder.state.volumes.values())


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate of 127.0.0.1 that vouches for itself; return it and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, secret = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(made.public_bytes(Encoding.PEM))
    form = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    secret.write_bytes(key.private_bytes(*form))
    return certificate, secret
