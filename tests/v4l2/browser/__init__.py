"""Chromium as the one who watches the virtual camera, and pictures that say which frame they are."""
