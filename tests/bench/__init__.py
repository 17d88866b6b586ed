"""Measurements: ``tox -e bench`` prints a table, ``-- --json FILE`` writes the figures too."""
