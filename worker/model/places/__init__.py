"""Where a device goes: names, addresses, controllers and what they have room for."""
