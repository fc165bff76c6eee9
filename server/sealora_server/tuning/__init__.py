"""What `sealora tune` does: other values of a recipe's fields, tried by rounds without messages, and what that costs.

Trials at work, what is kept of each, what follows from all of them and the price of having looked belong here; which
values are tried is `search`'s, and the rounds themselves are `comparison`'s.
"""
