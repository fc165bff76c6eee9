"""What is measured on held-out records: one file a metric, which says its range, its unit and what telling it costs.

A new metric is a file here and a line in `choice`. Only a `ReleasedMetric` may leave the site, and never without noise:
`Measurement` makes the release, and the ledger is charged by whoever sends it. Objectives' losses are `objective`'s.
"""
