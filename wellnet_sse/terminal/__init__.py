"""The client for people at a terminal, and for scripts: it follows, starts and publishes over HTTP."""
