"""Fits, as the server sees them: one process each, a queue before them, jobs that outlive a request."""
