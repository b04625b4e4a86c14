"""Who may import what: the table of docs/design.md, and the files that load late."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Allowed:
    """What a unit may import as it is loaded: units of ffedge, packages; and what only inside its functions."""

    units: str = ""
    packages: str = ""
    inside: str = ""


BASE = (
    "columns errors fields files json_text labels meter pages presets recipe resolve seeds spec spec_parts tensors "
    "turns version"
)
NETWORK = "kinds layers network onnx rule"
TABLE = {
    "__init__": Allowed("version"),
    "__main__": Allowed("cli"),
    "version": Allowed(),
    "errors": Allowed(),
    "files": Allowed("errors"),
    "json_text": Allowed(),
    "fields": Allowed(),
    "presets": Allowed(),
    "spec": Allowed("fields kinds presets spec_parts"),
    "class_weight": Allowed("fields json_text"),
    "spec_parts": Allowed("class_weight fields kinds"),
    "recipe": Allowed("kinds spec spec_parts"),
    "resolve": Allowed("class_weight kinds network recipe spec spec_parts"),
    "seeds": Allowed("", "numpy"),
    "labels": Allowed("seeds", "numpy"),  # wrong labels are a function of the sample's place
    "meter": Allowed(),
    "pages": Allowed("files", "numpy"),
    "tensors": Allowed("files pages", "numpy"),
    "turns": Allowed("errors"),
    "onnx": Allowed("", "numpy"),  # graphs by protobuf alone: the onnx package is for int8 forms and tests
    "kinds": Allowed(),  # the modules that it names are loaded by their users
    "layers": Allowed("columns kinds onnx seeds", "numpy", "torch"),  # a layer's torch twin stands beside its graph
    "rule": Allowed("kinds layers onnx seeds spec_parts", "numpy", "torch"),
    "columns": Allowed("errors json_text"),
    "network": Allowed("columns errors fields kinds labels layers recipe", "numpy"),
    "engine": Allowed(f"errors pages recipe spec turns {NETWORK}", "numpy onnxruntime", "torch"),
    "model": Allowed(f"engine {BASE} {NETWORK}", "numpy"),
    "data": Allowed("class_weight columns errors files json_text labels recipe seeds spec", "numpy", "PIL pyarrow"),
    "training": Allowed(f"data engine model {BASE} {NETWORK}", "numpy", "onnxruntime torch tqdm"),
    "learning": Allowed(f"data engine model predict training {BASE} {NETWORK}", "numpy"),
    "predict": Allowed(f"data engine model training {BASE} {NETWORK}", "numpy"),
    # forms are made on a workstation: a graph is built, run on held-out rows and, for int8, given to the quantizer
    "export": Allowed(f"data engine model predict training {BASE} {NETWORK}", "numpy onnxruntime", "onnx"),
    "spikes": Allowed(f"data engine model predict training {BASE} {NETWORK}", "numpy", "h5py nir"),
    "page": Allowed(f"data engine learning model predict training {BASE} {NETWORK}", "numpy"),
    # flwr is in the files of the app alone: a round's arithmetic and a board's part stand without it
    "fleet": Allowed(f"data engine learning model predict training {BASE} {NETWORK}", "numpy flwr"),
    # export: its clock times ways to predict; onnx: the plain MLP beside them
    "compare": Allowed(f"data export predict training {BASE} {NETWORK}", "numpy torch"),
    # its trials are other processes, as the arms of a comparison are
    "sweeps": Allowed(f"compare data page training {BASE} {NETWORK}", "joblib", "distributed"),
    # scikit-learn stands on joblib and scipy
    "sklearn": Allowed(f"data learning model predict training {BASE} {NETWORK}", "joblib numpy scipy sklearn"),
    "cli": Allowed(
        "errors fields json_text presets spec version",
        "",
        "columns compare data export files learning model network numpy page pages predict spikes sweeps training",
    ),
}
# loaded by a command that has begun its work, so what stands in functions may be imported
LATE = (
    "engine/torch.py",
    "engine/repeated.py",
    "training/repeated.py",
    "training/device_rows.py",
    "rule/squares.py",
    "export/int8.py",
    "cli/progress.py",
    "cli/lines.py",
)
