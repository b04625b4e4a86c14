"""Makes other forms of a trained model, which answer sooner, and measures them. It runs where the onnx package is."""

from ffedge.exporting.forms import FORMS, Form, Forms
from ffedge.exporting.source import Rows, Trained, open_rows, read_trained

__all__ = ["FORMS", "Form", "Forms", "Rows", "Trained", "open_rows", "read_trained"]
