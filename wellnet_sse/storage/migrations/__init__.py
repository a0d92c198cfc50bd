"""The schema's history, run by `Database.migrate`: a file for each version, named by it."""

from pathlib import Path

NEWEST = max(path.name for path in Path(__file__).with_name("versions").glob("[0-9]*.py"))[:4]
"""The version that this program knows the tables of."""
