# make demo   the whole path on synthetic data, ends with a page to look at
# make test   lint and all tests
# make lint   formatters, linters, types, import rules
# make lint-files   Dockerfiles, shell, and BUILD where npm is there
# make benchmark   the load generator, benchmark/build/nann_benchmark
# make bench   all comparisons, one page; flags as BENCH='--name mine --keep'
# make bench-compare BASE=rev   is this tree faster than a revision?
# make wheel   a manylinux wheel, tried out in a clean environment
# make soak   the long tests: hours of trouble in minutes
# make sanitize   the C++ tests with the compiler's sanitizers
# make fuzz   random bytes for the C++ core, FUZZ_SECONDS for each target
# make cuda   the search on a GPU, for machines without TensorFlow; wants nvcc
# make cuda-check   on a GPU: are the answers right, and how fast are they
# Each sets up what it needs in .venv and is quick when nothing changed; the last
# two take the Python that is there, which needs NumPy (and setuptools, to build).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
NATIVE := $(shell find ops -name '*.cc' -o -name '*.h')
NATIVE_TESTS := $(shell find benchmark tests -path benchmark/build -prune \
  -o '(' -name '*.cc' -o -name '*.h' ')' -print)
COMPILED := $(VENV)/compiled
PEERS := $(VENV)/peers
# As in pyproject.toml; installed first, to build with the TensorFlow that the
# package will run with.
BUILD_NEEDS := setuptools pybind11 'tensorflow>=2.21,<2.22'

BUILDIFIER := @bazel/buildifier@8.2.1

.PHONY: bench bench-compare benchmark clean cuda cuda-check demo format fuzz \
  lint lint-files sanitize setup soak test wheel

setup: $(COMPILED)

$(INSTALLED): setup.py pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] \
	  <= (3, 13))' || { echo "Python 3.10 to 3.13 is needed; choose one with" \
	  "make PYTHON=python3.12"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet $(BUILD_NEEDS)
	$(BIN)/python -m pip install --quiet --no-build-isolation \
	  --editable '.[dev]'
	touch $@

# The search in C++: what changed is compiled anew.
$(COMPILED): $(NATIVE) $(INSTALLED)
	$(BIN)/python setup.py --quiet build_ext --inplace
	touch $@

demo: $(COMPILED)
	$(BIN)/python main.py --job-type demo

benchmark: $(COMPILED)
	$(BIN)/cmake -S benchmark -B benchmark/build \
	  -DPython3_EXECUTABLE=$(abspath $(BIN))/python
	$(BIN)/cmake --build benchmark/build --parallel

$(PEERS): setup.py $(INSTALLED)
	$(BIN)/python -m pip install --quiet --no-build-isolation \
	  --editable '.[dev,bench]'
	touch $@

bench: benchmark $(PEERS)
	$(BIN)/python benchmark/bench.py $(BENCH)

bench-compare: $(COMPILED)
	@test -n "$(BASE)" || { echo "make bench-compare BASE=a git revision"; exit 1; }
	$(BIN)/python benchmark/compare.py --base $(BASE) $(COMPARE)

# What the wheel finds in TensorFlow's own stays out of it.
wheel: $(INSTALLED)
	rm -rf build/wheel dist/nann-*.whl
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation \
	  --wheel-dir build/wheel .
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/auditwheel repair \
	  --exclude libtensorflow_framework.so.2 --exclude libtensorflow_cc.so.2 \
	  --wheel-dir dist build/wheel/nann-*.whl
	$(PYTHON) -m venv build/wheel/clean
	build/wheel/clean/bin/python -m pip install --quiet dist/nann-*.whl
	cd build/wheel && clean/bin/python $(CURDIR)/.ci/wheel_smoke.py

lint: $(COMPILED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/clang-format --dry-run -Werror $(NATIVE) $(NATIVE_TESTS)
	$(BIN)/mypy
	$(BIN)/lint-imports

lint-files: $(COMPILED)
	$(BIN)/hadolint docker/*.Dockerfile
	$(BIN)/shellcheck docker/*.sh .ci/run
	@if ! command -v npm >/dev/null; then \
	  echo "npm is missing: BUILD is not checked by buildifier"; exit 0; fi; \
	npm install --silent --prefix build/npm $(BUILDIFIER) && \
	  build/npm/node_modules/.bin/buildifier --mode=check --lint=warn BUILD && \
	  echo "BUILD is as buildifier wants it"

test: lint
	$(BIN)/python -m pytest -n auto --dist worksteal

soak: $(COMPILED)
	$(BIN)/python -m pytest -m soak

sanitize: $(INSTALLED)
	$(BIN)/python -m tests.ops.native sanitize

fuzz: $(INSTALLED)
	$(BIN)/python -m tests.ops.native fuzz

cuda:
	$(PYTHON) setup.py --quiet build_cuda

cuda-check:
	$(PYTHON) -m benchmark.cuda_check $(CUDA_CHECK)

format: $(COMPILED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/clang-format -i $(NATIVE) $(NATIVE_TESTS)

clean:
	rm -rf $(VENV) build benchmark/build dist *.egg-info nann/*.so
