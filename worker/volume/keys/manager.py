"""Passphrases from a key manager, by castellan: Barbican, Vault, and what else it has a driver for.

https://docs.openstack.org/castellan/latest/
"""

import binascii
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from typing import Any

from castellan import key_manager, options
from castellan.common import exception, utils
from oslo_config import cfg

from worker.errors import KeyNotFound, KeysUnavailable
from worker.model.ids import KeyId, VolumeId
from worker.model.secret import Secret
from worker.model.volume import Encryption
from worker.ports import Keys

_NOISY = ("castellan", "barbicanclient", "keystoneauth")
"""They log what they fetch at DEBUG."""


class ManagedKeys(Keys):
    """The keys that castellan's options in ``conf`` lead to, with the worker's own credentials.

    A key's bytes are written in hexadecimal to be a passphrase, as Nova does: what one has made the
    other opens. Not every driver of castellan's gives up by itself: after ``timeout`` seconds an
    answer is not waited for any more.
    """

    def __init__(self, conf: cfg.ConfigOpts, *, timeout: float = 60.0) -> None:
        self._timeout = timeout
        for name in _NOISY:
            logging.getLogger(name).setLevel(logging.INFO)
        self._conf = conf
        self._lock = threading.Lock()
        self._manager: Any = None

    def passphrase(self, volume: VolumeId, encryption: Encryption) -> Secret:
        """Ask for the key; raises KeyNotFound, KeysUnavailable."""
        if encryption.key is None:
            raise KeyNotFound(f"the volume service names no key of volume {volume}")
        with _translated(volume):
            found = _within(self._timeout, partial(self._fetch, encryption.key))
        if not found:
            raise KeyNotFound(f"the key of volume {volume} has no content")
        return Secret(binascii.hexlify(found).decode())

    def _fetch(self, key: KeyId) -> bytes | None:
        found: bytes | None = self._opened().get(self._credential(), key).get_encoded()
        return found

    def _opened(self) -> Any:  # noqa: ANN401 - of a driver that castellan has chosen
        with self._lock:
            if self._manager is None:
                options.set_defaults(self._conf)
                self._manager = key_manager.API(self._conf)
            return self._manager

    def _credential(self) -> Any:  # noqa: ANN401 - one of castellan's several
        """Vault's driver knows who asks by its own options."""
        if self._conf.key_manager.backend == "vault":
            return None
        return utils.credential_factory(conf=self._conf)


def _within(seconds: float, call: Callable[[], bytes | None]) -> bytes | None:
    """Return what the call does; a thread cannot be stopped, and goes on alone."""
    answer: Future[bytes | None] = Future()

    def run() -> None:
        try:
            answer.set_result(call())
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            answer.set_exception(error)

    threading.Thread(target=run, name="keys", daemon=True).start()
    return answer.result(seconds)


@contextmanager
def _translated(volume: VolumeId) -> Iterator[None]:
    """Whatever its drivers raise; what they say may repeat an address, and no secret."""
    try:
        yield
    except exception.ManagedObjectNotFoundError as error:
        raise KeyNotFound(f"the key manager has no key for volume {volume}: {error}") from error
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        raise KeysUnavailable(f"the key of volume {volume} cannot be had: {said}") from error
