"""The virtual camera of PipeWire, which needs neither a driver nor an administrator."""
