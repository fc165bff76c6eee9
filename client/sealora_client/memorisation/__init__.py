"""What another participant could get out of a trained model of a person in its training data.

Made-up persons and their records belong here, planted or held back, and the attacks of whoever holds the final adapter:
exposure, extraction, membership inference. Who trains by what recipe, and what follows from what was found, is the
server package's (`memorisation`). Whether the promise of privacy holds is asked by `audit`.
"""
