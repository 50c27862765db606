"""`python -m berth.cli`, for where the `berth` command is not on PATH."""

from berth.cli import main

if __name__ == "__main__":
    main()
