"""The servers under test, each with a publisher inside that offers the same events."""
