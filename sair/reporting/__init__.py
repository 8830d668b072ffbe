"""Turn scores into tables, figures, claims, comparisons and the HTML report."""
