"""`python -m data.download faces masks occluders`: see `data.download.sets`."""

from deocclude.data.download.sets import main

if __name__ == "__main__":
    main()
