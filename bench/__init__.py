"""How fast it is, beside servers of its kind: one harness, one load client, one core each."""
