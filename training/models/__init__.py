"""Networks: PHNet, the live model, the discriminators."""
