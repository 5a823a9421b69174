"""Whole frames on a GPU: one upload, one graph of networks, correction and blend, one read-back.

`graph` joins the parts of a frame in one ONNX graph for one size: `matte` (networks, filter, haze, refiner) and `blend`
(edges, correction, light wrap), both written with `nodes` and `resample`. `whole` feeds it once a frame, keeps what has
to be remembered between frames (`regions`), and judges what comes back: the matte as on the CPU, the composite by
`verify`. Before a device is trusted, `proof` compares it with the CPU. `choice` finds a device.

The scene stays on the device until it changes. Every backend of `engine` can run the graph; ONNX Runtime on the CPU is
what tests compare with, and too slow for anything else.
"""
