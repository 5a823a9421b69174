"""The command line. Errors end with one line and an exit code that means something, never with a traceback.

Exit codes: 0 done; 1 unexpected error; 2 wrong usage; 3 input, 4 output, 5 a frame had no valid matte, 6 model,
7 something is not installed, 8 options, 9 internal contract, 10 slower than before (bench); 130 interrupted,
143 and 129 ended by SIGTERM and SIGHUP.
"""

from __future__ import annotations

from livecomp.cli import bench, files, info, live, setup
from livecomp.cli.common import app, main

__all__ = ["app", "main"]

# a name imported for its commands alone is used by nobody else
_COMMANDS = (bench, files, info, live, setup)
