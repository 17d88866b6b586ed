"""What one request tells the bus."""

from worker.model.update import Update
from worker.persistence.unit_of_work import UnitOfWork
from worker.ports import Updates


class SqlUpdates(Updates):
    """The writing end of the outbox, for one request."""

    def __init__(self, unit: UnitOfWork) -> None:
        self._unit = unit

    def tell(self, update: Update) -> None:
        """Write the update with the next commit."""
        self._unit.tell(update)
