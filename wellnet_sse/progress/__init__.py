"""The heart: operations, their log, the hub and its readers. No I/O, no web framework."""
