"""Device trees: the flattened blob read in place, written, and the tree that a guest sees."""
