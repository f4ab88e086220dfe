"""``python -m infrasim`` is the ``infrasim`` command."""

from infrasim.cli.main import main

if __name__ == "__main__":
    main()
