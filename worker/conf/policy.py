"""[oslo_policy]: the operator's own rules of who may ask the API what."""

from oslo_policy import opts

((GROUP, OPTIONS),) = opts.list_opts()
