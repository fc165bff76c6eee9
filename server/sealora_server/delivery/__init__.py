"""A run's final adapter on its way to the sites: what they are given once a run is over, and who has taken it.

How a run comes to its end is `run`'s; when a site is offered what it lacks is `deployment`'s.
"""
