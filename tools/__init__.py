"""The commands behind the Makefile; each says its own with `python -m tools.NAME --help`."""
