"""[bus]: queues and promises on the message bus."""

from oslo_config import cfg

GROUP = "bus"

OPTIONS = [
    cfg.BoolOpt(
        "quorum",
        default=True,
        help="Use durable quorum queues and a durable exchange on RabbitMQ. Without them an"
        " operation that was sent but not yet taken is lost with the broker.",
    ),
    cfg.IntOpt(
        "prefetch",
        default=64,
        min=1,
        help="How many operations are taken from the queue before the first is in the journal; so"
        " many are kept in one commit.",
    ),
    cfg.IntOpt(
        "delivery_limit",
        default=20,
        min=1,
        help="How often an operation is delivered before the broker moves it to the dead-letter"
        " queue (quorum queues). Only a worker that dies while it reads a message gets here.",
    ),
]
