"""A run while it goes: `display` follows its directory, and each `Face` shows what it finds, one file a face or two.

A new face, or a tracker, is a file here and a line in `simulation/simulate.py`. What the state of a run is, and how it
is folded from events, belongs to `sealora_common.records`; what is made of a run that has ended, to `view`.
"""
