"""What the server and the sites must agree on. Needs neither torch nor Flower."""

__version__ = "0.1.0"
