"""What `sealora tune` does: other values of a recipe's fields, tried by rounds without messages, and what that costs.

The fields that may be searched, the values that are tried, what came of each and the price of having looked belong
here. The rounds themselves are `comparison`'s.
"""
