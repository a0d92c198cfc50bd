"""The encoders, read back by parsers that nobody in this project wrote."""
