"""Videos, animated pictures and the camera, restored frame after frame."""
