"""An empirical privacy audit: how much an adversary proves to have learnt about records that were put in by a coin."""
