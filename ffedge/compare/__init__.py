"""ffedge beside backpropagation: arms in clean child processes, what they are measured by, tables and figures."""
