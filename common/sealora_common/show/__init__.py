"""What people are shown: text that others wrote cannot steer a terminal, forge a line or hide a part of itself.

Figures as a person reads them, and what the pages of both sides share. What is shown of a run or a site is theirs.
"""
