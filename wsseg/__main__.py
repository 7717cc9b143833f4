"""`python -m wsseg` is the `wsseg` command, for where the script is not on the path."""

from wsseg.cli import main

if __name__ == "__main__":
    main()
