"""The doctor: what it finds in installations and in running servers, well and ill."""
