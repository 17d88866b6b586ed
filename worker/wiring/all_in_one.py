"""Worker and API in one process, for one machine."""

import threading
from collections.abc import Callable
from contextlib import ExitStack

from oslo_config import cfg

from worker.wiring.api import Api
from worker.wiring.api_front import TOKEN, api_url, token_file
from worker.wiring.service import Worker


class AllInOne:
    """Both; the API goes first and comes last, since it has nobody else to ask."""

    def __init__(
        self, conf: cfg.ConfigOpts, welcome: Callable[[str], object], again: str = ""
    ) -> None:
        """Nothing is opened yet; ``welcome`` is told what a user wants to know, once it serves.

        ``again`` is the options that a user's other commands need to find the same.
        """
        self._conf = conf
        self._welcome = welcome
        self._again = again
        self._worker = Worker(conf, beside_api=True)
        self._api = Api(conf, beside_worker=True)
        self._stack = ExitStack()

    @property
    def lost(self) -> threading.Event:
        """Set when another worker has this host."""
        return self._worker.lost

    @property
    def port(self) -> int:
        """Where the API is served."""
        return self._api.port

    def start(self) -> None:
        """Serve, once the database answers; raises what either does, and leaves nothing then."""
        self._api.check()
        first = self._conf.api.auth == TOKEN and not token_file(self._conf).path.exists()
        with ExitStack() as stack:
            self._worker.start()
            stack.callback(self._worker.stop)
            self._api.start()
            stack.callback(self._api.stop)
            self._stack = stack.pop_all()
        self._welcome(said(self._conf, self.port, self._again, first=first))

    def stop(self) -> None:
        """Answer no more, then end as a worker does."""
        self._stack.close()

    def unfit(self) -> str | None:
        """Return what only a start can mend; None while there is no such thing."""
        return self._worker.unfit()


def said(conf: cfg.ConfigOpts, port: int, again: str = "", *, first: bool) -> str:
    """Return what a user is told: where it is, how to ask it, where the token is; never the token.

    With ``first`` the token file was made just now.
    """
    lines = [f"blockworker serves worker and API at {api_url(conf, port)}"]
    if conf.api.auth == TOKEN:
        made = "was made, with one administrator's token" if first else "says who may ask"
        lines.append(f"  {token_file(conf).path} {made} (mode 0600)")
    if conf.api.auth != "keystone":
        lines.append("  To use it, on this machine:")
        clouds = " ".join(filter(None, ("blockworker api clouds", again)))
        # It has the token in it.
        lines.append(f"    (umask 077; {clouds} > clouds.yaml)")
        lines.append("    openstack --os-cloud blockworker server list")
    return "\n".join(lines)
