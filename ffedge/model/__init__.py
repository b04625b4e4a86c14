"""Model files: read, written, and the predictor's graph, which is built from their metadata and weights."""
