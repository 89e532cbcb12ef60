"""What covers a face: cut-outs and drawn things, placed and blended."""
