"""Layers: what a kind of layer is (`ffedge.layers.base`), and a file for each kind (`ffedge.kinds` lists them)."""
