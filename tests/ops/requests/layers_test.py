"""Who includes whom among the sources of job serve.

The headers of gRPC and those of TensorFlow bring different versions of the same
libraries: no source may see both.
"""

import re

import pytest

import setup

OWN = {
  "ops/requests": ("ops/requests/", "ops/core/call_limit.h"),
  "ops/serving": ("ops/serving/", "ops/requests/", "tensorflow/", "absl/"),
  "ops/front": ("ops/front/", "ops/requests/", "ops/core/call_limit.h"),
}
OTHERS = {
  "ops/requests": (),
  "ops/serving": ("pybind11/", "dlfcn.h"),
  "ops/front": ("grpcpp/", "pybind11/"),
}


@pytest.mark.parametrize("folder", OWN)
def test_sources_include_their_own_layer_only(folder: str) -> None:
  paths = sorted((setup.ROOT / folder).iterdir())
  assert paths
  for path in paths:
    found = re.findall(
      r'^\s*#\s*include\s*(?:"(.*)"|<(.*)>)', path.read_text(), re.MULTILINE
    )
    for quoted, angled in found:
      if quoted:
        assert quoted.startswith(OWN[folder]), (path, quoted)
      elif not re.fullmatch(r"[a-z_]+", angled):
        assert angled.startswith(OTHERS[folder] or ("none",)), (path, angled)
