"""Data for training and evaluation: readers, builders, augmentations and the loader."""
