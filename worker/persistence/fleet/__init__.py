"""The database as an API tier reads it: of every host, and of whichever project.

Reads alone, each in a transaction of its own. What a caller may see is not decided here.
"""

from worker.persistence.fleet.reading import Fleet
from worker.persistence.fleet.seen import Doing, Host, Server, Told, Wanted

__all__ = ["Doing", "Fleet", "Host", "Server", "Told", "Wanted"]
