"""Every broker against one contract, and what each promises beyond it."""
