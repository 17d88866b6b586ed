"""By what a device is known: its marks, how they are given, how it is looked up."""
