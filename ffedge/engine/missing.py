"""What to tell a user whose onnxruntime cannot be imported; loaded only then, so that a normal start pays nothing."""

import platform
import struct

from ffedge.errors import FfedgeError


def missing(error: ImportError) -> FfedgeError:
    """Return, in one line, why there is no onnxruntime and what to do about it.

    A 32-bit Python is told first, whatever its machine: a Raspberry Pi may run one on a 64-bit kernel.
    """
    if struct.calcsize("P") < 8:
        return FfedgeError(
            "ffedge needs onnxruntime, which has no wheel for 32-bit systems "
            f"(this Python is 32-bit, on {platform.machine()}). Use a 64-bit system, such as Raspberry Pi OS (64-bit)"
        )
    if error.name != "onnxruntime":
        return FfedgeError(
            f"ffedge needs onnxruntime, which is installed but cannot be loaded ({error}). "
            "Run: pip install --force-reinstall onnxruntime"
        )
    return FfedgeError("ffedge needs onnxruntime, which is not installed. Run: pip install onnxruntime")
