"""``python -m tests.bench.echo URL EXCHANGE HOST``: an oslo.messaging server that echoes."""

import signal
import sys
import threading

from oslo_messaging import Target, get_rpc_server, get_rpc_transport
from oslo_messaging.rpc.dispatcher import DefaultRPCAccessPolicy

from tests.bench.bare import TOPIC
from worker.rpc.bus import messaging_conf


class Echo:
    """The whole interface."""

    def echo(self, _context: object, said: str) -> str:
        return said


def main(url: str, exchange: str, host: str) -> None:
    """Serve until SIGTERM."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    transport = get_rpc_transport(messaging_conf(url, quorum=True))
    target = Target(exchange=exchange, topic=TOPIC, server=host)
    server = get_rpc_server(
        transport, target, [Echo()], executor="threading", access_policy=DefaultRPCAccessPolicy
    )
    server.start()
    stop.wait()
    server.stop()
    server.wait()
    transport.cleanup()


main(*sys.argv[1:])
