"""Tests of wellnet_sse/identity."""
