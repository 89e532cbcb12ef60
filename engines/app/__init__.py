"""A page in the browser: see the mask, mend it, get the face."""
