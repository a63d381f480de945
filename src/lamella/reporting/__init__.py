"""Finished runs compared: tables, statistics, figures and one HTML page.

from lamella import reporting, tracking

runs = tracking.finished("sqlite:///mlflow/lamella.db", experiment="blood")
cohorts, notes = reporting.cohorts(runs)                  # unlike protocols apart, seeds of one method together
reporting.summary(cohorts[0], "dice", {})                 # a pandas table: mean, interval, seeds, failures of each
reporting.pairs(cohorts[0], "dice")                       # every pair: difference, interval, p, verdict
parts = [reporting.section(each, "dice", {}, notes=notes, k=3) for each in cohorts]
reporting.write(Path("out"), "My comparison", parts)      # report.html, CSV, Markdown, LaTeX
"""

from lamella.reporting.cohorts import Cohort, Method, SeedRun, cohorts
from lamella.reporting.overview import matched
from lamella.reporting.parts.section import Section
from lamella.reporting.report import Report, described, heading, section, write
from lamella.reporting.summary import pairs, scores_of, summary
from lamella.reporting.verdict import Verdict, verdict

__all__ = [
    "Cohort",
    "Method",
    "Report",
    "Section",
    "SeedRun",
    "Verdict",
    "cohorts",
    "described",
    "heading",
    "matched",
    "pairs",
    "scores_of",
    "section",
    "summary",
    "verdict",
    "write",
]
