"""Tests of `wellnet_sse.provisioning`."""
