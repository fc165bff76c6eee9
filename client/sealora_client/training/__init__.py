"""Training of the adapter as a plan says, one object a privacy mechanism (`choice`).

What a plan is and what it costs belongs to `sealora_common.privacy`; when a round is trained and paid for, to `round`.
"""
