"""One file a backend; each imports its package only when a runner is opened."""
