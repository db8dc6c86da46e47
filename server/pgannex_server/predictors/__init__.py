"""Predictors, as the server sees them: the processes, the models in them, the jobs under way."""
