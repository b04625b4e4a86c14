"""snn-mlir's check, which others wrote, finds nothing in our NIR files that it could not convert."""

import importlib.util
import subprocess
import sys

import pytest

if importlib.util.find_spec("snn_mlir") is None:
    pytest.skip("needs snn-mlir: ffedge[spyx]", allow_module_level=True)
from spiking_toys import toy

from ffedge.spikes.nir_file import write

KINDS = {
    "labels tried": {},
    "leaky": {"leak_steps": 256},
    "groups": {"class_goodness": "groups", "label_mode": "none", "n_negatives": 3},
    "convolutions": {"pictures": True},
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_node_is_supported(kind, tmp_path):
    network, *_ = toy(**KINDS[kind])
    write(network, tmp_path / "a.nir")
    done = subprocess.run(
        [sys.executable, "-m", "snn_mlir", "check", str(tmp_path / "a.nir")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "supported: this graph can be converted" in done.stdout


def test_a_graph_that_is_none_of_ours_is_refused(tmp_path):
    (tmp_path / "a.nir").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    done = subprocess.run(
        [sys.executable, "-m", "snn_mlir", "check", str(tmp_path / "a.nir")], capture_output=True, check=False
    )
    assert done.returncode != 0
