"""A run's figures for the experiment trackers that people use: MLflow, TensorBoard, Weights & Biases.

What is tracked follows from the run's recipe and events, which is all that a server may know: the federation's figures
with the noise on them, never a site's own, even where a simulation has them lying beside. What is wrong with a tracker
never reaches the run.
"""
