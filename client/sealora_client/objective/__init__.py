"""What is learned: one file an objective, which makes examples of records and gives each example's loss.

Training, evaluation, check and audit ask the `Objective` of the recipe and name no loss of their own. A new objective
is a file here and a line in `choice`. What a record looks like in a file is the business of `data`, and how losses
become clipped gradients that of `training`.
"""
