"""Cinder as the volume service: its API v3, through openstacksdk."""
