"""`python -m wellnet_sse`: the same as `wellnet-sse`."""

from wellnet_sse.cli import main

main()
