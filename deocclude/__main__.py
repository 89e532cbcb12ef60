"""`python -m deocclude photo.jpg -o restored.png`: see `engines.cli.restore`."""

from deocclude.engines.cli.restore import main

if __name__ == "__main__":
    main()
