"""MatRead and MatWrite: known, but not run."""

from __future__ import annotations

from netspec.layers.base import Layer


class MatFile(Layer, abstract=True):
    """Refused: MATLAB files are neither read nor written."""

    bottoms = (0, None)
    tops = (0, None)

    def setup(self) -> None:
        raise self.fail(f"MATLAB files are not supported: {self.instead}")

    instead = ""


class MatRead(MatFile):
    """Blobs from MATLAB files: not run here.

    Errors: always; the file can be read in Python and set as an input.
    Source: DeepLab's MatRead.
    """

    settings = "mat_read_param"
    instead = "make the tops inputs and set them from Python (scipy.io.loadmat reads the files)"


class MatWrite(MatFile):
    """Blobs written to MATLAB files: not run here.

    Errors: always; the blob can be fetched from the net in Python and saved.
    Source: DeepLab's MatWrite.
    """

    settings = "mat_write_param"
    instead = "leave the layer out and save its bottoms from Python (scipy.io.savemat writes the files)"
