"""Benchmarks on the user's own model: `fxquant bench`."""
