"""The commands that read a run's directory for others: its dossier, adapter, report, figures for a tracker."""
