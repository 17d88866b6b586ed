"""What is answered as Nova would: its paths, words, microversions and faults."""
