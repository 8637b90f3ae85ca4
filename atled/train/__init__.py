"""The jobs behind the command line: training on digits, predicting, looking at the machine.

This room puts layers, optimizers, data, files and drawings together; nothing imports it but
`cli.py`. What always holds: input that a user can get wrong is read inside `refused(...)`, so
that a mistake is one clear line, and every file of a run is there whole or not at all.
"""
