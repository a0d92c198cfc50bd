"""What only the `valkey` broker can break."""
