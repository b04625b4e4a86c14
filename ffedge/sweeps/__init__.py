"""Many trainings of one description: a grid or draws of a spec's fields, each trial in a process of its own."""
