"""What Cinder's services are told."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.cinder.database import URL
from tests.cinder.identity import PASSWORD, Identity

PLACE = Path(__file__).parents[2] / "build" / "cinder"

CONFIGURATION = """\
[DEFAULT]
state_path = {folder}/state
transport_url = {broker}
auth_strategy = keystone
api_paste_config = {place}/etc/cinder/api-paste.ini
rootwrap_config = {place}/etc/cinder/rootwrap.conf
resource_query_filters_file = {place}/etc/cinder/resource_filters.json
host = cinder-host
osapi_volume_listen = 127.0.0.1
osapi_volume_listen_port = {port}
osapi_volume_workers = 1
# By its type alone: Ceph tells by its manager how much room it has, and runs without one here.
scheduler_default_filters = CapabilitiesFilter

[database]
connection = {database}
sqlite_synchronous = false

[oslo_concurrency]
lock_path = {folder}/locks

[keystone_authtoken]
www_authenticate_uri = {identity}
service_token_roles = service
service_token_roles_required = true
# Ask for each request: a token that was taken back is no good at once.
token_cache_time = -1
{account}
[nova]
{account}
[key_manager]
backend = cinder.keymgr.conf_key_mgr.ConfKeyManager
fixed_key = {key}
"""

KEY_ID, KEY = "00000000-0000-0000-0000-000000000000", "5eed" * 16
"""The one key of all encrypted volumes: in hex, which is the passphrase too."""

ACCOUNT = """\
auth_type = password
auth_url = {identity}
username = worker
password = {password}
user_domain_id = default
project_name = service
project_domain_id = default
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """Where volumes of the type ``name`` are kept; ``modules`` are folders of Python's."""

    name: str
    options: Mapping[str, object]
    path: str
    modules: str = ""

    def written(self) -> str:
        options = {"volume_backend_name": self.name, **self.options}
        return "\n".join(
            [
                f"[DEFAULT]\nenabled_backends = {self.name}\n\n[{self.name}]",
                *(f"{name} = {value}" for name, value in options.items()),
                "",
            ]
        )


def written(folder: Path, broker: str, port: int, identity: Identity) -> str:
    """Return what all services are told, whatever their backend."""
    return CONFIGURATION.format(
        folder=folder,
        database=URL.format(folder=folder),
        broker=broker,
        place=PLACE,
        port=port,
        identity=identity.auth_url,
        key=KEY,
        account=ACCOUNT.format(identity=identity.auth_url, password=PASSWORD),
    )
