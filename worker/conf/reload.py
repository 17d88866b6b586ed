"""Reading the configuration again while the worker runs."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from oslo_config import cfg
from oslo_log import _options as log_options

from worker.conf import list_opts


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One option whose value in the files is another than the worker's.

    One that is not ``mutable`` takes effect at the next start. Secrets are shown as such.
    """

    option: str
    old: object
    new: object
    mutable: bool


def adopt(running: cfg.ConfigOpts, fresh: cfg.ConfigOpts) -> tuple[Change, ...]:
    """Have ``running`` take the mutable values of its files; return how it differed from ``fresh``.

    ``fresh`` is what the files are read into, and was checked: a value that does not fit would
    otherwise be found when it is first used. Raises oslo.config's errors.
    """
    changes = tuple(_changes(running, fresh))
    running.mutate_config_files()
    return changes


def said(error: cfg.Error) -> str:
    """Return what is wrong, without the words of the file, which may be a secret."""
    if isinstance(error, cfg.ConfigFileParseError):
        line = re.search(r":(\d+), ", str(error.msg))
        return f"{error.config_file} cannot be read" + (f" in line {line[1]}" if line else "")
    return str(error)


def _changes(running: cfg.ConfigOpts, fresh: cfg.ConfigOpts) -> Iterator[Change]:
    for group, options in [*list_opts(), *log_options.list_opts()]:
        section = running if group is None else running[group]
        for option in (option for option in options if option.dest in section):
            old, new = _value(running, group, option), _value(fresh, group, option)
            if old != new:
                hidden = ("(secret)", "(secret)") if option.secret else (old, new)
                name = f"[{group or 'DEFAULT'}] {option.dest}"
                yield Change(option=name, old=hidden[0], new=hidden[1], mutable=option.mutable)


def _value(conf: cfg.ConfigOpts, group: str | None, option: cfg.Opt) -> object:
    return (conf if group is None else conf[group])[option.dest]
