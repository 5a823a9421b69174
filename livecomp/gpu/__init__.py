"""The whole of a frame on a GPU: one upload, one graph of networks, correction and blend, one read-back."""
