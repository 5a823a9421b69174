"""Networks that ship with the package, or that the user installed."""
