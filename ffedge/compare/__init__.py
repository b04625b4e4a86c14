"""ffedge beside backpropagation on this machine: arms in clean child processes, and what they are measured by."""
