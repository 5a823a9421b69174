"""Training: PHNet, the live model, their data, losses and scores; never imports livecomp."""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # ONNX Runtime reads it when it is imported
