"""Fitting: objectives, the solver, the certificate and its checks."""
