"""The same learning rules in torch, by autograd: the readable reference, and the engine for GPUs."""
