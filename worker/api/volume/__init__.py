"""What is answered as Cinder would, of the built-in pool: its paths, words and microversions."""
