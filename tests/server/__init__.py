"""The server: everything that knows Hypercorn."""
