"""What an operator may do at the dashboard: forms, each of which does once what the command line does.

Who somebody is, is `login`'s; what is done, and who may approve what, `deployment.operator`'s and `upkeep`'s.
"""
