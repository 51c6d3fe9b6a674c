"""The library of the GPU: under the emulator, and on a GPU where one is."""

import pytest

from benchmark import cuda_library as cuda
from tests.ops.cuda import build


@pytest.fixture(scope="session", params=["emulator", "device"])
def library(request: pytest.FixtureRequest) -> cuda.Library:
  """The functions of ops/cuda."""
  if request.param == "emulator":
    return cuda.Library(build.emulated_library())
  path = build.device_library()
  if path is None:
    pytest.skip("build/cuda/libnann_cuda.so is not there: make cuda")
  library = cuda.Library(path)
  if library.num_devices() == 0:
    reason = library.loaded.NannCudaError().decode()
    pytest.skip(f"no GPU: {reason}")
  return library


@pytest.fixture(scope="session")
def emulator() -> cuda.Library:
  """The functions under the emulator."""
  return cuda.Library(build.emulated_library())
