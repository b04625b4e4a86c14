"""Who may import what: the table of DESIGN.md section 3, and the files that load late."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Allowed:
    """What a unit may import as it is loaded: units of ffedge, packages; and what only inside its functions."""

    units: str = ""
    packages: str = ""
    inside: str = ""


TABLE = {
    "__init__": Allowed("version"),
    "__main__": Allowed("cli"),
    "version": Allowed(),
    "errors": Allowed(),
    "files": Allowed("errors"),
    "json_text": Allowed(),
    "child": Allowed("errors"),
    "fields": Allowed(),
    "presets": Allowed(),
    "spec": Allowed("fields presets"),
    "recipe": Allowed("spec"),
    "resolve": Allowed("network recipe spec"),
    "seeds": Allowed("", "numpy"),
    "labels": Allowed("seeds", "numpy"),  # wrong labels are a function of the sample's place
    "meter": Allowed(),
    "pages": Allowed("files", "numpy"),
    "tensors": Allowed("pages", "numpy"),
    "wire": Allowed(),
    "liveness": Allowed(),
    "stages": Allowed("network recipe spec"),  # what a model file calls the parts of its learning step
    "model_file": Allowed("calibration errors network pages recipe spec wire", "numpy"),
    "calibration": Allowed("fields", "numpy"),
    "network": Allowed("errors fields recipe seeds", "numpy"),
    "data": Allowed("errors files recipe seeds spec", "numpy", "PIL"),
    "graph": Allowed("child errors liveness network recipe spec stages", "numpy onnx"),
    # stages, wire, liveness: kernels cut out of a file, written anew, and their memory
    "runtime": Allowed(
        "calibration errors json_text labels liveness network pages recipe resolve spec stages wire",
        "numpy onnxruntime",
    ),
    "evaluation": Allowed("data errors runtime", "numpy"),
    "recalibration": Allowed(
        "calibration data errors evaluation files model_file pages runtime training wire", "numpy"
    ),
    "spikes": Allowed(  # training: a run's newest checkpoint, from which it is converted
        "calibration data errors fields files json_text network recipe runtime spec training version",
        "numpy",
        "h5py nir",
    ),
    "training": Allowed(
        "calibration child data errors files json_text labels meter model_file network pages recipe "
        "resolve runtime seeds spec tensors version",
        "numpy",
        "onnxruntime reference",
    ),
    "learning": Allowed(  # goes on training on the device: no onnx, no graph process
        "calibration data errors fields files labels meter model_file network pages recipe resolve "
        "runtime seeds spec stages training version wire",
        "numpy",
    ),
    "reference": Allowed("errors network recipe spec", "numpy torch"),
    # runtime: backprop in onnxruntime runs in sessions like ffedge's; graph, onnx: its graph; exporting: its forms are
    # arms, and its clock times them
    "compare": Allowed(
        "child data errors evaluation exporting files meter network pages presets recipe resolve runtime "
        "seeds spec spikes training",
        "numpy onnxruntime",
        "graph matplotlib onnx onnxsim reference scipy torch",
    ),
    "cli": Allowed(
        "errors fields presets spec version",
        "",
        "compare data evaluation exporting files learning network numpy pages recalibration runtime spikes training",
    ),
    # forms are made on a workstation: a graph is built, run on held-out rows and, for int8, given to the quantizer
    "exporting": Allowed(
        "calibration data errors evaluation graph network recipe runtime seeds spec training", "numpy onnx onnxruntime"
    ),
}
# loaded by a command that has begun its work, so what stands in functions may be imported
LATE = ("cli/progress.py", "cli/bench_live.py", "cli/bench_tables.py", "cli/lines.py")
