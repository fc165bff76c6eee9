"""Differentially private training of the adapter."""
