"""The whole story on real networks: `fxquant demo`."""
