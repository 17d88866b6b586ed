"""What is answered as Glance would, of the folder of images: its paths and words."""
