"""Tests that run in a machine of their own: `tests/system` boots it and hears how they end."""
