"""What stands before the API's requests, of the configuration: address, TLS, door, rules."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from oslo_config import cfg

from worker.api.application import Door
from worker.api.asked import Who
from worker.api.front.enforcing import make_enforcer
from worker.api.front.open_door import ANYBODY, OpenDoor
from worker.api.front.private_files import WITH_A_GROUP, check_private
from worker.api.front.token_door import TokenDoor
from worker.api.front.token_file import TokenFile
from worker.errors import Invalid
from worker.rpc.safety import is_loopback
from worker.wiring.settings import host_and_port

TOKEN, KEYSTONE, NONE = "token", "keystone", "none"


def check_api(conf: cfg.ConfigOpts) -> None:
    """Raise Invalid for what `blockworker api` would refuse; nothing is made."""
    api_address(conf)
    tls = api_tls(conf)
    if tls is not None:
        check_private(tls[1], forbidden=WITH_A_GROUP)
    make_enforcer(conf)
    file = token_file(conf)
    if conf.api.auth == TOKEN and file.path.exists():
        file.lines()
    if conf.api.auth == KEYSTONE:
        _keystone(conf)


def api_address(conf: cfg.ConfigOpts) -> tuple[str, int]:
    """Return where the API is served; raises Invalid for what others could reach unsafely."""
    host, port = host_and_port(conf.api.listen, "[api] listen")
    if is_loopback(host):
        return host, port
    where = f"[api] listen = {conf.api.listen} can be reached from other machines"
    if not conf.api.allow_remote:
        message = f"{where}; set [api] allow_remote if that is meant"
        raise Invalid(message)
    if conf.api.auth == NONE:
        message = f"{where}, and with auth = none everybody there is the administrator; change auth"
        raise Invalid(message)
    if api_tls(conf) is None and not conf.api.behind_proxy:
        message = (
            f"{where}, where tokens would be read by all between; set [api] tls_certificate and"
            " tls_key, or behind_proxy if a proxy in front ends TLS"
        )
        raise Invalid(message)
    return host, port


def api_tls(conf: cfg.ConfigOpts) -> tuple[Path, Path] | None:
    """Return certificate and key, None without TLS; raises Invalid for one without the other."""
    certificate, key = conf.api.tls_certificate, conf.api.tls_key
    if not certificate and not key:
        return None
    if not certificate or not key:
        message = "[api] tls_certificate and tls_key go together; set both or neither"
        raise Invalid(message)
    return Path(certificate), Path(key)


def api_url(conf: cfg.ConfigOpts, port: int = 0) -> str:
    """Return the URL by which clients of this machine, or all, are to ask."""
    if conf.api.public_url:
        return str(conf.api.public_url).rstrip("/")
    host, configured = host_and_port(conf.api.listen, "[api] listen")
    here = f"[{host}]" if ":" in host else host
    scheme = "http" if api_tls(conf) is None else "https"
    return f"{scheme}://{here}:{port or configured}"


def token_file(conf: cfg.ConfigOpts) -> TokenFile:
    """Return the file of tokens; it need not be there."""
    return TokenFile(Path(conf.api.token_file or Path(conf.state_path) / "api-tokens"))


def make_door(conf: cfg.ConfigOpts) -> Door:
    """Return who lets callers in; the token file is made if need be. Raises Invalid."""
    match conf.api.auth:
        case "none":
            return OpenDoor(conf.api.public_url)
        case "keystone":
            return _keystone(conf)
        case _:
            return _tokens(conf)


def make_callers(conf: cfg.ConfigOpts) -> Callable[[str], Who | None] | None:
    """Return who a token stands for, by this API's own word; None where Keystone has it."""
    match conf.api.auth:
        case "none":
            return lambda _token: ANYBODY
        case "keystone":
            return None
        case _:
            return _tokens(conf).known


def _tokens(conf: cfg.ConfigOpts) -> TokenDoor:
    file = token_file(conf)
    file.make()
    return TokenDoor(file)


def _keystone(conf: cfg.ConfigOpts) -> Door:
    try:
        room = import_module("worker.api.front.keystone_door")
    except ImportError as error:
        message = f"[api] auth = keystone needs blockworker[keystone] to be installed ({error})"
        raise Invalid(message) from error
    door: Door = room.KeystoneDoor(conf)
    return door
