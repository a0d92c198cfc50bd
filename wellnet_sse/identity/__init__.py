"""Signed tokens and what stands in for them: keys, claims, tickets. No Quart."""
