"""The commands for what a site has of a run that is over: its report, answers of its adapter, exports."""
