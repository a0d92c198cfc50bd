"""Everything that knows Hypercorn."""
