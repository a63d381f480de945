"""Whole images scored: the operating point that validation chooses, and the test. Knows neither training nor MLflow."""
