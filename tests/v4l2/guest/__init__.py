"""A machine of its own for tests that need kernel modules: QEMU, with this computer's files, vivid and v4l2loopback."""
