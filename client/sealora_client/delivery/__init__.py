"""What a site keeps of a run that is over: the adapter, checked against its receipts, and how the run ended.

What is done with the adapter is `chat`'s and `export`'s; what a person is told of the run is `run_report`'s.
"""
