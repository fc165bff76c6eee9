"""The commands that read a run's directory for others: its dossier, its adapter, its figures for a tracker."""
