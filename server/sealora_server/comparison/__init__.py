"""What `sealora compare` finds: a recipe against what else could be done with the same records, or runs side by side.

Rounds without messages among simulated sites belong here, the arms that are compared, what came of each, and how the
whole is told. A site's own part in a round is the installed site package's; a federation with its messages is
`simulation`'s.
"""
