"""`at.compile`: a function, or a whole training step, as one native program."""
