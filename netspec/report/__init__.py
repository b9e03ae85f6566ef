"""report.html of a training run: curves, scores, pictures, the net and the recipe, on one page that stands alone."""
