"""Death, repetition and a full disk: what is left of the promises then."""
