"""`python deocclude.py photo.jpg -o restored.png` in a checkout: see `engines.cli.restore`."""

from deocclude.engines.cli.restore import main

if __name__ == "__main__":
    main()
