"""The heart, without a server: real objects, and a clock that the tests turn."""
