"""What programs are made for: a machine as data, and how its functions are entered."""
