"""Differential-privacy accounting: what a sequence of noisy training steps costs, and the noise a budget buys."""
