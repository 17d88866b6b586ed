"""What an API tier imports: each method of the table as a method, errors as ``worker.errors``.

Every method has the host first. Calls return plain JSON (docs/bus.md says what is in it).
Operations return their ``operation_id`` as soon as the broker has them; their end is told as an
update, and ``wait_for`` asks for it.
"""

from worker.rpc.client.devices import DeviceMethods
from worker.rpc.client.instances import InstanceMethods
from worker.rpc.client.operations import OperationMethods
from worker.rpc.client.peripherals import PeripheralMethods
from worker.rpc.client.sender import Json, Sending

__all__ = ["Client", "Json", "Sending"]


class Client(DeviceMethods, InstanceMethods, OperationMethods, PeripheralMethods):
    """A worker's methods, for any host on one bus; may be shared by threads."""
