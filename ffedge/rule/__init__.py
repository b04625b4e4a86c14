"""The learning rule: goodness, norm, loss, collaboration, optimiser; each as a graph, its torch twin beside it."""
