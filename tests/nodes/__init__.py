"""Several processes and machines, on what they share: a real Valkey, a real PostgreSQL."""
