"""Where the passphrases of encrypted volumes are, as the configuration asks for them."""

from importlib import import_module
from pathlib import Path

from oslo_config import cfg

from worker.errors import Invalid
from worker.ports import Keys
from worker.volume.keys.files import KeyFiles
from worker.wiring.settings import state_path


def make_keys(conf: cfg.ConfigOpts) -> Keys:
    """Return the key manager; nothing is asked yet. Raises Invalid where castellan is missing."""
    # As an attribute it would be the method of that name, which every mapping has.
    if conf.volume["keys"] == "files":
        return KeyFiles(keys_path(conf))
    try:
        # By name: it is an extra, and takes a second to load.
        manager = import_module("worker.volume.keys.manager")
    except ImportError as error:
        message = (
            "[volume] keys = castellan, and castellan is not installed: pip install"
            f" 'blockworker[keys]' ({error})"
        )
        raise Invalid(message) from error
    found: Keys = manager.ManagedKeys(conf)
    return found


def pool_keys(conf: cfg.ConfigOpts) -> KeyFiles | None:
    """Return where the built-in pool makes keys; None where a key manager has them."""
    return KeyFiles(keys_path(conf)) if conf.volume["keys"] == "files" else None


def keys_path(conf: cfg.ConfigOpts) -> Path:
    """Return the folder of key files."""
    return Path(conf.volume.keys_path or state_path(conf) / "keys")
