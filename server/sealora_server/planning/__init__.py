"""What `sealora plan` tells of a recipe before there is a run: gathered, and shown.

The figures are `sealora_common.privacy.noise_law`'s; records, base model and time are the installed site package's.
"""
