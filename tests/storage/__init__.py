"""Tests of `wellnet_sse.storage`."""
