"""`python -m livecomp` is the command `livecomp`."""

from livecomp.cli import main

if __name__ == "__main__":
    main()
