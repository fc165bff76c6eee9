"""What `sealora memorisation` finds: how much of planted personal data comes out of a model, with privacy and without.

Who trains by what recipe, what came of the attacks, how sure that is, and how it is told belong here. The made-up
records and the attacks are the installed site package's (`sealora_client.memorisation`); the rounds and the arms are
`comparison`'s.
"""
