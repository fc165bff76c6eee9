"""The aggregation server and the simulation of whole federations. Needs no torch to aggregate."""
