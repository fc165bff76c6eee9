"""What one side writes and another reads: the lines, files and figures that travel between sites, server and displays.

The forms alone, and how their files are read and appended to. Who writes them and what is shown of them is elsewhere;
what is signed or sealed (orders, receipts, rosters) has folders of its own.
"""
