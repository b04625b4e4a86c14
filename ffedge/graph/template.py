"""The model file without its weights: the predictor's graph and, beside it, its learning step.

A model.onnx MUST have one input ``input`` and the outputs ``scores``, ``label`` and ``margin``; it MUST carry the
metadata ``ffedge.format``, ``ffedge.spec`` and ``ffedge.input``; it MAY carry more outputs and more metadata. A reader
MUST refuse a format that it does not know. `ffedge.model_file` adds weights and metadata.

It MAY carry one ``training_info`` (`ffedge.graph.algorithm`); to predict, a reader MUST NOT need it. Its algorithm MUST
name the predictor's own weights and MUST NOT store them again; its nodes and values MUST carry the stages of
`ffedge.stages` in their names, and its update bindings MUST be those that `ffedge.stages.bindings` lists. Who learns
from a file MAY run the algorithm as it is, joined to the predictor's graph, or stage by stage; what he writes MUST be a
model.onnx again.
"""

from ffedge.graph.algorithm import training_info
from ffedge.graph.predictor import predictor_graph
from ffedge.network import InputFacts
from ffedge.recipe import Recipe


def template(recipe: Recipe, facts: InputFacts) -> bytes:
    """Return a model.onnx of a recipe, without weights and metadata."""
    model = predictor_graph(recipe, facts)
    model.doc_string = "Forward-Forward network: the label is the argmax of the summed goodness. Made by ffedge."
    if recipe.network.norm != "fixed" and recipe.rule.sparsity is None:  # whose measures the step's stages do not hold
        model.training_info.append(training_info(recipe, facts, model.graph))
    return bytes(model.SerializeToString())
