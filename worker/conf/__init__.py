"""oslo.config options, one file per group."""
