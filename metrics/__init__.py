"""What is measured on images and how sure it is."""
