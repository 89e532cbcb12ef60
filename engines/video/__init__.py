"""Videos and animated pictures frame by frame, with the sound and all else that is in them."""
