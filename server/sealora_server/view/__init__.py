"""What a person sees of a run: the live display (`live`), the final tables, `summary.json` and `report.html`.

All of it reads a run's directory and nothing else, so it serves simulations and deployed runs alike.
"""
