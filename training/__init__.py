"""Training: PHNet, the live model, their data, losses and scores; never imports livecomp."""
