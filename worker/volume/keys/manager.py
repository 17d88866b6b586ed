"""Passphrases from a key manager, by castellan: Barbican, Vault, and what else it has a driver for.

https://docs.openstack.org/castellan/latest/
"""

import binascii
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from castellan import key_manager, options
from castellan.common import exception, utils
from oslo_config import cfg

from worker.errors import KeyNotFound, KeysUnavailable
from worker.model.ids import VolumeId
from worker.model.secret import Secret
from worker.model.volume import Encryption
from worker.ports import Keys

_NOISY = ("castellan", "barbicanclient")
"""They log what they fetch at DEBUG."""


class ManagedKeys(Keys):
    """The keys that castellan's options in ``conf`` lead to, with the worker's own credentials.

    A key's bytes are written in hexadecimal to be a passphrase, as Nova does: what one has made the
    other opens. Raises KeysUnavailable for options that cannot be meant.
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
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
            found = self._opened().get(self._credential(), encryption.key).get_encoded()
        if not found:
            raise KeyNotFound(f"the key of volume {volume} has no content")
        return Secret(binascii.hexlify(found).decode())

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
