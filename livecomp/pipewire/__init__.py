"""The desktop's PipeWire, which has cameras, and takes them."""
