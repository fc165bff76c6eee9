"""Whole federations on one machine: the same ServerApp and ClientApp, under an engine of one's choice."""
