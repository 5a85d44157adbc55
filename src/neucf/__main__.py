"""`python -m neucf` is the command line."""

from neucf.cli import main

if __name__ == "__main__":
    main()
