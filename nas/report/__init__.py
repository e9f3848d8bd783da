"""The report: one self-contained HTML page, and the same front as a picture."""
