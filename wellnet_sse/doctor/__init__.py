"""What is wrong with an installation, or between a running server and its readers, and what mends it."""
