"""HTTP and WebSocket endpoints: validate, call, answer."""
