"""What is in deploy/, with the real programs: proxies, systemd, Hypercorn alone, containers."""
