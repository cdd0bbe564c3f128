"""Learned models: samples and labels, walk-forward validation, learners, calibration, and the file of weights."""
