"""The real server in a process of its own, met over real sockets by clients from other hands."""
