"""The virtual camera of PipeWire, with the real PipeWire, session manager, portal and browsers of a desktop."""
