# All that NANN's jobs, tests and its own server need.
#
#   docker build -f docker/devel.Dockerfile -t nann_devel .
#   docker run --rm nann_devel make test
#   docker run --rm -p 8500:8500 -p 8501:8501 -v "$PWD/output:/nann/output" \
#       nann_devel .venv/bin/python main.py --job-type serve --host 0.0.0.0 \
#       --model-base-path output/export/nann
FROM python:3.12-slim-bookworm
# Debian's archive keeps no old versions that could be asked for.
# hadolint ignore=DL3008
RUN apt-get update && \
    apt-get install -y --no-install-recommends \
      chromium \
      curl \
      g++ \
      git \
      libgrpc++-dev \
      make \
      npm \
      pkg-config && \
    rm -rf /var/lib/apt/lists/*
RUN useradd --create-home --uid 10001 nann && mkdir /nann && chown nann /nann
USER 10001
WORKDIR /nann
# What is installed changes less often than the rest.
COPY --chown=nann setup.py pyproject.toml Makefile README.md ./
COPY --chown=nann nann/__init__.py nann/
COPY --chown=nann ops/ ops/
RUN make .venv/installed
COPY --chown=nann . .
RUN make setup
CMD ["make", "demo"]
