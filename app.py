"""`python app.py`: the page in the browser; the same as `deocclude app`. See docs/app.md."""

from deocclude.__main__ import main

if __name__ == "__main__":
    main("app")
