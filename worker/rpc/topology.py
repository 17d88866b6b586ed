"""Exchange and queues, declared alike by whoever comes first.

A name declared in two ways is refused by RabbitMQ, so what oslo.messaging declares as well is
declared exactly as it would: no queue of ours has the name of a queue of a stock listener.
"""

from typing import Any

from kombu.entity import Exchange, Queue

from worker.rpc.bus import BusSettings

DELIVERIES = 2**31 - 1


def exchange(settings: BusSettings) -> Exchange:
    """Return the one exchange; oslo.messaging makes it durable with quorum queues only."""
    return Exchange(settings.name, type="topic", durable=settings.replicated)


def dead_letter_exchange(settings: BusSettings) -> Exchange:
    """Return where this host's dead letters are sent."""
    return Exchange(settings.dead_letters, type="direct", durable=True)


def operations_queue(settings: BusSettings) -> Queue:
    """Return this host's inbox; what is delivered too often leaves it for the dead letters."""
    arguments: dict[str, Any] = {
        "x-dead-letter-exchange": settings.dead_letters,
        "x-dead-letter-routing-key": settings.dead_letters,
    }
    if settings.replicated:
        arguments |= {
            "x-queue-type": "quorum",
            "x-delivery-limit": settings.delivery_limit,
            # Dead letters, too, are moved with a confirmation; that strategy needs this overflow.
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        }
    name = settings.operations_queue
    return Queue(
        name, exchange(settings), routing_key=name, durable=True, queue_arguments=arguments
    )


def dead_letter_queue(settings: BusSettings) -> Queue:
    """Return the queue of what this host could not read; an operator empties it."""
    return Queue(
        settings.dead_letters,
        dead_letter_exchange(settings),
        routing_key=settings.dead_letters,
        durable=True,
        queue_arguments=_kind(settings) | _never_given_up(settings),
    )


def retained_updates(settings: BusSettings) -> Queue:
    """Return the bounded queue that takes each update, so that one without a listener has a home.

    Not ``<topic>.info``: a stock listener declares that one itself, without a bound.
    """
    return Queue(
        f"{settings.updates_topic}.retained",
        exchange(settings),
        routing_key=settings.updates_key,
        durable=True,
        queue_arguments=_kind(settings)
        | {"x-max-length": settings.retained_updates, "x-overflow": "drop-head"},
    )


def watchers_queue(settings: BusSettings, name: str) -> Queue:
    """Return a queue of one watcher's own, gone when he goes."""
    return Queue(
        name,
        exchange(settings),
        routing_key=settings.updates_key,
        exclusive=True,
        auto_delete=True,
        durable=False,
    )


def _never_given_up(settings: BusSettings) -> dict[str, Any]:
    """Each look at a dead letter counts as a delivery; RabbitMQ 4 drops what had 20 of them."""
    return {"x-delivery-limit": DELIVERIES} if settings.quorum else {}


def _kind(settings: BusSettings) -> dict[str, Any]:
    return {"x-queue-type": "quorum"} if settings.replicated else {}
