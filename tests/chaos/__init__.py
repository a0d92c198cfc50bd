"""Storms: real servers killed and cut off under load, and a checker that compares what all sides saw."""
