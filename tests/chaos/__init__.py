"""The crash matrix on real parts: ``tox -e chaos``; ``-- --shard 1/4`` does a quarter of it."""
