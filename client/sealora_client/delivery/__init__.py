"""What a site keeps of a run that is over: the adapter, checked against its receipts, and how the run ended.

What is done with the adapter is `trained`'s; what a person is told of the run is `run_report`'s.
"""
