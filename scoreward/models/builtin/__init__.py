"""The models that ship with the package, small enough for a CPU."""
