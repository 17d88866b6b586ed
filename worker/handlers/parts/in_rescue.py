"""What a change of devices has to do for a guest that is in rescue."""

from dataclasses import replace

from worker.model.block_device import BlockDevice
from worker.model.instance import Instance
from worker.model.rescue.meanwhile import keeping
from worker.ports import Ports


def keep_in_rescue(instance: Instance, device: BlockDevice, ports: Ports) -> None:
    """Have a disk that was attached in rescue be there whenever the guest is started in it again.

    Of the others a rescue may leave out what it was decided without.
    """
    if instance.rescue is None:
        return
    rescue = keeping(instance.rescue, device.target)
    if rescue != instance.rescue:
        ports.instances.save(replace(instance, rescue=rescue))
