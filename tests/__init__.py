"""The tests: this tree mirrors the package, `e2e` talks to a real server, `harness` is what they share."""
