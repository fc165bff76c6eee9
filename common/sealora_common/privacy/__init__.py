"""What a run promises: the plan of its rounds and evaluations, the mechanisms that make it, and what events cost.

Drawing samples and noise needs a site's records and belongs to the client; what was charged belongs to its ledger.
"""
