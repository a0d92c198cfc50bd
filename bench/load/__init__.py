"""The load client: it reads thousands of streams on one core, and counts with C-speed calls."""
