"""Finished runs compared: tables, statistics, figures and one HTML page.

from lamella import report, tracking

runs = tracking.finished("sqlite:///mlflow/lamella.db", experiment="blood")
cohorts, notes = report.cohorts(runs)                  # unlike protocols apart, seeds of one method together
report.summary(cohorts[0], "dice", {})                 # a pandas table: mean, interval, seeds of each method
report.pairs(cohorts[0], "dice")                       # every pair: difference, interval, p, verdict
parts = [report.section(each, "dice", {}, notes=notes, k=3) for each in cohorts]
report.write(Path("out"), "My comparison", parts)      # report.html, CSV, Markdown, LaTeX
"""

from lamella.report.cohort import Cohort, Method, Repetition
from lamella.report.gather import cohorts
from lamella.report.page import Section
from lamella.report.sections import heading, section, write
from lamella.report.summary import pairs, scores_of, summary, verdict

__all__ = [
    "Cohort",
    "Method",
    "Repetition",
    "Section",
    "cohorts",
    "heading",
    "pairs",
    "scores_of",
    "section",
    "summary",
    "verdict",
    "write",
]
