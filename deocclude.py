"""`python deocclude.py photo.jpg -o restored.png` in a checkout: see `engines.cli.restore`."""

from deocclude.__main__ import main

if __name__ == "__main__":
    main()
